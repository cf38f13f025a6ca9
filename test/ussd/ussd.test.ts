import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type SQL, sql } from 'drizzle-orm'
import { makeSecret } from '../../codes/standard-webhook'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { ussdSession } from '../harness/ussd-session'
import { publishableKeyOf, visitorsOf } from '../harness/visitor'

let system: System
let client: TestClient

beforeAll(async () => {
  system = await startSystem({ steps: { sms: { timeoutMs: 3_000 }, ussd: { timeoutMs: 2_000 } } })
  client = clientOf(system)
})
afterAll(() => system.stop())

interface Screen {
  message: string
  code: string | null
  ends: boolean
  session_id: string
}

/** The user dials on the sandbox's phone. */
const dial = async (phone: string, more: Record<string, unknown> = {}) => {
  const response = await fetch(`${system.sandboxUrl}/phones/${encodeURIComponent(phone)}/dial`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ service_code: '*920*1#', ...more }),
  })
  return (await response.json()) as Screen
}

const session = (phone: string, secret: string, more?: Parameters<typeof ussdSession>[3]) =>
  ussdSession(system.url, secret, phone, more)

const db = (statement: SQL) => system.db.many(statement)

const sentByUssd = async (phone: string) => {
  const id = await client.sent(phone, { channels: ['ussd'] })
  const status = await until(async () => {
    const seen = await client.status(id)
    return seen.steps[0]?.status === 'succeeded' && seen
  })
  return { id, status }
}

