import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { flipped } from '../harness/adapter-rig'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
beforeAll(async () => {
  system = await startSystem({ fakes: ['africas-talking'], trustProxy: { hops: 1 } })
  client = clientOf(system, system.liveKey)
})
afterAll(() => system.stop())

const secret = 'a-callback-secret-of-the-fake'
const account = '/webhooks/africas-talking'

const attemptOf = async (id: string, index = 0) =>
  (await client.status(id)).steps.flatMap(({ attempts }) => attempts)[index]
const untilStatus = (id: string, wanted: string) =>
  until(
    async () => {
      const attempt = await attemptOf(id)
      return attempt?.status === wanted && attempt
    },
    { what: `status ${wanted}` },
  )
const receiptsOf = async (id: string) =>
  (await client.status(id)).events.filter(({ type }) => type === 'receipt')

const post = async (
  path: string,
  fields: Record<string, string>,
  headers: Record<string, string> = { 'x-forwarded-for': '127.0.0.1' },
) => {
  const answer = await fetch(system.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body: new URLSearchParams(fields).toString(),
  })
  return { status: answer.status, text: await answer.text() }
}
const messageIdOf = async (phone: string) => {
  const [entry] = await client.inbox(phone)
  return entry?.id ?? ''
}

describe('an SMS', () => {
  test.concurrent('is delivered, has its price, and its code verifies', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms'] })
    expect(await untilStatus(id, 'delivered')).toMatchObject({
      provider: 'africas-talking',
      cost: { amount: expect.stringMatching(/^0\.80*$/), currency: 'KES' },
    })
    const [{ provider, code } = { provider: '', code: '' }] = await client.inbox(phone)
    expect(provider).toBe('africas-talking')
    expect((await client.verify({ phone_number: phone, code })).body.status).toBe('verified')
  })

  test.concurrent('may be reported before its send is answered', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipts_first: true, latency_ms: 300 })
    const id = await client.sent(phone, { channels: ['sms'] })
    await untilStatus(id, 'delivered')
  })

  test.concurrent('may be reported twice and out of order', async () => {
    const phone = freshPhone()
    await client.script(phone, {
      receipts: [
        { status: 'delivered', after_ms: 100 },
        { status: 'delivered', after_ms: 150 },
        { status: 'sent', after_ms: 200 },
        { status: 'failed', after_ms: 250 },
      ],
    })
    const id = await client.sent(phone, { channels: ['sms'] })
    await until(async () => (await receiptsOf(id)).length === 3, { what: 'three receipts' })
    expect((await attemptOf(id))?.status).toBe('delivered')
  })

  test.concurrent('that fails makes way for the next channel', async () => {
    const phone = freshPhone()
    await client.script(phone, { on: { channel: 'sms' }, receipt: 'failed' })
    const id = await client.sent(phone, { channels: ['sms', 'voice'] })
    await until(async () => (await attemptOf(id, 1))?.channel === 'voice')
    expect((await attemptOf(id))?.status).toBe('failed.permanent')
  })

  test.concurrent('is refused for its number in the provider’s own words', async () => {
    for (const [error_code, fault] of [
      ['INVALID_NUMBER', 'invalid_number'],
      ['BLOCKED', 'blocked'],
    ]) {
      const phone = freshPhone()
      await client.script(phone, { accept: { error_code } })
      const id = await client.sent(phone, { channels: ['sms'] })
      await until(async () => (await attemptOf(id))?.fault === fault, { what: fault })
    }
  })
})

