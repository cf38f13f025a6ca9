import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { startSystem, type System } from '../harness/system'

/** All of it over HTTP: our API and worker, and the sandbox in Twilio's place. */
let system: System
let live: TestClient
const lines: string[] = []
beforeAll(async () => {
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
  system = await startSystem({
    fakes: ['twilio'],
    channels: ['sms', 'voice', 'whatsapp'],
    steps: { sms: { timeoutMs: 6_000 } },
    log,
  })
  live = clientOf(system, system.liveKey)
})
afterAll(() => system.stop())

const messageOf = (phone: string, channel: string) =>
  until(async () => (await live.inbox(phone)).find((entry) => entry.channel === channel), {
    what: `a message by ${channel}`,
  })
const attemptsOf = async (requestId: string) =>
  (await live.status(requestId)).steps
    .flatMap(({ attempts }) => attempts)
    .map(({ channel, provider, status }) => ({
      ...{ channel, provider, status },
    }))
const twilioBy = (channel: string, status: string) => ({ channel, provider: 'twilio', status })
const inbound = (phone: string, text: string) =>
  fetch(`${system.sandboxUrl}/phones/${encodeURIComponent(phone)}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text }),
  })

describe('a code by Twilio', () => {
  test('as an SMS: delivered, verified, and the outcome told', async () => {
    const phone = freshPhone()
    const requestId = await live.sent(phone, { channels: ['sms'] })
    const { code, text, provider } = await messageOf(phone, 'sms')
    expect({ provider, says: text.includes(code) }).toEqual({ provider: 'twilio', says: true })
    await until(async () =>
      (await attemptsOf(requestId)).some(({ status }) => status === 'delivered'),
    )
    expect((await live.verify({ request_id: requestId, code })).body.status).toBe('verified')
    expect(await attemptsOf(requestId)).toEqual([twilioBy('sms', 'delivered')])
    const ids = await system.db.many<{ id: string }>(
      sql`select provider_message_id as id from attempts where request_id = ${requestId}`,
    )
    expect(ids.map(({ id }) => /^SM[0-9a-f]{32}$/.test(id))).toEqual([true])
    const outcome = async () => {
      const [entry] = (await live.inbox(phone)) as { outcome?: string }[]
      return entry?.outcome
    }
    expect(await until(outcome, { what: 'the feedback' })).toBe('verified')
  })

  test('silent by SMS, then a call that says the code after a key', async () => {
    const phone = freshPhone()
    await live.script(phone, [{ on: { channel: 'sms' }, receipt: 'none' }])
    const requestId = await live.sent(phone, { channels: ['sms', 'voice'] })
    const { code } = await messageOf(phone, 'sms')
    const call = await until(
      async () =>
        (await live.inbox(phone)).find((entry) => entry.channel === 'voice' && entry.code !== ''),
      { what: 'a call that says its code' },
    )
    expect(call).toMatchObject({ provider: 'twilio', code, status: 'answered' })
    const spoken = [...code].join(', ')
    expect(call.text.split(spoken)).toHaveLength(3)
    await until(async () =>
      (await attemptsOf(requestId)).some(({ status }) => status === 'answered'),
    )
    expect(await attemptsOf(requestId)).toEqual([
      twilioBy('sms', 'accepted'),
      twilioBy('voice', 'answered'),
    ])
    // What the phone heard is in no log and in no history.
    expect(lines.join('\n')).not.toContain(spoken)
  })

  test('before the key, a call says only its prompt', async () => {
    const phone = freshPhone()
    await live.script(phone, [{ on: { channel: 'voice' }, receipt: 'ringing' }])
    await live.sent(phone, { channels: ['voice'] })
    const call = await messageOf(phone, 'voice')
    expect(call.code).toBe('')
    expect(call.text).toMatch(/press/i)
    expect(call.text).not.toMatch(/\d/)
  })

  test('by WhatsApp, as a template', async () => {
    const phone = freshPhone()
    const requestId = await live.sent(phone, { channels: ['whatsapp'] })
    const { code } = await messageOf(phone, 'whatsapp')
    await until(async () =>
      (await attemptsOf(requestId)).some(({ status }) => status === 'delivered'),
    )
    expect((await live.verify({ phone_number: phone, code })).body.status).toBe('verified')
  })
})

describe('what goes wrong there', () => {
  test.each([
    ['INVALID_NUMBER', 'invalid_number'],
    ['BLOCKED', 'blocked'],
  ])('%s ends the step, and Twilio’s words about it go nowhere', async (error_code, fault) => {
    const phone = freshPhone()
    await live.script(phone, { accept: { error_code } })
    const requestId = await live.sent(phone, { channels: ['sms'] })
    expect(await untilState(live, requestId)).toMatchObject({ state: 'failed' })
    const faults = await system.db.many(
      sql`select fault::text from attempts where request_id = ${requestId}`,
    )
    expect(faults).toEqual([{ fault }])
    const { rows } = { rows: await system.db.many(sql`select detail::text from audit_events`) }
    expect(JSON.stringify(rows)).not.toContain(phone.slice(1))
    expect(lines.join('\n')).not.toContain(phone.slice(1))
  })

  test('a failed message moves on at once, an expired one too', async () => {
    for (const receipt of ['failed', 'expired']) {
      const phone = freshPhone()
      await live.script(phone, [{ on: { channel: 'sms' }, receipt }])
      const requestId = await live.sent(phone, { channels: ['sms', 'whatsapp'] })
      await messageOf(phone, 'whatsapp')
      const status = receipt === 'failed' ? 'failed.permanent' : 'expired'
      expect((await attemptsOf(requestId))[0]).toEqual(twilioBy('sms', status))
    }
  })

  test('a call that nobody takes moves on', async () => {
    const phone = freshPhone()
    const receipts = [
      { status: 'ringing', after_ms: 50 },
      { status: 'declined', after_ms: 300 },
    ]
    await live.script(phone, [{ on: { channel: 'voice' }, receipts }])
    const requestId = await live.sent(phone, { channels: ['voice', 'whatsapp'] })
    await messageOf(phone, 'whatsapp')
    expect((await attemptsOf(requestId))[0]).toEqual(twilioBy('voice', 'failed.retryable'))
  })

  test('a call that a voicemail takes moves on, and the voicemail hears no code', async () => {
    const phone = freshPhone()
    await live.script(phone, [{ on: { channel: 'voice' }, receipt: 'delivered' }])
    const requestId = await live.sent(phone, { channels: ['voice', 'whatsapp'] })
    const { code } = await messageOf(phone, 'whatsapp')
    const heard = await messageOf(phone, 'voice')
    expect(heard).toMatchObject({ code: '' })
    expect(heard.text).not.toContain([...code].join(', '))
    // The machine listened to the end, which makes no answer of it.
    const ended = () =>
      system.db.one(sql`select 1 from receipts p join attempts a on a.id = p.attempt_id
        where a.request_id = ${requestId} and p.raw_status = 'completed'`)
    await until(async () => (await ended()) !== undefined)
    expect((await attemptsOf(requestId))[0]).toEqual(twilioBy('voice', 'failed.retryable'))
  })

  test('an answer that is lost: the message is found, and not sent again', async () => {
    const phone = freshPhone()
    // Silent, so that no report ends the doubt before the provider is asked.
    await live.script(phone, { accept: { drop: true, times: 1 }, receipt: 'none' })
    const requestId = await live.sent(phone, { channels: ['sms'] })
    const found = async () => {
      const [attempt] = await system.db.many<{ state: string; id: string | null }>(
        sql`select state, provider_message_id as id from attempts where request_id = ${requestId}`,
      )
      return attempt?.state === 'accepted' && attempt
    }
    expect((await until(found, { what: 'the message' })).id).toMatch(/^SM/)
    const messages = await live.inbox(phone)
    expect(messages).toHaveLength(1)
    expect(
      (await live.verify({ request_id: requestId, code: messages[0]?.code })).body.status,
    ).toBe('verified')
  })

  test('an answer that is lost, with a report: one message', async () => {
    const phone = freshPhone()
    await live.script(phone, { accept: { drop: true, times: 1 } })
    const requestId = await live.sent(phone, { channels: ['sms'] })
    await until(async () =>
      (await attemptsOf(requestId)).some(({ status }) => status === 'delivered'),
    )
    expect(await live.inbox(phone)).toHaveLength(1)
  })

  test('a report that comes before the answer counts', async () => {
    const phone = freshPhone()
    await live.script(phone, { receipts_first: true })
    const requestId = await live.sent(phone, { channels: ['sms'] })
    await until(async () =>
      (await attemptsOf(requestId)).some(({ status }) => status === 'delivered'),
    )
    expect(await attemptsOf(requestId)).toEqual([twilioBy('sms', 'delivered')])
  })
})

test('STOP is heard: the next send is refused', async () => {
  const phone = freshPhone()
  const requestId = await live.sent(phone, { channels: ['sms'] })
  await messageOf(phone, 'sms')
  expect((await inbound(phone, 'Hello')).status).toBe(204)
  expect((await live.status(requestId)).state).toBe('pending')
  expect((await inbound(phone, 'STOP')).status).toBe(204)
  await untilState(live, requestId)
  const { status, body } = await live.send(phone)
  expect({ status, code: body.error_code }).toEqual({ status: 403, code: 'BLOCKED' })
})

test('a look-up and a ping reach it', async () => {
  const { lookup, pinger } = system.accounts.get('twilio') ?? {}
  const signal = AbortSignal.timeout(5_000)
  await pinger?.ping(signal)
  await live.script('twilio', { accept: { status: 503 } })
  await expect(pinger?.ping(signal)).rejects.toMatchObject({ fault: 'unavailable' })
  await live.script('twilio', {})
  expect(await lookup?.lookUp('+233241234567', signal)).toEqual({
    ...{ valid: true, lineType: 'mobile', carrier: 'Played Carrier' },
  })
  expect(await lookup?.lookUp('+2', signal)).toMatchObject({ valid: false })
})
