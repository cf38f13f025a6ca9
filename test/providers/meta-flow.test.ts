import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
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

describe('with the Meta that the sandbox plays', () => {
  let system: System
  let client: TestClient
  beforeAll(async () => {
    system = await startSystem({ fakes: ['meta'], channels: ['whatsapp'] })
    client = clientOf(system, system.liveKey)
  })
  afterAll(() => system.stop())

  test.each([
    ['fr-CI', 'fr'],
    ['en', 'en_US'],
    ['sw', 'en_US'],
  ])('WhatsApp in %s: sent, delivered, verified', async (locale, language) => {
    const phone = freshPhone()
    const requestId = await client.sent(phone, { locale })
    expect(await untilStatus(client, requestId, 'delivered')).toMatchObject({ provider: 'meta' })
    const [entry, ...more] = await client.inbox(phone)
    expect(more).toEqual([])
    expect(entry).toMatchObject({ provider: 'meta', channel: 'whatsapp' })
    expect(entry?.text).toBe(`otp_code (${language}): ${entry?.code}`)
    await client.verify({ request_id: requestId, code: entry?.code })
    await untilState(client, requestId, 'verified')
  })

  test.each([
    ['+233555000003', 'invalid_number'],
    ['+233555000004', 'blocked'],
  ])('%s is refused for good: %s', async (phone, fault) => {
    const requestId = await client.sent(phone)
    await untilState(client, requestId, 'failed')
    expect(await attemptsOf(client, requestId)).toMatchObject([{ provider: 'meta', fault }])
  })

  test.each(['+233555000008', '+233555000009'])(
    'reports before the answer, twice and out of order: %s',
    async (phone) => {
      const requestId = await client.sent(phone)
      await untilStatus(client, requestId, 'delivered')
      expect(await attemptsOf(client, requestId)).toHaveLength(1)
    },
  )

  test('a send without an answer: at most one message more, the same code, and its report counts', async () => {
    const phone = '+233555000007'
    const requestId = await client.sent(phone)
    await untilStatus(client, requestId, 'delivered')
    const codes = (await client.inbox(phone)).map(({ code }) => code)
    expect(codes.length).toBeLessThanOrEqual(2)
    expect(new Set(codes).size).toBe(1)
    expect((await attemptsOf(client, requestId))[0]).toMatchObject({ in_doubt: true })
    const { body } = await client.verify({ request_id: requestId, code: codes[0] })
    expect(body.status).toBe('verified')
  })

  test('a message that fails later', async () => {
    const requestId = await client.sent('+233555000012')
    await untilStatus(client, requestId, 'failed.permanent')
    const { events } = await client.status(requestId)
    expect(events.map(({ detail }) => detail['raw_status'])).toContain('failed:131026')
  })

  test('the account answers its ping, and one with another token does not', async () => {
    const ping = () => system.accounts.get('meta')?.pinger?.ping(AbortSignal.timeout(5_000))
    await ping()
    const url = `${system.sandboxUrl}/vendors/meta/v23.0/106540352242922?fields=health_status`
    const refused = await fetch(url, { headers: { authorization: 'Bearer another' } })
    expect(refused.status).toBe(401)
    expect(await refused.json()).toMatchObject({ error: { code: 190, type: 'OAuthException' } })
  })

  test.each<[string, number, object]>([
    ['no recipient', 100, { to: undefined }],
    ['another product', 100, { messaging_product: 'sms' }],
    ['a free text', 100, { type: 'text', text: { body: '482913' } }],
    ['a template without its button', 132000, { components: 1 }],
    ['another template', 132001, { name: 'another' }],
    ['a button with another code', 132012, { button: '111111' }],
  ])('the fake refuses %s', async (_title, code, given) => {
    const {
      components,
      name = 'otp_code',
      button = '482913',
      ...changed
    } = given as {
      components?: number
      name?: string
      button?: string
    }
    const fill = (text: string) => [{ type: 'text', text }]
    const both = [
      { type: 'body', parameters: fill('482913') },
      { type: 'button', sub_type: 'url', index: '0', parameters: fill(button) },
    ]
    const answer = await fetch(`${system.sandboxUrl}/vendors/meta/v23.0/106540352242922/messages`, {
      method: 'POST',
      headers: {
        authorization: 'Bearer EAAG-a-token-of-the-fake',
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        messaging_product: 'whatsapp',
        to: '233241234567',
        type: 'template',
        template: { name, language: { code: 'fr' }, components: both.slice(0, components) },
        ...changed,
      }),
    })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(await answer.json()).toMatchObject({ error: { code } })
  })
})

