import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import { NativeConnection } from '@temporalio/worker'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { Webhook } from 'standardwebhooks'
import { startEvents } from '../../worker/events'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { temporalAddress } from '../harness/database'
import { type EventListeners, eventListenersOf } from '../harness/event-listeners'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let listeners: EventListeners

beforeAll(async () => {
  system = await startSystem({ eventDelaysMs: [100, 200, 300] })
  client = clientOf(system)
  listeners = eventListenersOf(system)
})
afterAll(() => system.stop())
afterEach(() => listeners.clear())

describe('an endpoint that does not take an event', () => {
  test('gets it again by a run in Temporal, under the same id, until it does', async () => {
    const receiver = await listeners.receiverOf()
    const { endpoint_id, secret } = await listeners.register(receiver.url, { types: ['created'] })
    let count = 0
    receiver.answer(() => ({ status: ++count < 3 ? 503 : 204, body: '' }))
    const id = await client.sent(freshPhone())
    const delivery = await until(async () => {
      const [found] = await listeners.deliveriesOf(endpoint_id, '?state=delivered')
      return found
    })
    expect(delivery).toMatchObject({ type: 'created', request_id: id, state: 'delivered' })
    expect(delivery.tries.map(({ number, http_status }) => [number, http_status])).toEqual([
      [1, 503],
      [2, 503],
      [3, 204],
    ])
    const calls = receiver.of(id)
    expect(new Set(calls.map(({ headers }) => headers['webhook-id']))).toEqual(
      new Set([delivery.event_id]),
    )
    expect(new Set(calls.map(({ raw }) => raw)).size).toBe(1)
    for (const { raw, headers } of calls)
      new Webhook(secret).verify(raw, headers as Record<string, string>)
    const connection = await Connection.connect({ address: temporalAddress() })
    const run = new Client({ connection }).workflow.getHandle(`event-${delivery.delivery_id}-0`)
    expect(await run.result()).toBe('delivered')
    // The pauses of this test are short; a run that is not heard of for 30 hours has been started anew.
    const { raw } = await run.describe()
    expect(Number(raw.executionConfig?.workflowExecutionTimeout?.seconds)).toBe(30 * 3_600)
    await connection.close()
    expect((await listeners.endpointOf(endpoint_id)).failing_since).toBeNull()
  })

  test('has failed it after the last try; a replay begins anew', async () => {
    const receiver = await listeners.receiverOf(() => ({
      status: 302,
      headers: { location: '/elsewhere' },
    }))
    const { endpoint_id } = await listeners.register(receiver.url, { types: ['created'] })
    const id = await client.sent(freshPhone())
    const [failed] = await until(async () => {
      const deliveries = await listeners.deliveriesOf(endpoint_id, '?state=failed')
      return deliveries.length === 1 && deliveries
    })
    expect(failed?.tries.map(({ http_status }) => http_status)).toEqual([302, 302, 302, 302])
    expect(receiver.received.map(({ path }) => path)).toEqual(['/', '/', '/', '/'])
    expect((await listeners.endpointOf(endpoint_id)).failing_since).not.toBeNull()

    let count = 0
    receiver.answer(() => ({ status: ++count < 2 ? 500 : 200 }))
    const since = new Date(Date.now() - 60_000).toISOString()
    const path = `/admin/event-endpoints/${endpoint_id}/deliveries/replay`
    expect((await listeners.operator.call('POST', path, { since })).body).toEqual({
      replayed: 1,
      more: false,
    })
    const [again] = await until(async () => {
      const deliveries = await listeners.deliveriesOf(endpoint_id, '?state=delivered')
      return deliveries.length === 1 && deliveries
    })
    expect(again).toMatchObject({ event_id: failed?.event_id, replays: 1 })
    expect(again?.tries).toHaveLength(6)
    expect(receiver.of(id)).toHaveLength(6)
  })

  test('with 410 is left alone until somebody enables it', async () => {
    const receiver = await listeners.receiverOf(() => ({ status: 410 }))
    const { endpoint_id } = await listeners.register(receiver.url, { types: ['created'] })
    await client.sent(freshPhone())
    await until(async () => (await listeners.endpointOf(endpoint_id)).disabled === 'gone')
    await client.sent(freshPhone())
    expect(
      (await listeners.operator.call('POST', `/admin/event-endpoints/${endpoint_id}/test`)).body,
    ).toMatchObject({ error_code: 'INVALID_ENDPOINT' })
    receiver.answer(() => ({}))
    await listeners.operator.call('PATCH', `/admin/event-endpoints/${endpoint_id}`, {
      disabled: false,
    })
    const since = new Date(Date.now() - 60_000).toISOString()
    await listeners.operator.call(
      'POST',
      `/admin/event-endpoints/${endpoint_id}/deliveries/replay`,
      {
        since,
      },
    )
    await until(
      async () => (await listeners.deliveriesOf(endpoint_id, '?state=delivered')).length === 2,
    )
    expect(receiver.received).toHaveLength(3)
  })

  test('that is slow keeps no other waiting', async () => {
    const heldForMs = 14_000
    const slow = await listeners.receiverOf(() => ({ after: heldForMs }))
    const quick = await listeners.receiverOf()
    await listeners.register(slow.url)
    await listeners.register(quick.url)
    const ids = await Promise.all(
      Array.from({ length: 15 }, () => client.sent(freshPhone(), { channels: ['sms'] })),
    )
    await Promise.all(ids.map((id) => listeners.told(quick, id, 'delivered')))
    expect(slow.mostOpen()).toBe(20)
    const lags = quick.received.map(({ at, body }) => at - Date.parse(String(body.timestamp)))
    expect(Math.max(...lags)).toBeLessThan(heldForMs / 2)
  })
})

