import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { UnknownKey } from '../../codes/keyring'
import { busyPauseMs, retryDelaysMs, retryJitter, silentRunHours } from '../../core/events/event'
import { createApp } from '../../db/apps/apps'
import { auditAdmin } from '../../db/audit/entry'
import { changeEndpoint } from '../../db/events/endpoints'
import { takeDue, takeForRetry } from '../../db/events/taking'
import { giveUpUnwanted, markRetrying, putOff, recordTry } from '../../db/events/tries'
import { replayFailed, restartLost } from '../../db/events/log'
import { deliver } from '../../events/deliver'
import { createGuardedDispatcher } from '../../events/dispatcher'
import { outboxOf } from '../harness/outbox'
import { requestsOnly } from '../harness/requests'

let requests: Awaited<ReturnType<typeof requestsOnly>>
let outbox: ReturnType<typeof outboxOf>
beforeAll(async () => {
  requests = await requestsOnly()
  outbox = outboxOf(requests)
})
afterAll(() => requests.close())
beforeEach(() => outbox.clear())

describe('who takes what', () => {
  const take = (limit = 100) => takeDue(requests.db, { limit, claimSeconds: 30 })
  const failed = { received: false, gone: false, milliseconds: 5, httpStatus: 500 }
  const received = { received: true, gone: false, milliseconds: 5, httpStatus: 200 }
  const stateOf = async (id: string) =>
    (
      await requests.db.one<{ state: string }>(
        sql`select state from event_deliveries where id = ${id}`,
      )
    )?.state

  test('two senders never take the same delivery; one that died leaves it to others', async () => {
    await outbox.register()
    for (let turn = 0; turn < 15; turn++) await requests.open()
    const [one, two] = await Promise.all([take(8), take(8)])
    const ids = [...one, ...two].map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    const rest = await take()
    expect(ids.length + rest.length).toBe(15)
    await requests.db.many(
      sql`update event_deliveries set claimed_at = claimed_at - interval '31 seconds'`,
    )
    expect(await take()).toHaveLength(15)
  })

  test('an endpoint gets so many calls at a time, a failing one few, and the others all of theirs', async () => {
    const slow = await outbox.register({ types: ['created'] })
    for (let turn = 0; turn < 30; turn++) await requests.open()
    expect(await take()).toHaveLength(20)
    expect(await take()).toHaveLength(0)
    const quick = await outbox.register({ types: ['sent'] })
    await outbox.accepted()
    expect((await take()).map(({ endpointId }) => endpointId)).toEqual([quick.id])
    await requests.db.many(sql`update event_deliveries set claimed_at = null`)
    await requests.db.many(
      sql`update event_endpoints set failing_since = now() where id = ${slow.id}`,
    )
    expect(await take()).toHaveLength(3)
  })

  test('an app of another region is told by a process there', async () => {
    await outbox.register()
    await requests.open()
    await requests.db.many(sql`update apps set region = 'eu'`)
    const takeIn = (region: string | undefined) =>
      takeDue(requests.db, { limit: 10, claimSeconds: 30, region })
    expect(await takeIn(undefined)).toEqual([])
    expect(await takeIn('us')).toEqual([])
    const [taken] = await takeIn('eu')
    if (!taken) throw new Error('nothing taken')
    const retry = { id: taken.id, replays: 0, claimSeconds: 0 }
    expect(await takeForRetry(requests.db, { ...retry, region: 'us' })).toBe('busy')
    expect(await takeForRetry(requests.db, { ...retry, region: 'eu' })).toMatchObject({
      id: taken.id,
    })
    await requests.db.many(sql`update apps set region = null`)
  })

  test('a failed first call stays due until its run has it; the run’s last one fails it', async () => {
    await outbox.register()
    await requests.open()
    const [taken] = await take()
    if (!taken) throw new Error('nothing taken')
    const { id } = taken
    expect(await recordTry(requests.db, taken, failed, { last: false })).toBe('due')
    await requests.db.many(sql`update event_deliveries set due_at = now()`)
    expect(await take()).toHaveLength(1)
    await recordTry(requests.db, taken, failed, { last: false })
    await markRetrying(requests.db, taken)
    await requests.db.many(sql`update event_deliveries set due_at = now()`)
    expect(await take()).toHaveLength(0)
    const retry = { id, replays: 0, claimSeconds: 30 }
    expect(await takeForRetry(requests.db, retry)).toMatchObject({ id })
    expect(await takeForRetry(requests.db, retry)).toBe('busy')
    expect(await recordTry(requests.db, taken, failed, { last: true })).toBe('failed')
    expect(await takeForRetry(requests.db, retry)).toBe('failed')
    const tries = await requests.db.many(sql`select number, http_status as status from event_tries`)
    expect(tries).toEqual([1, 2, 3].map((number) => ({ number, status: 500 })))
  })

  test('a call that a replay overtook decides nothing; one that was received stays so', async () => {
    const { id: endpointId } = await outbox.register()
    await requests.open()
    const [taken] = await take()
    if (!taken) throw new Error('nothing taken')
    await recordTry(requests.db, taken, failed, { last: true })
    const place = { endpointId, since: new Date(0), limit: 10, appId: 'app', actor: 'test' }
    expect(await replayFailed(requests.db, place)).toBe(1)
    expect(await recordTry(requests.db, taken, received, { last: false })).toBeUndefined()
    expect(await stateOf(taken.id)).toBe('due')
    const [again] = await take()
    if (!again) throw new Error('nothing taken')
    expect(again.replays).toBe(1)
    await recordTry(requests.db, again, received, { last: false })
    expect(await recordTry(requests.db, again, failed, { last: true })).toBeUndefined()
    expect(await stateOf(taken.id)).toBe('delivered')
  })

  test('410 disables the endpoint and gives up the rest; what it misses can be replayed', async () => {
    const endpoint = await outbox.register()
    await requests.open()
    await requests.open()
    const [taken] = await take(1)
    if (!taken) throw new Error('nothing taken')
    const gone = { ...failed, gone: true, httpStatus: 410 }
    expect(await recordTry(requests.db, taken, gone, { last: false })).toBe('failed')
    await requests.open()
    expect(await take()).toEqual([])
    await giveUpUnwanted(requests.db, 100)
    const states = await requests.db.many(sql`select distinct state from event_deliveries`)
    expect(states).toEqual([{ state: 'failed' }])
    const place = {
      endpointId: endpoint.id,
      since: new Date(0),
      limit: 10,
      appId: 'app',
      actor: 'test',
    }
    expect(await replayFailed(requests.db, place)).toBe(0)
    const changed = await changeEndpoint(
      requests.db,
      { ...endpoint, actor: 'test' },
      { disabled: false },
    )
    expect(changed?.disabledReason).toBeNull()
    expect(await replayFailed(requests.db, place)).toBe(3)
    expect(await take()).toHaveLength(3)
  })

  test('an endpoint that failed for five days is called no more after its next failed try', async () => {
    const { id } = await outbox.register()
    const reasonAfter = async (days: number) => {
      await requests.open()
      const [taken] = await take()
      if (!taken) throw new Error('nothing taken')
      await requests.db.many(
        sql`update event_endpoints set failing_since = now() - make_interval(days => ${days}) where id = ${id}`,
      )
      const state = await recordTry(requests.db, taken, failed, { last: false })
      const row = await requests.db.one<{ reason: string | null }>(
        sql`select disabled_reason as reason from event_endpoints where id = ${id}`,
      )
      return { state, ...row }
    }
    expect(await reasonAfter(4)).toEqual({ state: 'due', reason: null })
    expect(await reasonAfter(6)).toEqual({ state: 'failed', reason: 'failing' })
    const logged = () =>
      requests.db.many(sql`select detail from audit_events
        where type::text = 'endpoint_changed' and detail->>'endpoint_id' = ${id}`)
    expect(await logged()).toEqual([{ detail: { endpoint_id: id, disabled: 'failing' } }])
  })

  test('calls that fail together disable their endpoint once', async () => {
    const { id } = await outbox.register()
    for (let turn = 0; turn < 4; turn++) await requests.open()
    const gone = { ...failed, gone: true, httpStatus: 410 }
    const taken = await take()
    const states = await Promise.all(
      taken.map((one) => recordTry(requests.db, one, gone, { last: false })),
    )
    expect(states).toEqual(['failed', 'failed', 'failed', 'failed'])
    const logged = await requests.db.many(sql`select from audit_events
      where type::text = 'endpoint_changed' and detail->>'endpoint_id' = ${id}`)
    expect(logged).toHaveLength(1)
  })

  test('however much waits for an endpoint, disabling it touches none of that', async () => {
    const endpoint = await outbox.register()
    for (let turn = 0; turn < 5; turn++) await requests.open()
    await requests.db.transaction(async (tx) => {
      await tx.many(sql`select from event_deliveries for update`)
      const change = { ...endpoint, actor: 'test' }
      await changeEndpoint(requests.db, change, { disabled: true })
    })
    expect(await take()).toEqual([])
    const [row] = await requests.db.many<{ id: string }>(sql`select id from event_deliveries`)
    const retry = { id: row?.id ?? '', replays: 0, claimSeconds: 30 }
    expect(await takeForRetry(requests.db, retry)).toBe('failed')
    expect(await stateOf(retry.id)).toBe('failed')
    await requests.db.many(sql`update event_deliveries set state = 'retrying' where id in (
      select id from event_deliveries where state = 'due' limit 1)`)
    expect(await giveUpUnwanted(requests.db, 2)).toBe(3)
    expect(await giveUpUnwanted(requests.db, 2)).toBe(1)
    expect(await giveUpUnwanted(requests.db, 2)).toBe(0)
  })

  test('what cannot be opened is looked at again later, and told of once', async () => {
    await outbox.register()
    await requests.open()
    const reach = { isProduction: false }
    const dispatcher = createGuardedDispatcher(reach)
    const deps = { ...requests, dispatcher, reach }
    const [taken] = await take()
    if (!taken) throw new Error('nothing taken')
    for (let turn = 0; turn < 3; turn++) {
      if (turn > 0) expect(await take()).toHaveLength(1)
      const call = deliver(deps, { ...taken, secretKid: 'of another file' }, { last: false })
      await expect(call).rejects.toThrow(UnknownKey)
      // Neither held nor due.
      const row = await requests.db
        .one(sql`select claimed_at as held, due_at > now() + interval '50 seconds' as later
        from event_deliveries where id = ${taken.id}`)
      expect(row).toEqual({ held: null, later: true })
      await requests.db.many(sql`update event_deliveries set due_at = now()`)
    }
    await recordTry(requests.db, taken, failed, { last: false })
    await putOff(requests.db, taken, 'not_opened')
    await dispatcher.destroy()
    const tries = await requests.db.many(sql`select number, fault, http_status as status
      from event_tries order by number`)
    expect(tries).toEqual([
      { number: 1, fault: 'not_opened', status: null },
      { number: 2, fault: null, status: 500 },
      { number: 3, fault: 'not_opened', status: null },
    ])
  })

  test('what a run that is gone left behind is sent anew; a run that waits is not gone', async () => {
    await outbox.register()
    for (let turn = 0; turn < 3; turn++) await requests.open()
    const taken = await take()
    for (const one of taken) {
      await recordTry(requests.db, one, failed, { last: false })
      await markRetrying(requests.db, one)
    }
    const [lost, waiting] = taken
    if (!lost || !waiting) throw new Error('nothing taken')
    expect(await restartLost(requests.db, 10)).toBe(0)
    await requests.db.many(sql`update event_deliveries set due_at = now() - interval '31 hours'
      where id in (${lost.id}, ${waiting.id})`)
    // It asks, and may not call from there.
    await requests.db.many(sql`update apps set region = 'eu'`)
    const retry = { id: waiting.id, replays: 0, claimSeconds: 30 }
    expect(await takeForRetry(requests.db, retry)).toBe('busy')
    await requests.db.many(sql`update apps set region = null`)
    expect(await restartLost(requests.db, 10)).toBe(1)
    expect((await take()).map(({ id, replays }) => [id, replays])).toEqual([[lost.id, 1]])
    expect(await takeForRetry(requests.db, { ...retry, id: lost.id })).toBe('failed')
    expect(await stateOf(lost.id)).toBe('due')
  })
})

