import { Client, Connection } from '@temporalio/client'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let temporal: Client

beforeAll(async () => {
  system = await startSystem({
    steps: {
      sms: { timeoutMs: 3_000 },
      voice: { timeoutMs: 3_000 },
      whatsapp: { timeoutMs: 3_000 },
      ussd: { timeoutMs: 3_000 },
    },
  })
  client = clientOf(system)
  temporal = new Client({ connection: await Connection.connect(system.temporal.connection) })
})
afterAll(async () => {
  await temporal.connection.close()
  await system.stop()
})

const channelsOf = async (phone: string) =>
  (await client.inbox(phone)).map(({ channel }) => channel).reverse()
const codesOf = async (phone: string) =>
  new Set((await client.inbox(phone)).map(({ code }) => code))
const stepStatuses = async (id: string) =>
  (await client.status(id)).steps.map(({ status }) => status)

describe('the main job', () => {
  test('one SMS, delivered, verified', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    const [message] = await until(async () => {
      const inbox = await client.inbox(phone)
      return inbox[0]?.status === 'delivered' && inbox
    })
    expect(await client.verify({ phone_number: phone, code: message?.code })).toMatchObject({
      status: 200,
      body: { status: 'verified' },
    })
    const status = await untilState(client, id)
    expect(status).toMatchObject({ state: 'verified', reason: 'code_matched', channel: 'sms' })
    expect(status.steps[0]).toMatchObject({ status: 'succeeded' })
  })
})

describe('failover', () => {
  test('SMS silent for its time-out, then voice rings and is answered, with the same code', async () => {
    const phone = '+233555000001'
    const id = await client.sent(phone)
    await until(async () => (await stepStatuses(id))[1] === 'succeeded')
    expect(await channelsOf(phone)).toEqual(['sms', 'voice'])
    expect((await codesOf(phone)).size).toBe(1)
    expect(await stepStatuses(id)).toEqual(['timed_out', 'succeeded', 'waiting', 'waiting'])
  })

  test('all refused ends as failed at once', async () => {
    const id = await client.sent('+233555000003')
    const status = await untilState(client, id, 'failed')
    expect(status).toMatchObject({ state: 'failed', reason: 'no_channel_accepted' })
    expect(await client.inbox('+233555000003')).toEqual([])
  })

  test('all silent: the caller is told at the last timer, and a late right code still verifies', async () => {
    const phone = '+233555000002'
    const id = await client.sent(phone)
    const told = await until(async () => {
      const status = await client.status(id)
      return status.error_code && status
    })
    expect(told).toMatchObject({
      state: 'pending',
      error_code: 'ALL_CHANNELS_FAILED',
      action: 'contact_support',
    })
    expect(told.events.at(-1)).toMatchObject({
      type: 'plan_ended',
      detail: { error_code: 'ALL_CHANNELS_FAILED', action: 'contact_support' },
    })
    const [message] = await client.inbox(phone)
    expect((await client.verify({ request_id: id, code: message?.code })).body.status).toBe(
      'verified',
    )
    expect(await untilState(client, id)).toMatchObject({ state: 'verified' })
  })

  test('all silent to the end is exhausted', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone, { channels: ['sms'], expiry_seconds: 30 })
    await until(async () => (await client.status(id)).error_code === 'ALL_CHANNELS_FAILED')
    expect(await untilState(client, id, 'exhausted', 40_000)).toMatchObject({
      reason: 'no_step_succeeded',
    })
  })

  test('a provider that refuses with 500 is left for the next healthy one of the channel', async () => {
    const phone = freshPhone()
    await client.script(phone, { on: { provider: 'sandbox-a' }, accept: { status: 500 } })
    const id = await client.sent(phone)
    const status = await until(async () => {
      const seen = await client.status(id)
      return seen.steps[0]?.status === 'succeeded' && seen
    })
    expect(status.steps[0]?.attempts).toMatchObject([
      { provider: 'sandbox-a', status: 'refused', fault: 'unavailable' },
      { provider: 'sandbox-b', status: 'delivered' },
    ])
  })

  test('a refused number ends its step, not the plan', async () => {
    const phone = freshPhone()
    await client.script(phone, { on: { channel: 'sms' }, accept: { error_code: 'INVALID_NUMBER' } })
    const id = await client.sent(phone)
    const status = await until(async () => {
      const seen = await client.status(id)
      return seen.steps[1]?.status === 'succeeded' && seen
    })
    expect(status.steps[0]?.attempts).toMatchObject([
      { provider: 'sandbox-a', fault: 'invalid_number' },
    ])
  })

  test('a call that drops after the provider accepted is in doubt: its receipt ends the doubt, nothing is sent twice', async () => {
    const phone = '+233555000007'
    const id = await client.sent(phone, { channels: ['sms'] })
    const status = await until(async () => {
      const seen = await client.status(id)
      return seen.steps[0]?.status === 'succeeded' && seen
    })
    expect(status.steps[0]?.attempts).toMatchObject([{ in_doubt: true, status: 'delivered' }])
    expect(await client.inbox(phone)).toHaveLength(1)
  })

  test('a doubt without a receipt is sent once more by the next provider, with the same code', async () => {
    const phone = freshPhone()
    await client.script(phone, {
      on: { provider: 'sandbox-a' },
      accept: { drop: true },
      receipt: 'none',
    })
    const id = await client.sent(phone, { channels: ['sms'] })
    await until(async () => (await stepStatuses(id))[0] === 'succeeded')
    const inbox = await client.inbox(phone)
    expect(inbox.map(({ provider }) => provider)).toEqual(['sandbox-b', 'sandbox-a'])
    expect(new Set(inbox.map(({ code }) => code)).size).toBe(1)
  })
})