describe('USSD', () => {
  test.concurrent(
    'the phone dials, the screen shows the code, and that is its delivery',
    async () => {
      const phone = freshPhone()
      const { id, status } = await sentByUssd(phone)
      expect(status).toMatchObject({ channel: 'ussd', delivered_at: expect.any(String) })
      const [{ text, code } = { text: '', code: '' }] = await client.inbox(phone)
      expect(code).toMatch(/^\d{6}$/)
      expect(text).toContain(code)
      // A screen is gone when the session ends: who dials again sees it again, until it was used.
      expect((await dial(phone)).message).toContain(code)
      expect((await client.verify({ phone_number: phone, code })).body.status).toBe('verified')
      expect((await dial(phone)).code).toBeNull()
      expect((await client.status(id)).state).toBe('verified')
    },
  )

  test.concurrent('a number for which no code waits gets a sentence and no code', async () => {
    const screen = await dial(freshPhone())
    expect(screen.code).toBeNull()
    expect(screen.message).toMatch(/^[A-Z].*\.$/)
    expect(screen.message).not.toMatch(/\d/)
    const bySms = freshPhone()
    await client.sent(bySms, { channels: ['sms'] })
    expect((await dial(bySms)).code).toBeNull()
  })

  test.concurrent(
    'a code waits at the account that it was announced by, and for its number only',
    async () => {
      const phone = freshPhone()
      const { status } = await sentByUssd(phone)
      expect(status.steps[0]?.attempts[0]?.provider).toBe('sandbox-a')
      const own = await session(phone, system.sandboxSecret)
      expect(own).toMatchObject({ status: 200, body: { code: expect.any(String), end: true } })
      const elsewhere = await session(phone, system.sandboxSecret, { account: 'sandbox-b' })
      expect(elsewhere).toMatchObject({ status: 200, body: { code: null } })
      const stranger = await session(freshPhone(), system.sandboxSecret)
      expect(stranger).toMatchObject({ status: 200, body: { code: null } })
    },
  )

  test.concurrent('a session that the network did not open is refused', async () => {
    const phone = freshPhone()
    await sentByUssd(phone)
    const forged = await session(phone, makeSecret())
    expect(forged).toMatchObject({ status: 401, body: { error_code: 'INVALID_SIGNATURE' } })
    const [message] = await client.inbox(phone)
    expect(JSON.stringify(forged.body)).not.toContain(message?.code)
    expect(await session(phone, system.sandboxSecret, { account: 'nobody' })).toMatchObject({
      status: 404,
    })
  })

  test.concurrent(
    'what to dial is in the answer to the send, and in every view of it',
    async () => {
      const phone = freshPhone()
      await client.script(phone, { receipt: 'none' })
      const sent = await client.send(phone)
      expect(sent.body).toMatchObject({ status: 'sent', channel: 'sms', instruction: '*920*1#' })
      const status = await client.status(sent.body.request_id)
      expect(status).toMatchObject({ channel: 'sms', instruction: '*920*1#' })
      expect(status.steps.map(({ instruction }) => instruction)).toEqual([
        ...[undefined, undefined, undefined],
        '*920*1#',
      ])
      const without = await client.send(freshPhone(), { channels: ['sms'] })
      expect(without.body).not.toHaveProperty('instruction')
      const { body } = await client.call('POST', `/otp/${sent.body.request_id}/cancel`)
      expect(body).toMatchObject({ status: 'cancelled' })
      expect(await client.status(sent.body.request_id)).not.toHaveProperty('instruction')
    },
  )

  test.concurrent(
    'who dials before the step’s turn sees the code, and has it: no other channel is tried',
    async () => {
      const phone = freshPhone()
      await client.script(phone, { receipt: 'none' })
      const id = await client.sent(phone)
      const [sms] = await until(async () => {
        const inbox = await client.inbox(phone)
        return inbox.length > 0 && inbox
      })
      const screen = await dial(phone)
      expect(screen).toMatchObject({ code: sms?.code, ends: true })
      const status = await until(async () => {
        const seen = await client.status(id)
        return seen.delivered_at !== null && seen
      })
      const [attempt] = status.steps[3]?.attempts ?? []
      expect(status.steps[3]).toMatchObject({ channel: 'ussd', status: 'succeeded' })
      expect(attempt).toMatchObject({
        ...{ channel: 'ussd', provider: 'sandbox-a', status: 'delivered', in_doubt: false },
        ...{ wasted: false, instruction: '*920*1#' },
      })
      expect(status.events.map(({ type }) => type).slice(-2)).toEqual([
        'attempt_claimed',
        'receipt',
      ])
      // Longer than the SMS has for its receipt here.
      await pause(3_500)
      expect((await client.status(id)).steps.map((step) => step.status)).toEqual([
        ...['sent', 'waiting', 'waiting'],
        'succeeded',
      ])
      expect(await client.inbox(phone)).toHaveLength(2)
      const code = screen.code ?? ''
      expect((await client.verify({ phone_number: phone, code })).body.status).toBe('verified')
    },
  )

  test.concurrent('who dials after the step’s time has what counts as delivered', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone, { channels: ['ussd'] })
    await until(async () => (await client.status(id)).error_code === 'ALL_CHANNELS_FAILED')
    expect((await client.status(id)).steps[0]?.status).toBe('timed_out')
    expect((await dial(phone)).code).toMatch(/^\d{6}$/)
    const after = await client.status(id)
    expect(after).toMatchObject({ delivered_at: expect.any(String), state: 'pending' })
    expect(after.steps[0]).toMatchObject({ status: 'succeeded', attempts: [expect.anything()] })
    expect(after).not.toHaveProperty('error_code')
  })

  test.concurrent('three looks at a code, and as many again when it is sent anew', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone, { channels: ['sms', 'ussd'] })
    await until(async () => (await client.inbox(phone))[0])
    const looks = async () => {
      const screens = []
      for (let look = 0; look < 4; look++) screens.push(await session(phone, system.sandboxSecret))
      return screens.map(({ body }) => body['code'])
    }
    const [code, ...others] = await looks()
    expect(others).toEqual([code, code, null])
    await db(sql`update attempts set claimed_at = claimed_at - interval '11 seconds'
      where request_id = ${id}`)
    const again = await client.call('POST', `/otp/${id}/resend`, { channel: 'ussd' })
    expect(again.body).toMatchObject({ channel: 'ussd', resend: 'sent', instruction: '*920*1#' })
    expect(await looks()).toEqual([code, code, code, null])
  })

  test.concurrent('a number that dials all the time is asked to wait', async () => {
    const phone = freshPhone()
    const screens = await Promise.all(
      Array.from({ length: 14 }, () => session(phone, system.sandboxSecret)),
    )
    const texts = screens.map(({ body }) => String(body['message']))
    expect(texts.filter((text) => text.startsWith('No code'))).toHaveLength(10)
    expect(texts.filter((text) => text.startsWith('Too many'))).toHaveLength(4)
    expect(await session(freshPhone(), system.sandboxSecret)).toMatchObject({
      body: { message: expect.stringMatching(/^No code/) },
    })
  })

  test.concurrent('several apps at one service code: the user picks the brand', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const other = clientOf(system, system.otherKey)
    await client.sent(phone, { channels: ['ussd'] })
    await other.sent(phone, { channels: ['ussd'] })
    const menu = await dial(phone)
    expect(menu).toMatchObject({ code: null, ends: false })
    expect(menu.message.split('\n').slice(1)).toEqual(['1 Other', '2 Acme'])
    const { session_id } = menu
    const odd = await dial(phone, { session_id, inputs: ['7'] })
    expect(odd).toMatchObject({ code: null, ends: false, message: menu.message })
    const screen = await dial(phone, { session_id, inputs: ['7', '2'] })
    expect(screen.message).toContain('Acme')
    expect(screen.ends).toBe(true)
    const wrong = await other.verify({ phone_number: phone, code: screen.code })
    expect(wrong.body.error_code).toBe('INVALID_CODE')
    const right = await client.verify({ phone_number: phone, code: screen.code })
    expect(right.body.status).toBe('verified')
    // With one left there is nothing to choose; what is dialled behind the code would be the choice.
    expect((await dial(phone, { service_code: '*920*1*2#' })).message).toContain('Other')
  })

  test.concurrent(
    'the phone that looks after itself picks the brand that was announced',
    async () => {
      const phone = freshPhone()
      const other = clientOf(system, system.otherKey)
      const ids = await Promise.all([
        client.sent(phone, { channels: ['ussd'] }),
        other.sent(phone, { channels: ['ussd'] }),
      ])
      const inbox = await until(async () => {
        const entries = await client.inbox(phone)
        return entries.length === 2 && entries
      })
      expect(new Set(inbox.map(({ request_id }) => request_id))).toEqual(new Set(ids))
      for (const { text, request_id } of inbox)
        expect(text).toContain(request_id === ids[0] ? 'Acme' : 'Other')
    },
  )

  test.concurrent('forged sessions are written down, by either address', async () => {
    const secret = `whsec_${randomBytes(32).toString('base64')}`
    for (const path of ['session', 'a-secret'])
      expect(await session(freshPhone(), secret, { account: 'sandbox-b', path })).toMatchObject({
        status: 401,
        body: { error_code: 'INVALID_SIGNATURE' },
      })
    const noted = await system.db.many(sql`select detail from audit_events
      where type = 'callback_refused' and chain = 'admin' and detail ->> 'provider' = 'sandbox-b'`)
    expect(noted).toHaveLength(1)
  })

  test.concurrent('a page with a publishable key is told what to dial', async () => {
    const visitor = visitorsOf(system, await publishableKeyOf(system))
    const { body } = await visitor().send(freshPhone())
    expect(body).toMatchObject({ status: 'sent', instruction: '*920*1#' })
  })
})