describe('receivers that are slow', () => {
  const take = (limit: number) => takeDue(requests.db, { limit, claimSeconds: 30 })

  test('leave the next free call to whoever has the fewest, and other apps their share', async () => {
    await createApp(requests.db, { id: 'other', name: 'Other' })
    for (let turn = 0; turn < 10; turn++) await outbox.register({ types: ['created'] })
    for (let turn = 0; turn < 25; turn++) await requests.open()
    const held = await take(200)
    expect(held).toHaveLength(60)
    const other = await outbox.register({ appId: 'other', types: ['alert'] })
    const detail = { environment: 'staging' }
    await requests.db.many(auditAdmin({ appId: 'other', type: 'alert', actor: 'test', detail }))
    expect((await take(200)).map(({ endpointId }) => endpointId)).toEqual([other.id])

    const quick = await outbox.register({ types: ['sent'] })
    await outbox.accepted()
    expect(await take(200)).toEqual([])
    await requests.db.many(
      sql`update event_deliveries set claimed_at = null, state = 'delivered' where id = ${held[0]?.id}`,
    )
    expect((await take(200)).map(({ endpointId }) => endpointId)).toEqual([quick.id])
  })

  test('are passed by when a sender has few calls left, though their line is older', async () => {
    const slow = await outbox.register({ types: ['created'] })
    for (let turn = 0; turn < 10; turn++) await requests.open()
    expect(await take(5)).toHaveLength(5)
    const quick = await outbox.register({ types: ['sent'] })
    for (let turn = 0; turn < 5; turn++) await outbox.accepted()
    const next = (await take(5)).map(({ endpointId }) => endpointId)
    expect(next).toEqual(Array.from({ length: 5 }, () => quick.id))
    expect(new Set((await take(2)).map(({ endpointId }) => endpointId))).toEqual(new Set([slow.id]))
  })

  test('of one app hold only some of the retries', async () => {
    for (let turn = 0; turn < 3; turn++) await outbox.register({ types: ['created'] })
    for (let turn = 0; turn < 10; turn++) await requests.open()
    const rows = await requests.db.many<{ id: string }>(sql`select id from event_deliveries`)
    let taken = 0
    for (const { id } of rows) {
      const answer = await takeForRetry(requests.db, { id, replays: 0, claimSeconds: 30 })
      if (answer !== 'busy') taken++
    }
    expect([rows.length, taken]).toEqual([30, 20])
  })
})

test('a run that must wait asks ever more seldom; one is gone after more than the longest pause', () => {
  expect([1, 2, 3].map((attempt) => busyPauseMs(attempt, 0))).toEqual([5_000, 10_000, 20_000])
  expect(busyPauseMs(40, 0)).toBe(600_000)
  expect(busyPauseMs(40, 1)).toBe(900_000)
  expect(silentRunHours * 3_600_000).toBeGreaterThan(
    Math.max(...retryDelaysMs) * (1 + retryJitter) + 3_600_000,
  )
})
