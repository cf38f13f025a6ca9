import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { planFor, type RouteWish } from '../../api/plan-for'
import type { Problem } from '../../api/problem'
import { successRules } from '../../core/delivery/receipt'
import { stepStatus } from '../../core/requests/step-status'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient

beforeAll(async () => {
  system = await startSystem({
    steps: { sms: { timeoutMs: 6_000, successBy: { 'sandbox-b': 'accepted' } } },
  })
  client = clientOf(system)
}, 60_000)
afterAll(() => system.stop(), 60_000)

const planOf = async (given: Record<string, unknown>, phone = freshPhone()) => {
  const { steps } = await client.status(await client.sent(phone, given))
  return steps.map(({ channel }) => channel)
}

describe('a send', () => {
  test.each([
    [{}, ['sms', 'voice', 'whatsapp', 'ussd']],
    [{ risk: 'normal' }, ['sms', 'voice', 'whatsapp', 'ussd']],
    [{ risk: 'low' }, ['sms', 'whatsapp', 'ussd', 'voice']],
    [{ risk: 'high' }, ['voice', 'whatsapp', 'sms', 'ussd']],
    [{ risk: 'high', channel: 'ussd' }, ['ussd', 'voice', 'whatsapp', 'sms']],
    [{ risk: 'high', channels: ['sms', 'voice'] }, ['sms', 'voice']],
  ])('of %j goes by %j', async (given, expected) => {
    expect(await planOf(given)).toEqual(expected)
  })

  test('begins with what its recipient prefers, whatever the risk', async () => {
    const phone = freshPhone()
    await client.call('PUT', '/preferences', { phone_number: phone, channel: 'sms' })
    expect((await planOf({ risk: 'high' }, phone))[0]).toBe('sms')
  })

  test('keeps its risk', async () => {
    const id = await client.sent(freshPhone(), { risk: 'low' })
    const row = await system.db.one(sql`select risk from otp_requests where id = ${id}`)
    expect(row).toEqual({ risk: 'low' })
  })

  test('for a channel without an account is told which there are, and why none of them is used', async () => {
    const { status, body } = await clientOf(system, system.liveKey).send(freshPhone(), {
      channel: 'ussd',
    })
    expect([status, body.error_code]).toEqual([400, 'CHANNEL_UNAVAILABLE'])
    const { detail } = body as unknown as { detail: string }
    expect(detail).toMatch(/^No provider account serves the channel ussd for a live key: /)
    expect(detail).toContain('sandbox-a, sandbox-b: for test keys only')
    expect(detail).toMatch(
      /; .*arkesel.*: off, its settings do not suffice\. An account is set up by its variables: /,
    )
  })

  test('of a stranger is told no account’s name', () => {
    const wish: RouteWish = {
      ...{ kind: 'phone', wish: { channel: 'ussd' }, country: 'GH', risk: 'normal', app: 'app' },
      ...{ environment: 'production', region: null, unhealthy: [], record: [], share: 0 },
      isPublic: true,
    }
    const { policy, accounts } = system
    try {
      planFor({ policy, accounts }, wish)
      throw new Error('It was planned.')
    } catch (error) {
      const { code, message } = error as Problem
      expect([code, message]).toEqual([
        ...['CHANNEL_UNAVAILABLE', 'No provider serves the channel ussd for a live key.'],
      ])
    }
  })
})

test('a resend on a channel that the plan lacks is routed as the send was', async () => {
  const id = await client.sent(freshPhone(), { channels: ['sms'] })
  await until(async () => (await client.status(id)).delivered_at)
  const resend = (channel: string) => client.call('POST', `/otp/${id}/resend`, { channel })
  expect((await resend('voice')).body).toMatchObject({ status: 'sent', channel: 'voice' })
  await until(async () => {
    const { steps } = await client.status(id)
    return steps.flatMap(({ attempts }) => attempts).find(({ channel }) => channel === 'voice')
  })
  expect(await resend('email')).toMatchObject({
    status: 400,
    body: { error_code: 'INVALID_REQUEST' },
  })
  const unknown = await client.call('POST', `/otp/otp_${'a'.repeat(26)}/resend`, {
    channel: 'voice',
  })
  expect(unknown.status).toBe(404)
})

describe('an account whose receipts are worth less', () => {
  test('ends its step with what it is worth; the others go on waiting', async () => {
    const [byFirst, bySecond] = [freshPhone(), freshPhone()]
    await client.script(byFirst, { receipt: 'none' })
    await client.script(bySecond, [
      { on: { provider: 'sandbox-a' }, accept: { status: 503 } },
      { receipt: 'none' },
    ])
    const send = (phone: string) => client.sent(phone, { channels: ['sms', 'voice'] })
    const stepOf = async (id: string) => (await client.status(id)).steps[0]
    const [done, waiting] = [await send(bySecond), await send(byFirst)]
    const step = await until(async () => {
      const seen = await stepOf(done)
      return seen?.status === 'succeeded' ? seen : undefined
    })
    expect(step.attempts.at(-1)).toMatchObject({ provider: 'sandbox-b' })
    const row = await system.db.one(sql`
      select success from attempts where request_id = ${done} and provider = 'sandbox-b'`)
    expect(row).toEqual({ success: 'accepted' })
    // The other one's time runs out, and only there the next channel has its turn.
    const voiceOf = async (id: string) => (await client.status(id)).steps[1]
    await until(async () => ((await voiceOf(waiting))?.attempts.length ?? 0) > 0, {
      within: 20_000,
    })
    expect((await stepOf(waiting))?.status).toBe('timed_out')
    expect(await voiceOf(done)).toMatchObject({ status: 'waiting', attempts: [] })
  })

  test('is judged by its own rule in the status', () => {
    const facts = { index: 0, skipped: false, currentStep: 0, leaveStep: -1, planEnded: false }
    const statusWith = (own?: (typeof successRules)[number]) =>
      stepStatus({
        ...facts,
        success: 'delivered',
        attempts: [{ state: 'accepted', status: 'sent', ...(own && { success: own }) }],
      })
    expect([statusWith(), statusWith('accepted'), statusWith('verified')]).toEqual([
      ...['sent', 'succeeded', 'sent'],
    ])
  })
})

test('a message in doubt goes to the next account but one where the next one refuses it', async () => {
  const live = await startSystem({ fakes: ['twilio', 'vonage', 'infobip'] })
  try {
    const caller = clientOf(live, live.liveKey)
    await caller.script('twilio', { accept: { hang: true } })
    await caller.script('vonage', { accept: { status: 503 } })
    const id = await caller.sent(freshPhone(), { channels: ['sms'] })
    const attempts = await until(
      async () => {
        const { attempts = [] } = (await caller.status(id)).steps[0] ?? {}
        return attempts.some(({ provider }) => provider === 'infobip') && attempts
      },
      { within: 20_000 },
    )
    expect(attempts.map(({ provider, fault }) => [provider, fault])).toMatchObject([
      ['twilio', 'in_doubt'],
      ['vonage', 'unavailable'],
      ['infobip', null],
    ])
  } finally {
    await live.stop()
  }
}, 60_000)
