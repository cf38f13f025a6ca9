import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createApiKey } from '../../db/apps/api-keys'
import { clientOf, freshPhone, until } from '../harness/client'
import { type Receiver, startReceiver } from '../harness/receiver'
import { type Rig, startRig } from '../harness/rig'

let rig: Rig
let client: ReturnType<typeof clientOf>
let receiver: Receiver

beforeAll(async () => {
  rig = await startRig()
  client = clientOf(rig)
  receiver = await startReceiver()
  const { key } = await createApiKey(rig.db, {
    appId: null,
    environment: 'staging',
    scopes: ['admin'],
  })
  await clientOf({ ...rig, key }).call('POST', '/admin/event-endpoints', {
    app_id: 'app',
    environment: 'staging',
    url: receiver.url,
  })
}, 120_000)
afterAll(async () => {
  await receiver.close()
  await rig.stop()
}, 60_000)

const codeFor = async (phone: string) =>
  (await until(async () => (await client.inbox(phone))[0], { what: 'a message' })).code

const everythingReceived = (within: number) =>
  until(
    async () =>
      (await rig.db.one(sql`select from event_deliveries where state <> 'delivered'`)) ===
      undefined,
    { within, what: 'the delivery of every event' },
  )

test('a worker that is killed in the middle of calls loses no event; what comes twice has one id', async () => {
  receiver.answer(() => ({ after: 2_000 }))
  const phones = Array.from({ length: 8 }, freshPhone)
  const ids = await Promise.all(phones.map((phone) => client.sent(phone)))
  await Promise.all(
    phones.map(async (phone, index) =>
      client.verify({ request_id: ids[index], code: await codeFor(phone) }),
    ),
  )
  await until(async () => receiver.received.length > 5)
  rig.worker.kill()
  await rig.worker.ready()
  receiver.answer(() => ({}))
  // In the middle of whatever it does by then.
  await pause(500)
  rig.worker.kill()
  await rig.worker.ready()
  // A claim of the dead is taken over after half a minute.
  await everythingReceived(60_000)
  for (const id of ids) {
    const types = new Set(receiver.of(id).map(({ body }) => body.type))
    const written = await rig.db.many<{ type: string }>(
      sql`select type from events where request_id = ${id}`,
    )
    expect(types).toEqual(new Set(written.map(({ type }) => type)))
    // Not `sent`: the worker may have died before it wrote down what the provider answered.
    expect([...types]).toEqual(expect.arrayContaining(['created', 'verified']))
    for (const type of types) {
      const webhookIds = receiver.of(id, type).map(({ headers }) => headers['webhook-id'])
      expect(new Set(webhookIds).size).toBe(1)
    }
  }
  expect(rig.crashes).toEqual([])
}, 150_000)

test('while Temporal is down a failed event is called again by the loop', async () => {
  const phone = freshPhone()
  const id = await client.sent(phone)
  const code = await codeFor(phone)
  await everythingReceived(20_000)
  let refusals = 0
  receiver.answer(({ body }) =>
    body.type === 'verified' && ++refusals === 1 ? { status: 503 } : {},
  )
  rig.temporal.keepAlive = false
  rig.temporal.kill()
  await rig.temporal.ready()
  await client.verify({ request_id: id, code })
  await until(async () => receiver.of(id, 'verified').length === 2, { within: 60_000 })
  await everythingReceived(5_000)
  const tries = await rig.db.many(sql`select t.http_status as status from event_tries t
    join event_deliveries d on d.id = t.delivery_id join events v on v.id = d.event_id
    where v.request_id = ${id} and v.type = 'verified' order by t.number`)
  expect(tries).toEqual([{ status: 503 }, { status: 200 }])
  rig.temporal.keepAlive = true
  await rig.temporal.start()
  expect(rig.crashes).toEqual([])
}, 150_000)

test('a worker that was told to end calls nobody anew while a retry of it is under way', async () => {
  // Events have connections of their own, so that receivers keep no code from being sent.
  const ofEvents = sql`select from pg_stat_activity where application_name = 'otpilot worker events'`
  expect(await rig.db.one(ofEvents)).toBeDefined()
  let calls = 0
  receiver.answer(({ body }) => {
    if (body.type === 'created') calls++
    if (body.type !== 'created' || calls > 2) return {}
    return calls === 1 ? { status: 503 } : { after: 6_000 }
  })
  const slowId = await client.sent(freshPhone())
  await until(async () => receiver.of(slowId, 'created').length === 2)
  const since = Date.now()
  const ended = rig.worker.stop()
  // It takes the signal in this time; the call that it waits for lasts far longer.
  await pause(1_500)
  const id = await client.sent(freshPhone())
  await ended
  expect(Date.now() - since).toBeGreaterThan(2_000)
  expect(receiver.of(id)).toEqual([])
  rig.worker.keepAlive = true
  await rig.worker.start()
  await until(async () => receiver.of(id, 'created').length === 1)
  expect(rig.crashes).toEqual([])
}, 90_000)
