import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { isWorthStarting } from '../../db/requests/starts'
import { openUssdWindow } from '../../db/ussd/windows'
import { startSweeper, type SweeperDeps } from '../../worker/sweeper'
import { until } from '../harness/client'
import { outboxOf } from '../harness/outbox'
import { requestsOnly } from '../harness/requests'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

/** A Temporal that fares as the test wants, and what was asked of it. */
let temporal: { isDown: boolean; poison: string; tries: number; started: string[]; told: string[] }

const engine: SweeperDeps['engine'] = {
  async start({ input: { requestId } }) {
    temporal.tries++
    if (temporal.isDown || requestId === temporal.poison) throw new Error('not started')
    temporal.started.push(requestId)
    return { runId: `run of ${requestId}` }
  },
  async lookAgain({ requestId }) {
    if (requestId === temporal.poison) throw new Error('not told')
    temporal.told.push(requestId)
  },
  healthy: async () => !temporal.isDown,
}

beforeEach(async () => {
  temporal = { isDown: false, poison: '', tries: 0, started: [], told: [] }
  await requests.db.many(sql`update otp_requests set state = 'cancelled', reason = 'requested',
    signal_due_at = null where state = 'pending'`)
})

async function whileSweeping<T>(work: () => Promise<T>): Promise<T> {
  const log = pino({ level: 'silent' })
  const sweeper = startSweeper({ db: requests.db, engine, log })
  try {
    return await work()
  } finally {
    await sweeper.stop()
  }
}

/** Requests that nobody has started, as a crash leaves them, the first the oldest. */
async function unstarted(count: number, { ageSeconds = 5 } = {}): Promise<string[]> {
  const ids = []
  for (let turn = 0; turn < count; turn++) {
    const { requestId } = await requests.open()
    await requests.shiftTime(requestId, ageSeconds)
    await requests.db.many(sql`update otp_requests set workflow_started_at = null, run_id = null,
      signal_due_at = null where id = ${requestId}`)
    ids.push(requestId)
  }
  return ids
}

describe('what a crash left unstarted', () => {
  test('is started, all of it, though one row cannot be', async () => {
    const ids = await unstarted(25)
    const [poison = '', ...others] = ids
    temporal.poison = poison
    await whileSweeping(() => until(async () => temporal.started.length === others.length))
    expect(new Set(temporal.started)).toEqual(new Set(others))
  })

  test('is not tried row by row while Temporal is down', async () => {
    await unstarted(25)
    temporal.isDown = true
    await whileSweeping(() => until(async () => temporal.tries > 0))
    expect(temporal.tries).toBeLessThanOrEqual(10)
  })

  test('is not worth a start once it grew too old waiting for its turn, unless it is queued', async () => {
    const [id = ''] = await unstarted(1, { ageSeconds: 28 })
    expect(await isWorthStarting(requests.db, id)).toBe(true)
    await requests.shiftTime(id, 3)
    expect(await isWorthStarting(requests.db, id)).toBe(false)
    await requests.db.many(sql`update otp_requests set queued = true where id = ${id}`)
    expect(await isWorthStarting(requests.db, id)).toBe(true)
  })

  test('is closed instead when it is too old', async () => {
    const [id = ''] = await unstarted(1, { ageSeconds: 31 })
    await whileSweeping(() => until(async () => (await requests.stateOf(id))?.state === 'failed'))
    expect(await requests.stateOf(id)).toEqual({ state: 'failed', reason: 'not_started' })
    expect(temporal.started).toEqual([])
  })

  test('is left alone by a sweeper that is to stop', async () => {
    await unstarted(25)
    await startSweeper({ db: requests.db, engine, log: pino({ level: 'silent' }) }).stop()
    expect(temporal.tries).toBeLessThanOrEqual(10)
  })
})

test('a run that cannot be told keeps no other from its news', async () => {
  const { requestId: poison } = await requests.open()
  const { requestId: other } = await requests.open()
  temporal.poison = poison
  const earlier = sql`now() - interval '9 seconds'`
  await requests.db.many(
    sql`update otp_requests set signal_due_at = ${earlier} where id = ${poison}`,
  )
  await requests.db.many(
    sql`update otp_requests set signal_due_at = ${earlier} + interval '1 second' where id = ${other}`,
  )
  await whileSweeping(() => until(async () => temporal.told.includes(other)))
})

test('events for an endpoint that is called no more are given up, and those whose runs are gone sent anew', async () => {
  const outbox = outboxOf(requests)
  const disabled = await outbox.register()
  const wanted = await outbox.register({ types: ['created'] })
  await requests.open()
  await requests.db.many(sql`update event_deliveries set state = 'retrying',
    due_at = now() - interval '2 days' where endpoint_id = ${wanted.id}`)
  await requests.db.many(
    sql`update event_endpoints set disabled_at = now() where id = ${disabled.id}`,
  )
  const rows = () =>
    requests.db.many<{ state: string }>(
      sql`select endpoint_id as id, state, replays from event_deliveries`,
    )
  await whileSweeping(() =>
    until(async () => !(await rows()).some(({ state }) => state === 'retrying')),
  )
  expect(await rows()).toEqual(
    expect.arrayContaining([
      { id: disabled.id, state: 'failed', replays: 0 },
      { id: wanted.id, state: 'due', replays: 1 },
    ]),
  )
  await outbox.clear()
})

describe('what is short-lived', () => {
  const count = async (table: string) => {
    const row = await requests.db.one<{ count: number }>(
      sql`select count(*)::int from ${sql.identifier(table)}`,
    )
    return row?.count
  }

  test('goes when it has had its time, and not before', async () => {
    const { db, keyring } = requests
    await db.many(sql`delete from send_windows`)
    for (const key of ['young', 'old']) {
      const recipient = requests.freshNumber()
      const idempotency = { key, body: Buffer.from('{}') }
      const { requestId } = await requests.open({ recipient, idempotency })
      const claim = await requests.claim(requestId)
      if (!claim) throw new Error('not claimed')
      const { attemptId } = claim
      const serviceCode = '*920*1#'
      await openUssdWindow(db, keyring, { attemptId, phoneNumber: recipient.value, serviceCode })
      if (key === 'young') continue
      await db.many(sql`update ussd_windows set expires_at = now() - interval '1 second'
        where attempt_id = ${attemptId}`)
      await db.many(sql`update idempotency_keys set created_at = now() - interval '25 hours'
        where request_id = ${requestId}`)
      await db.many(sql`update send_windows set expires_at = now() - interval '1 second'
        where recipient_id = (select recipient_id from otp_requests where id = ${requestId})`)
    }
    const tables = ['ussd_windows', 'idempotency_keys', 'send_windows']
    const counts = () => Promise.all(tables.map(count))
    expect(await counts()).toEqual([2, 2, 2])
    await whileSweeping(() => until(async () => (await count('send_windows')) === 1))
    expect(await counts()).toEqual([1, 1, 1])
  })
})
