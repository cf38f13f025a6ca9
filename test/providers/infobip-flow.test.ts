import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { startSystem, type System } from '../harness/system'

const attemptsOf = async (client: TestClient, requestId: string) =>
  (await client.status(requestId)).steps.flatMap(({ attempts }) => attempts)
const untilStatus = (client: TestClient, requestId: string, status: string) =>
  until(
    async () => (await attemptsOf(client, requestId)).find((attempt) => attempt.status === status),
    { what: `an attempt that is ${status}` },
  )

describe('reports to each message’s own address', () => {
  let system: System
  let client: TestClient
  beforeAll(async () => {
    system = await startSystem({ fakes: ['infobip'], channels: ['sms', 'voice', 'whatsapp'] })
    client = clientOf(system, system.liveKey)
  })
  afterAll(() => system.stop())

  test.each([
    ['sms', 'delivered', '0.042100'],
    ['voice', 'answered', '0.024000'],
    ['whatsapp', 'delivered', '0.042100'],
  ])('%s: sent, %s, verified', async (channel, status, cost) => {
    const phone = freshPhone()
    const requestId = await client.sent(phone, { channels: [channel] })
    const priced = await until(
      async () =>
        // The price is written down right before what it came with.
        (await attemptsOf(client, requestId)).find(
          (attempt) => attempt.cost?.estimated === false && attempt.status === status,
        ),
      { what: 'a price' },
    )
    expect(priced).toMatchObject({
      ...{ provider: 'infobip', channel },
      cost: { amount: cost, currency: 'EUR' },
    })
    const [entry, ...more] = await client.inbox(phone)
    expect(more).toEqual([])
    expect(entry).toMatchObject({ provider: 'infobip', channel })
    await client.verify({ request_id: requestId, code: entry?.code })
    await untilState(client, requestId, 'verified')
  })

  test('an address that is none of ours: 401 and audited', async () => {
    const answer = await fetch(`${system.url}/webhooks/infobip/bm90LWEtdG9rZW4tb2Ytb3Vycw`, {
      method: 'POST',
      body: JSON.stringify({ results: [] }),
    })
    expect(answer.status).toBe(401)
    expect(
      await system.db.many(
        sql`select detail from audit_events where type = 'callback_refused' and app_id is null`,
      ),
    ).toEqual([{ detail: { provider: 'infobip', error_code: 'INVALID_SIGNATURE' } }])
  })

  test.each([
    ['+233555000003', 'invalid_number'],
    ['+233555000004', 'blocked'],
  ])('%s is refused for good: %s', async (phone, fault) => {
    const requestId = await client.sent(phone, { channels: ['sms'] })
    await untilState(client, requestId, 'failed')
    expect(await attemptsOf(client, requestId)).toMatchObject([{ provider: 'infobip', fault }])
  })

  test('a call in doubt is repeated under its own id: one message, one code', async () => {
    const phone = '+233555000007'
    const requestId = await client.sent(phone, { channels: ['sms'] })
    await until(async () => (await client.inbox(phone)).length > 0, { what: 'a message' })
    await untilStatus(client, requestId, 'delivered')
    const entries = await client.inbox(phone)
    expect(entries).toHaveLength(1)
    expect(await client.verify({ request_id: requestId, code: entries[0]?.code })).toMatchObject({
      body: { status: 'verified' },
    })
  })

  test.each(['+233555000008', '+233555000009'])(
    'reports before the answer, twice, late: %s',
    async (phone) => {
      const requestId = await client.sent(phone, { channels: ['sms'] })
      await untilStatus(client, requestId, 'delivered')
      expect(await attemptsOf(client, requestId)).toHaveLength(1)
    },
  )
})

describe('reports to a subscription of the account', () => {
  const credentials = { INFOBIP_CALLBACK_USER: 'otpilot', INFOBIP_CALLBACK_PASSWORD: 'a-password' }
  let system: System
  let client: TestClient
  beforeAll(async () => {
    system = await startSystem({ fakes: ['infobip'], channels: ['sms'], variables: credentials })
    client = clientOf(system, system.liveKey)
  })
  afterAll(() => system.stop())

  const post = (password: string, results: object[]) =>
    fetch(`${system.url}/webhooks/infobip`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`otpilot:${password}`).toString('base64')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ results }),
    })

  test('a batch serves every message that it tells of, unknown ones beside them', async () => {
    await client.script('infobip', { receipt: 'none' })
    const phones = Array.from({ length: 5 }, freshPhone)
    const requests = await Promise.all(phones.map((phone) => client.sent(phone)))
    const ids = await Promise.all(
      phones.map(
        async (phone) =>
          (await until(async () => (await client.inbox(phone))[0], { what: 'a message' })).id,
      ),
    )
    const status = { groupId: 3, name: 'DELIVERED_TO_HANDSET' }
    const results = [...ids, 'not-ours', 'att_unknown'].map((messageId) => ({ messageId, status }))
    expect((await post('a-password', results)).status).toBe(200)
    await Promise.all(requests.map((requestId) => untilStatus(client, requestId, 'delivered')))
    await client.script('infobip', {})
  })

  test('what the service itself reports arrives there too', async () => {
    const phones = Array.from({ length: 3 }, freshPhone)
    const requests = await Promise.all(phones.map((phone) => client.sent(phone)))
    await Promise.all(requests.map((requestId) => untilStatus(client, requestId, 'delivered')))
  })

  test('forged by one bit: 401, audited, and nothing believed', async () => {
    await client.script('infobip', { receipt: 'none' })
    const phone = freshPhone()
    const requestId = await client.sent(phone)
    const { id: messageId } = await until(async () => (await client.inbox(phone))[0])
    // The phone has it a moment before Postgres knows.
    await until(async () => (await attemptsOf(client, requestId))[0]?.status)
    const status = { groupId: 3, name: 'DELIVERED_TO_HANDSET' }
    const answer = await post('a-passwore', [{ messageId, status }])
    expect(answer.status).toBe(401)
    expect(await answer.json()).toMatchObject({ error_code: 'INVALID_SIGNATURE' })
    expect(
      await system.db.many(
        sql`select detail from audit_events where type = 'callback_refused' and app_id is null`,
      ),
    ).toEqual([{ detail: { provider: 'infobip', error_code: 'INVALID_SIGNATURE' } }])
    expect(await attemptsOf(client, requestId)).toMatchObject([{ status: 'accepted' }])
  })
})
