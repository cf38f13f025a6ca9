import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { changeEndpoint } from '../db/event-endpoints'
import { markRetrying, recordTry, replayFailed, takeDue, takeForRetry } from '../db/events'
import { outboxOf } from './harness/outbox'
import { requestsOnly } from './harness/requests'

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
    const states = await requests.db.many(sql`select distinct state from event_deliveries`)
    expect(states).toEqual([{ state: 'failed' }])
    expect(await take()).toEqual([])
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

  test('an endpoint that failed for five days is called no more after a last try', async () => {
    const { id } = await outbox.register()
    const reasonAfter = async (days: number) => {
      await requests.open()
      const [taken] = await take()
      if (!taken) throw new Error('nothing taken')
      await requests.db.many(
        sql`update event_endpoints set failing_since = now() - make_interval(days => ${days}) where id = ${id}`,
      )
      await recordTry(requests.db, taken, failed, { last: true })
      return requests.db.one(
        sql`select disabled_reason as reason from event_endpoints where id = ${id}`,
      )
    }
    expect(await reasonAfter(4)).toEqual({ reason: null })
    expect(await reasonAfter(6)).toEqual({ reason: 'failing' })
    const logged = await requests.db.one(sql`select detail from audit_events
      where type::text = 'endpoint_changed' order by id desc limit 1`)
    expect(logged).toEqual({ detail: { endpoint_id: id, disabled: 'failing' } })
  })
})
