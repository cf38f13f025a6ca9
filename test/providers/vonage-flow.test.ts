import { createHash, generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { SignJWT } from 'jose'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { startRecorder } from '../harness/recorder'
import { startSystem, type System } from '../harness/system'

const attemptsOf = async (client: TestClient, requestId: string) =>
  (await client.status(requestId)).steps.flatMap(({ attempts }) => attempts)
const untilStatus = (client: TestClient, requestId: string, status: string) =>
  until(
    async () => (await attemptsOf(client, requestId)).find((attempt) => attempt.status === status),
    { what: `an attempt that is ${status}` },
  )

describe('with the Vonage that the sandbox plays', () => {
  let system: System
  let client: TestClient
  beforeAll(async () => {
    system = await startSystem({ fakes: ['vonage'], channels: ['sms', 'voice', 'whatsapp'] })
    client = clientOf(system, system.liveKey)
  })
  afterAll(() => system.stop())

  const codeOn = (phone: string) =>
    until(async () => (await client.inbox(phone)).find(({ code }) => code !== ''), {
      what: 'a code',
    })

  test.each([
    ['sms', 'delivered', 0.0333],
    ['voice', 'answered', 0.0123],
    ['whatsapp', 'delivered', 0],
  ])('%s: sent, %s, verified', async (channel, status, cost) => {
    const phone = freshPhone()
    const requestId = await client.sent(phone, { channels: [channel], locale: 'fr' })
    const attempt = await untilStatus(client, requestId, status)
    expect(attempt).toMatchObject({ provider: 'vonage', channel })
    // A price is written down after the status that came with it.
    await until(
      async () =>
        (await attemptsOf(client, requestId)).every(
          ({ cost: given }) => (given?.estimated === false ? Number(given.amount) : 0) === cost,
        ),
      { what: 'the price' },
    )
    const { code, provider, text } = await codeOn(phone)
    expect(provider).toBe('vonage')
    if (channel === 'voice') expect(text).toContain([...code].join(' '))
    if (channel === 'whatsapp') expect(text).toBe(`otp_code (fr): ${code}`)
    expect(await client.inbox(phone)).toHaveLength(1)
    expect((await client.verify({ request_id: requestId, code })).body.status).toBe('verified')
    await untilState(client, requestId, 'verified')
  })

  test.each([
    ['+233555000003', 'invalid_number'],
    ['+233555000004', 'blocked'],
  ])('%s is refused for good: %s', async (phone, fault) => {
    for (const channel of ['sms', 'voice']) {
      const requestId = await client.sent(phone, { channels: [channel], purpose: channel })
      await untilState(client, requestId, 'failed')
      expect(await attemptsOf(client, requestId)).toMatchObject([{ provider: 'vonage', fault }])
    }
  })

  test.each(['+233555000008', '+233555000009'])(
    'reports before the answer, twice and out of order: %s',
    async (phone) => {
      const requestId = await client.sent(phone, { channels: ['sms'] })
      await untilStatus(client, requestId, 'delivered')
      expect(await attemptsOf(client, requestId)).toHaveLength(1)
    },
  )

  test('a send without an answer: at most one message more, the same code, and its report counts', async () => {
    const phone = '+233555000007'
    const requestId = await client.sent(phone, { channels: ['sms'] })
    await untilStatus(client, requestId, 'delivered')
    const codes = (await client.inbox(phone)).map(({ code }) => code)
    expect(codes.length).toBeLessThanOrEqual(2)
    expect(new Set(codes).size).toBe(1)
    expect((await attemptsOf(client, requestId))[0]).toMatchObject({ in_doubt: true })
    const { body } = await client.verify({ request_id: requestId, code: codes[0] })
    expect(body.status).toBe('verified')
  })

  test('an SMS that fails, and one that the network gives up: the call follows', async () => {
    for (const [phone, raw] of [
      ['+233555000011', 'rejected:1190'],
      ['+233555000020', 'rejected:1360'],
    ] as const) {
      const requestId = await client.sent(phone)
      await untilStatus(client, requestId, 'answered')
      const { events } = await client.status(requestId)
      expect(events.map(({ detail }) => detail['raw_status'])).toContain(raw)
    }
  })

  test('a declined call is over', async () => {
    const requestId = await client.sent('+233555000013', { channels: ['voice'] })
    await untilStatus(client, requestId, 'failed.permanent')
  })

  test('the account answers its ping', async () => {
    await system.accounts.get('vonage')?.pinger?.ping(AbortSignal.timeout(5_000))
  })
})

describe('callbacks by hand, to a Vonage that only writes down what it is asked', () => {
  const secret = 'a-signature-secret-of-32-letters'
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  let vendor: Awaited<ReturnType<typeof startRecorder>>
  let system: System
  let client: TestClient
  let lastId = 0
  beforeAll(async () => {
    vendor = await startRecorder(() => ({
      status: 202,
      body: JSON.stringify({ message_uuid: `uuid-${++lastId}`, uuid: `uuid-${lastId}` }),
    }))
    system = await startSystem({
      channels: ['sms'],
      steps: { sms: { timeoutMs: 60_000 } },
      variables: {
        VONAGE_API_KEY: 'abcd1234',
        VONAGE_APPLICATION_ID: 'app-1',
        VONAGE_PRIVATE_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
        VONAGE_SIGNATURE_SECRET: secret,
        VONAGE_SMS_FROM: 'Acme',
        VONAGE_VOICE_FROM: '447700900001',
        VONAGE_BASE_URL: vendor.url,
      },
    })
    client = clientOf(system, system.liveKey)
  })
  afterAll(async () => {
    await system.stop()
    await vendor.close()
  })

  const tokenFor = (body: string, by = secret) =>
    new SignJWT({
      api_key: 'abcd1234',
      payload_hash: createHash('sha256').update(body).digest('hex'),
    })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setIssuedAt()
      .sign(Buffer.from(by))
  const post = async (url: string, payload: object, { token = '', sent = '' } = {}) => {
    const body = JSON.stringify(payload)
    return fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token || (await tokenFor(body))}`,
        'content-type': 'application/json',
      },
      body: sent || body,
    })
  }

  interface Sent {
    webhook_url: string
    client_ref: string
    event_url: string[]
    ncco: { action: string; eventUrl?: string[] }[]
  }
  const send = async (channel: string) => {
    const before = vendor.calls.length
    const requestId = await client.sent(freshPhone(), { channels: [channel] })
    const call = await until(async () => vendor.calls[before], { what: 'a call to the vendor' })
    await untilStatus(client, requestId, 'accepted')
    const uuid = `uuid-${lastId}`
    return { requestId, uuid, body: JSON.parse(call.body) as Sent }
  }

  test('a batch of one message’s reports, twice and out of order, at either address', async () => {
    const { requestId, uuid, body } = await send('sms')
    const account = `${system.url}/webhooks/vonage`
    const report = (status: string) => ({ message_uuid: uuid, status, client_ref: body.client_ref })
    for (const [url, status] of [
      [account, 'delivered'],
      [body.webhook_url, 'delivered'],
      [body.webhook_url, 'submitted'],
      [account, 'submitted'],
    ] as const)
      expect((await post(url, report(status))).status).toBe(200)
    await untilStatus(client, requestId, 'delivered')
    const { events } = await client.status(requestId)
    const told = events.flatMap(({ detail }) => detail['raw_status'] ?? [])
    expect(told).toEqual(['delivered', 'submitted'])
  })

  test('a report of nobody’s message waits, and is no error', async () => {
    const answer = await post(`${system.url}/webhooks/vonage`, {
      message_uuid: 'of-nobody',
      status: 'delivered',
      client_ref: 'att_of_nobody',
    })
    expect(answer.status).toBe(200)
    expect(
      await system.db.many(
        sql`select status from unmatched_receipts where provider_message_id = 'of-nobody'`,
      ),
    ).toEqual([{ status: 'delivered' }])
  })

  test('a report that comes before we know its message waits for it', async () => {
    const early = { message_uuid: `uuid-${lastId + 1}`, status: 'delivered' }
    expect((await post(`${system.url}/webhooks/vonage`, early)).status).toBe(200)
    const requestId = await client.sent(freshPhone(), { channels: ['sms'] })
    await untilStatus(client, requestId, 'delivered')
  })

  const auditedOf = async (requestId: string) =>
    (await client.status(requestId)).events.filter(({ type }) => type === 'callback_refused')

  test('forged by one bit: 401, audited, and nothing believed', async () => {
    const { requestId, uuid, body } = await send('sms')
    const payload = { message_uuid: uuid, status: 'delivered' }
    const token = await tokenFor(JSON.stringify(payload))
    const flipped = Buffer.from(token)
    const place = token.lastIndexOf('.') + 5
    flipped[place] = (flipped[place] ?? 0) ^ 1
    const forgeries = [
      { token: flipped.toString() },
      { token, sent: JSON.stringify({ ...payload, uuid: 'x' }) },
      { token: await tokenFor(JSON.stringify(payload), 'another-secret') },
      { token: 'none' },
    ]
    for (const forged of forgeries)
      for (const url of [body.webhook_url, `${system.url}/webhooks/vonage`]) {
        const answer = await post(url, payload, forged)
        expect(answer.status).toBe(401)
        expect(await answer.json()).toMatchObject({ error_code: 'INVALID_SIGNATURE' })
      }
    expect(await auditedOf(requestId)).toHaveLength(1)
    expect(
      await system.db.many(
        sql`select detail from audit_events where type = 'callback_refused' and app_id is null`,
      ),
    ).toEqual([{ detail: { provider: 'vonage', error_code: 'INVALID_SIGNATURE' } }])
    expect(await attemptsOf(client, requestId)).toMatchObject([{ status: 'accepted' }])
    expect((await post(body.webhook_url, payload)).status).toBe(200)
    await untilStatus(client, requestId, 'delivered')
  })

  test('a call tells its code after a key only, to Vonage only, and while it is wanted', async () => {
    const { requestId, uuid, body } = await send('voice')
    const [eventUrl = ''] = body.event_url
    const [answerUrl = ''] = body.ncco.flatMap((action) => action.eventUrl ?? [])
    const pressed = { uuid, dtmf: { digits: '5', timed_out: false } }
    expect((await post(eventUrl, { uuid, status: 'answered' })).status).toBe(200)
    await untilStatus(client, requestId, 'sent')

    const forged = await post(answerUrl, pressed, { token: await tokenFor('{}') })
    expect(forged.status).toBe(401)
    expect(await forged.text()).not.toContain('talk')
    expect(await auditedOf(requestId)).toHaveLength(1)

    const silent = await post(answerUrl, { uuid, dtmf: { digits: '', timed_out: true } })
    expect(await silent.json()).toEqual([])
    await untilStatus(client, requestId, 'failed.retryable')

    const said = await (await post(answerUrl, pressed)).text()
    const digits = said.replace(/<[^>]*>/g, ' ').match(/(?<=\s)\d(?= |\.)/g)
    await untilStatus(client, requestId, 'answered')
    const code = digits?.join('').slice(0, 6)
    expect((await client.verify({ request_id: requestId, code })).body.status).toBe('verified')
    expect(await (await post(answerUrl, pressed)).json()).toEqual([])
  })
})