describe('stopping', () => {
  test.each(['verified', 'cancelled'])(
    '%s during the SMS wait: nothing is claimed after it',
    async (how) => {
      const phone = freshPhone()
      await client.script(phone, { receipt: 'none' })
      const id = await client.sent(phone)
      const [message] = await until(async () => {
        const inbox = await client.inbox(phone)
        return inbox.length > 0 && inbox
      })
      if (how === 'verified') await client.verify({ request_id: id, code: message?.code })
      else await client.call('POST', `/otp/${id}/cancel`)
      await untilState(client, id, how)
      // Nothing can be claimed without the run.
      await temporal.workflow.getHandle(id).result()
      expect(await client.inbox(phone)).toHaveLength(1)
      const events = (await client.status(id)).events.map(({ type }) => type)
      expect(events.slice(events.indexOf(how as 'verified'))).not.toContain('attempt_claimed')
    },
  )
})

describe('an operator', () => {
  test('who cancels the run in Temporal UI stops the request', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone)
    await until(async () => (await client.inbox(phone)).length === 1)
    await temporal.workflow.getHandle(id).cancel()
    const status = await untilState(client, id, 'cancelled')
    expect(status.events.at(-1)).toMatchObject({ type: 'cancelled', actor: 'operator' })
    expect(await temporal.workflow.getHandle(id).result()).toBe('cancelled')
  })

  test('reads in plain words where a request stands, and finds it by its search attributes', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone)
    const details = () =>
      temporal.workflow
        .getHandle(id)
        .query<{ currentDetails?: string }>('__temporal_workflow_metadata')
    await until(
      async () =>
        (await details()).currentDetails === 'sms via sandbox-a: accepted, waiting for delivery',
    )
    await until(async () =>
      (await details()).currentDetails?.startsWith('voice via sandbox-a: ringing'),
    )
    expect((await details()).currentDetails).toBe(
      'voice via sandbox-a: ringing; sms gave no receipt in 3 s',
    )
    const query =
      'OtpChannel = "voice" and OtpState = "pending" and OtpCountry = "GH" and OtpApp = "app" and OtpProvider = "sandbox-a"'
    await until(async () => {
      for await (const { workflowId } of temporal.workflow.list({ query }))
        if (workflowId === id) return true
      return false
    })
    await client.call('POST', `/otp/${id}/cancel`)
    await untilState(client, id, 'cancelled')
  })
})