describe('callbacks by hand, to a Meta that only writes down what it is asked', () => {
  const secret = '0123456789abcdef0123456789abcdef'
  let vendor: Awaited<ReturnType<typeof startRecorder>>
  let system: System
  let client: TestClient
  let lastId = 0
  beforeAll(async () => {
    vendor = await startRecorder(() => ({
      body: JSON.stringify({ messages: [{ id: `wamid.${++lastId}` }] }),
    }))
    system = await startSystem({
      channels: ['whatsapp'],
      steps: { whatsapp: { timeoutMs: 60_000 } },
      variables: {
        META_ACCESS_TOKEN: 'EAAG-token',
        META_PHONE_NUMBER_ID: '106540352242922',
        META_APP_SECRET: secret,
        META_VERIFY_TOKEN: 'words-of-our-own',
        META_TEMPLATE: 'otp_code',
        META_BASE_URL: vendor.url,
      },
    })
    client = clientOf(system, system.liveKey)
  })
  afterAll(async () => {
    await system.stop()
    await vendor.close()
  })

  const send = async () => {
    const before = vendor.calls.length
    const requestId = await client.sent(freshPhone())
    const call = await until(async () => vendor.calls[before], { what: 'a call to the vendor' })
    await untilStatus(client, requestId, 'accepted')
    const { biz_opaque_callback_data: reference } = JSON.parse(call.body) as {
      biz_opaque_callback_data: string
    }
    return { requestId, reference, wamid: `wamid.${lastId}` }
  }
  const batch = (...statuses: object[]) => {
    const metadata = { phone_number_id: '106540352242922' }
    const changes = statuses.map((status) => ({
      field: 'messages',
      value: { metadata, statuses: [status] },
    }))
    return JSON.stringify({ object: 'whatsapp_business_account', entry: [{ id: '1', changes }] })
  }
  const post = (body: string, signed = body) =>
    fetch(`${system.url}/webhooks/meta`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(signed).digest('hex')}`,
      },
      body,
    })

  test('a batch serves every message that it tells of, by our reference or by Meta’s id', async () => {
    const one = await send()
    const two = await send()
    const body = batch(
      { id: 'of-nobody', status: 'delivered', biz_opaque_callback_data: 'att_of_nobody' },
      { id: one.wamid, status: 'read', biz_opaque_callback_data: one.reference },
      { id: two.wamid, status: 'sent' },
      { id: one.wamid, status: 'delivered', biz_opaque_callback_data: one.reference },
      { id: two.wamid, status: 'delivered', biz_opaque_callback_data: 'of another kind!' },
    )
    for (let times = 0; times < 2; times++) expect((await post(body)).status).toBe(200)
    for (const { requestId, words } of [
      { ...one, words: ['read', 'delivered'] },
      { ...two, words: ['sent', 'delivered'] },
    ]) {
      await untilStatus(client, requestId, 'delivered')
      const { events } = await client.status(requestId)
      expect(events.flatMap(({ detail }) => detail['raw_status'] ?? [])).toEqual(words)
    }
    expect(
      await system.db.many(sql`select provider_message_id as id from unmatched_receipts`),
    ).toEqual([{ id: 'of-nobody' }])
  })

  test('a report that comes before we know its message waits for it', async () => {
    const early = { id: `wamid.${lastId + 1}`, status: 'delivered' }
    expect((await post(batch(early))).status).toBe(200)
    const requestId = await client.sent(freshPhone())
    await untilStatus(client, requestId, 'delivered')
  })

  test('a failure that Meta reports ends the step’s wait', async () => {
    const { requestId, reference, wamid } = await send()
    const errors = [{ code: 131026, title: 'Message undeliverable' }]
    const status = { id: wamid, status: 'failed', errors, biz_opaque_callback_data: reference }
    expect((await post(batch(status))).status).toBe(200)
    await untilStatus(client, requestId, 'failed.permanent')
    await until(async () => (await client.status(requestId)).steps[0]?.status === 'failed')
  })

  const audited = () =>
    system.db.many(
      sql`select detail from audit_events where type = 'callback_refused' and app_id is null`,
    )
  test('forged by one bit: 401, audited, and nothing believed', async () => {
    const { requestId, reference, wamid } = await send()
    const body = batch({ id: wamid, status: 'delivered', biz_opaque_callback_data: reference })
    const forged = await post(body.replace('delivered', 'deliveree'), body)
    expect(forged.status).toBe(401)
    expect(await forged.json()).toMatchObject({ error_code: 'INVALID_SIGNATURE' })
    expect(await audited()).toEqual([
      { detail: { provider: 'meta', error_code: 'INVALID_SIGNATURE' } },
    ])
    expect(await attemptsOf(client, requestId)).toMatchObject([{ status: 'accepted' }])
    expect((await post(body)).status).toBe(200)
    await untilStatus(client, requestId, 'delivered')
  })

  test('the handshake: the challenge for our token, 401 for any other', async () => {
    const shake = (token: string) =>
      fetch(
        `${system.url}/webhooks/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=${token}`,
      )
    const answer = await shake('words-of-our-own')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
    expect(await answer.text()).toBe('1158201444')
    const refused = await shake('words-of-others')
    expect(refused.status).toBe(401)
    expect(await refused.text()).not.toContain('1158201444')
    expect(await audited()).not.toEqual([])
  })
})
