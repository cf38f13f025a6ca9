import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { type Recorded, startRecorder } from '../harness/recorder'
import { startSystem, type System } from '../harness/system'
import { withinOne } from '../harness/windows'

/** What Infobip's logs say of each message, by its id. */
const logs = new Map<string, object>()
/** The address that each message was given, by its id. */
const addresses = new Map<string, string>()
const asked: string[] = []

interface Sms {
  messages: [{ destinations: [{ messageId: string }]; webhooks: { delivery: { url: string } } }]
}

function infobip({ method, url = '', body }: Recorded) {
  const headers = { 'content-type': 'application/json' }
  if (method === 'GET') {
    const ids = new URL(url, 'http://any').searchParams.get('messageId')?.split(',') ?? []
    if (url.startsWith('/sms/3/logs')) asked.push(...ids)
    const results = ids.flatMap((id) => logs.get(id) ?? [])
    return { headers, body: JSON.stringify({ results }) }
  }
  const [message] = (JSON.parse(body) as Sms).messages
  const [{ messageId }] = message.destinations
  addresses.set(messageId, message.webhooks.delivery.url)
  const status = { groupId: 1, name: 'PENDING_ACCEPTED' }
  logs.set(messageId, { messageId, status })
  return { headers, body: JSON.stringify({ messages: [{ messageId, status }] }) }
}

let service: Awaited<ReturnType<typeof startRecorder>>
let system: System
let client: TestClient
beforeAll(async () => {
  service = await startRecorder(infobip)
  system = await startSystem({
    fakes: ['infobip'],
    channels: ['sms'],
    variables: { INFOBIP_BASE_URL: service.url },
  })
  const prices = [{ channel: 'sms' as const, amount: '0.05' }]
  system.policy.costs = { currency: 'EUR', prices }
  client = clientOf(system, system.liveKey)
})
afterAll(async () => {
  await system.stop()
  await service.close()
})
withinOne('hour', 20, () => system.db)
beforeEach(() => {
  asked.length = 0
})

const delivered = { groupId: 3, name: 'DELIVERED_TO_HANDSET' }

/** A message that Infobip took, and the address that it was given with it. */
async function taken() {
  const requestId = await client.sent(freshPhone())
  const attemptOf = async () => (await client.status(requestId)).steps[0]?.attempts[0]
  await until(async () => (await attemptOf())?.status === 'accepted', { what: 'an acceptance' })
  const row = await system.db.one<{ id: string }>(
    sql`select id from attempts where request_id = ${requestId}`,
  )
  if (!row) throw new Error('no attempt')
  const address = addresses.get(row.id)
  if (address === undefined) throw new Error('no address')
  return { requestId, id: row.id, address, attemptOf }
}

const post = async (url: string, results: object[]) =>
  (
    await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify({ results }),
    })
  ).status

const spent = async () =>
  (
    await system.db.one<{ spent: number }>(
      sql`select coalesce(sum(sum_of(spent)), 0)::float8 as spent from spending`,
    )
  )?.spent

describe('whoever knows the address of one message', () => {
  test('says nothing of any other message, and has the provider asked about that one alone', async () => {
    const [here, there] = [await taken(), await taken()]
    const before = await spent()
    asked.length = 0
    const forged = (id: string) => ({
      ...{ messageId: id, callbackData: `sms:${id}`, status: delivered },
      price: { pricePerMessage: 900_000, currency: 'EUR' },
    })
    for (const results of [
      [forged(there.id)],
      [forged(here.id), forged(there.id)],
      [{ ...forged(there.id), messageId: here.id }],
      [{ ...forged(here.id), messageId: there.id, price: { pricePerMessage: 0, currency: 'EUR' } }],
    ])
      expect(await post(here.address, results)).toBe(200)
    await until(async () => asked.includes(here.id), { what: 'a question about the message' })
    expect(await here.attemptOf()).toMatchObject({ status: 'accepted' })
    expect(await there.attemptOf()).toMatchObject({ status: 'accepted' })
    expect(await spent()).toBe(before)
    const receipts = await system.db.many(
      sql`select from receipts where attempt_id in (${here.id}, ${there.id}) and status = 'delivered'`,
    )
    expect(receipts).toEqual([])
  })

  test('brings forward what the provider then says, with its price', async () => {
    const { id, address, attemptOf } = await taken()
    const before = (await spent()) ?? 0
    const price = { pricePerMessage: 0.0421, currency: 'EUR' }
    logs.set(id, { messageId: id, status: delivered, price })
    expect(await post(address, [{ messageId: 'whatever', status: { groupId: 2 } }])).toBe(200)
    const attempt = await until(
      async () => {
        const found = await attemptOf()
        return found?.status === 'delivered' && found
      },
      { what: 'a delivery' },
    )
    expect(attempt).toMatchObject({
      cost: { amount: '0.042100', currency: 'EUR', estimated: false },
    })
    expect(await spent()).toBeCloseTo(before - 0.05 + 0.0421, 9)
  })

  test('is refused at the address of the whole account', async () => {
    const { id, attemptOf } = await taken()
    const results = [{ messageId: id, status: delivered }]
    expect(await post(`${system.url}/webhooks/infobip`, results)).toBe(401)
    expect(await post(`${system.url}/webhooks/infobip/secret/${'s'.repeat(22)}`, results)).toBe(401)
    expect(await attemptOf()).toMatchObject({ status: 'accepted' })
  })
})