describe('next and resend', () => {
  test('next after a delivered SMS goes on too, and the last channel has no next', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms', 'voice'] })
    await until(async () => (await stepStatuses(id))[0] === 'succeeded')
    expect((await client.call('POST', `/otp/${id}/next`)).status).toBe(200)
    await until(async () => (await stepStatuses(id))[1] === 'succeeded')
    expect(await client.call('POST', `/otp/${id}/next`)).toMatchObject({
      status: 409,
      body: { error_code: 'NO_NEXT_CHANNEL' },
    })
  })

  test('resend repeats the same code on the same request', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    await until(async () => (await stepStatuses(id))[0] === 'succeeded')
    expect((await client.call('POST', `/otp/${id}/resend`)).body).toMatchObject({
      resend: 'already_sending',
    })
    expect(
      (await client.call('POST', `/otp/${id}/resend`, { channel: 'voice' })).body,
    ).toMatchObject({
      resend: 'sent',
      channel: 'voice',
    })
    await until(async () => (await client.inbox(phone)).length === 2)
    expect(await channelsOf(phone)).toEqual(['sms', 'voice'])
    expect((await codesOf(phone)).size).toBe(1)
  })
})

describe('receipts', () => {
  test('before the response, and duplicate or reordered, lead to one delivered message', async () => {
    for (const phone of ['+233555000008', '+233555000009']) {
      const id = await client.sent(phone, { channels: ['sms'] })
      await until(async () => (await stepStatuses(id))[0] === 'succeeded')
      expect(await client.inbox(phone)).toHaveLength(1)
      const types = (await client.status(id)).events.map(({ type }) => type)
      expect(types.filter((type) => type === 'attempt_claimed')).toHaveLength(1)
    }
  })

  test('for an abandoned channel is recorded and ends the escalation', async () => {
    const phone = freshPhone()
    await client.script(phone, {
      on: { channel: 'sms' },
      receipts: [{ status: 'delivered', after_ms: 4_000 }],
    })
    const id = await client.sent(phone, { channels: ['sms', 'whatsapp'] })
    await until(async () => (await stepStatuses(id))[0] === 'succeeded', { within: 10_000 })
    expect((await client.status(id)).state).toBe('pending')
  })

  test('after the end is recorded as late and reopens nothing', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipts: [{ status: 'delivered', after_ms: 2_000 }] })
    const id = await client.sent(phone)
    await until(async () => (await client.inbox(phone)).length === 1)
    await client.call('POST', `/otp/${id}/cancel`)
    const status = await until(async () => {
      const seen = await client.status(id)
      return seen.events.some(({ type }) => type === 'late_receipt') && seen
    })
    expect(status.state).toBe('cancelled')
  })
})

describe('at once, long before the timer of the step ends', () => {
  const smsTimeoutMs = 30_000
  let patient: System
  let user: TestClient
  beforeAll(async () => {
    patient = await startSystem({ steps: { sms: { timeoutMs: smsTimeoutMs } } })
    user = clientOf(patient)
  })
  afterAll(() => patient.stop())

  /** How long after the SMS the call was claimed, in milliseconds, by the database's clock. */
  async function msUntilCall(id: string): Promise<number> {
    const { steps } = await until(async () => {
      const status = await user.status(id)
      return status.steps[1]?.attempts[0] && status
    })
    const [sms, voice] = steps.map(({ attempts }) => Date.parse(attempts[0]?.claimed_at ?? ''))
    return Number(voice) - Number(sms)
  }

  test('a failure receipt moves on', async () => {
    const phone = freshPhone()
    await user.script(phone, { on: { channel: 'sms' }, receipt: 'failed' })
    const id = await user.sent(phone)
    expect(await msUntilCall(id)).toBeLessThan(smsTimeoutMs / 2)
    expect((await user.status(id)).steps[0]).toMatchObject({ status: 'failed' })
  })

  test('next moves to the following channel', async () => {
    const phone = freshPhone()
    await user.script(phone, { receipt: 'none' })
    const id = await user.sent(phone)
    await until(async () => (await user.inbox(phone)).length === 1)
    expect(await user.call('POST', `/otp/${id}/next`)).toMatchObject({ status: 200 })
    expect(await msUntilCall(id)).toBeLessThan(smsTimeoutMs / 2)
    expect((await user.status(id)).steps[0]).toMatchObject({ status: 'left' })
  })
})