describe('the secret', () => {
  test('that is replaced goes on signing beside the new one', async () => {
    const receiver = await listeners.receiverOf()
    const { endpoint_id, secret } = await listeners.register(receiver.url)
    const path = `/admin/event-endpoints/${endpoint_id}`
    const { body } = await listeners.operator.call<{ secret: string; previous_until: string }>(
      'POST',
      `${path}/rotate-secret`,
    )
    expect(body.secret).not.toBe(secret)
    expect(Date.parse(body.previous_until) - Date.now()).toBeGreaterThan(86_000_000)
    const receive = async () => {
      receiver.received.length = 0
      await listeners.operator.call('POST', `${path}/test`)
      const event = await until(async () => receiver.received[0])
      expect(event.body).toMatchObject({ type: 'test', request_id: null, phone_number: null })
      const opens = (by: string) => {
        try {
          new Webhook(by).verify(event.raw, event.headers as Record<string, string>)
          return true
        } catch {
          return false
        }
      }
      return { old: opens(secret), fresh: opens(body.secret) }
    }
    expect(await receive()).toEqual({ old: true, fresh: true })
    await system.db.many(
      sql`update event_endpoints set previous_secret_until = now() where id = ${endpoint_id}`,
    )
    expect(await receive()).toEqual({ old: false, fresh: true })
  })
})

test('two workers share the outbox: every event is called once', async () => {
  const connection = await NativeConnection.connect(system.temporal.connection)
  const second = await startEvents({
    ...system,
    ...system.temporal,
    connection,
    reach: { isProduction: false },
    log: pino({ level: 'silent' }),
  })
  const receiver = await listeners.receiverOf(() => ({ after: 50 }))
  await listeners.register(receiver.url)
  const ids = await Promise.all(
    Array.from({ length: 15 }, () => client.sent(freshPhone(), { channels: ['sms'] })),
  )
  await Promise.all(ids.map((id) => listeners.told(receiver, id, 'delivered')))
  await until(async () => receiver.received.length >= 45)
  const webhookIds = receiver.received.map(({ headers }) => headers['webhook-id'])
  expect(webhookIds).toHaveLength(45)
  expect(new Set(webhookIds).size).toBe(45)
  await second.stop()
  await connection.close()
})

test('an app whose endpoints are all slow keeps no other app waiting', async () => {
  for (let turn = 0; turn < 10; turn++) {
    const slow = await listeners.receiverOf(() => ({ after: 14_000 }))
    await listeners.register(slow.url)
  }
  const quick = await listeners.receiverOf()
  await listeners.register(quick.url, { app_id: 'other' })
  const send = (by: TestClient) => by.sent(freshPhone(), { channels: ['sms'] })
  await Promise.all(Array.from({ length: 25 }, () => send(client)))
  const other = clientOf(system, system.otherKey)
  const ids = await Promise.all(Array.from({ length: 5 }, () => send(other)))
  await Promise.all(ids.map((id) => listeners.told(quick, id, 'delivered')))
  const lags = quick.received.map(({ at, body }) => at - Date.parse(String(body.timestamp)))
  expect(Math.max(...lags)).toBeLessThan(7_000)
  const calls = await system.db.one<{
    n: number
  }>(sql`select count(*)::int as n from event_deliveries d
    join events v on v.id = d.event_id where v.app_id = 'app' and d.claimed_at is not null`)
  expect(calls?.n).toBe(60)
})

test('a worker that is told to end takes nothing more from the outbox', async () => {
  await system.stopWorker()
  const connection = await NativeConnection.connect(system.temporal.connection)
  const events = await startEvents({
    ...system,
    ...system.temporal,
    connection,
    reach: { isProduction: false },
    log: pino({ level: 'silent' }),
  })
  const receiver = await listeners.receiverOf()
  await listeners.register(receiver.url, { types: ['created'] })
  await client.sent(freshPhone())
  await until(async () => receiver.received.length === 1)
  await events.stopSending()
  await client.sent(freshPhone())
  // More than one look at the outbox.
  await pause(1_200)
  expect(receiver.received).toHaveLength(1)
  await events.stop()
  await connection.close()
  await system.startWorker()
  await until(async () => receiver.received.length === 2)
})