describe('a call', () => {
  test.concurrent('reads the code to who presses a key, and has its price', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['voice'] })
    await untilStatus(id, 'answered')
    const heard = await until(async () => {
      const [entry] = await client.inbox(phone)
      return entry?.code !== '' && entry
    })
    expect(heard).toMatchObject({ provider: 'africas-talking', channel: 'voice' })
    expect(heard.text).toMatch(/press/)
    const ended = await until(
      async () => {
        const attempt = await attemptOf(id)
        return attempt?.cost?.estimated === false && attempt
      },
      { what: 'the price' },
    )
    expect(ended).toMatchObject({
      status: 'answered',
      cost: { amount: expect.stringMatching(/^1\.40*$/), currency: 'KES' },
    })
    const verified = await client.verify({ phone_number: phone, code: heard.code })
    expect(verified.body.status).toBe('verified')
  })

  test.concurrent('to a voicemail, which presses no key, is none that was heard', async () => {
    const phone = freshPhone()
    await client.script(phone, { on: { channel: 'voice' }, receipt: 'none' })
    const id = await client.sent(phone, { channels: ['voice'] })
    await until(async () => (await attemptOf(id))?.status === 'accepted')
    const sessionId = await messageIdOf(phone)
    const base = { sessionId, direction: 'Outbound' }
    const asked = await post(`${account}/secret/${secret}/answer`, { ...base, isActive: '1' })
    expect(asked.status).toBe(200)
    expect(asked.text).toMatch(/^<\?xml [^>]*><Response><GetDigits/)
    expect(asked.text).not.toMatch(/\d \d \d/)
    const ended = { ...base, isActive: '0', hangupCause: 'NORMAL_CLEARING' }
    expect((await post(`${account}/secret/${secret}/answer`, ended)).status).toBe(200)
    await until(async () => (await receiptsOf(id)).length === 2)
    expect((await attemptOf(id))?.status).toBe('sent')
    expect((await client.status(id)).delivered_at).toBeNull()
  })

  test.concurrent('that is declined makes way for the next channel', async () => {
    const phone = freshPhone()
    await client.script(phone, {
      on: { channel: 'voice' },
      receipts: [{ status: 'declined', after_ms: 100 }],
    })
    const id = await client.sent(phone, { channels: ['voice', 'sms'] })
    await until(async () => (await attemptOf(id, 1))?.channel === 'sms')
  })

  test.concurrent(
    'says nothing once its request has ended, or for a session of nobody',
    async () => {
      const phone = freshPhone()
      await client.script(phone, { on: { channel: 'voice' }, receipt: 'none' })
      const id = await client.sent(phone, { channels: ['voice'] })
      await until(async () => (await attemptOf(id))?.status === 'accepted')
      const sessionId = await messageIdOf(phone)
      await client.call('POST', `/otp/${id}/cancel`)
      const nothing = expect.stringContaining('<Response></Response>')
      const press = { isActive: '1', dtmfDigits: '1' }
      for (const session of [sessionId, 'ATVId_nobody'])
        expect(
          await post(`${account}/secret/${secret}/answer`, { ...press, sessionId: session }),
        ).toEqual({ status: 200, text: nothing })
    },
  )
})

describe('a USSD session', () => {
  test.concurrent('shows the code to who dials', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['ussd'] })
    const { instruction } = await until(async () => {
      const status = await client.status(id)
      return status.instruction !== undefined && status
    })
    expect(instruction).toBe('*384*77#')
    const answer = await fetch(`${system.sandboxUrl}/phones/${encodeURIComponent(phone)}/dial`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ service_code: instruction }),
    })
    const { code, message } = (await answer.json()) as { code: string; message: string }
    expect(message).toContain(code)
    await until(async () => (await client.status(id)).delivered_at !== null)
    expect((await client.verify({ request_id: id, code })).body.status).toBe('verified')
  })
})

test('who does not know the secret, or calls from elsewhere, is refused and audited', async () => {
  const phone = freshPhone()
  await client.script(phone, { receipt: 'none' })
  const id = await client.sent(phone, { channels: ['sms'] })
  await untilStatus(id, 'accepted')
  const report = { id: await messageIdOf(phone), phoneNumber: phone, status: 'Success' }
  const call = { sessionId: report.id, isActive: '1', dtmfDigits: '1', clientRequestId: 'att_1' }
  const dial = { sessionId: 's', serviceCode: '*384*77#', phoneNumber: phone, text: '' }
  const wrong = flipped(secret)
  const elsewhere = { 'x-forwarded-for': '198.51.100.7' }
  const answers = [
    await post(account, report),
    await post(`${account}/secret/${wrong}`, report),
    await post(`${account}/secret/${secret}`, report, elsewhere),
    await post(`${account}/secret/${wrong}/answer`, call),
    await post(`${account}/secret/${secret}/answer`, call, elsewhere),
    await post(`/ussd/africas-talking/${wrong}`, dial),
    await post(`/ussd/africas-talking/${secret}`, dial, elsewhere),
  ]
  for (const { status, text } of answers)
    expect([status, text]).toEqual([401, expect.stringContaining('INVALID_SIGNATURE')])
  expect((await attemptOf(id))?.status).toBe('accepted')
  const audited = await system.db.one<{ count: number }>(
    sql`select count(*)::int as count from audit_events where app_id is null
      and type = 'callback_refused' and detail->>'provider' = 'africas-talking'`,
  )
  expect(audited?.count).toBe(1)

  const bad = [
    await post(`${account}/secret/${secret}`, { ...report, id: 'ATXid_of_nobody' }),
    await post(`${account}/secret/${secret}`, { status: '\u0000' }),
    await post(`${account}/secret/${secret}/answer`, { isActive: '\ud800' }),
    await post(`/ussd/africas-talking/${secret}`, { text: '' }),
  ]
  expect(bad.map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect((await post(`${account}/secret/${secret}`, report)).status).toBe(200)
  await untilStatus(id, 'delivered')
})
