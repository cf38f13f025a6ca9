import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { createDatabase, type Queries } from '../../db'
import { type DueKind, dueKinds, findDueWork } from '../../db/upkeep/due-work'
import { startSweeper } from '../../worker/sweeper'
import { until } from '../harness/client'
import { outboxOf } from '../harness/outbox'
import { requestsOnly } from '../harness/requests'
import { noteSent } from '../harness/sent'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

beforeEach(async () => {
  await outboxOf(requests).clear()
  await requests.db.many(sql`update apps set region = null`)
  await requests.db.many(sql`update otp_requests set state = 'cancelled', reason = 'requested'
    where state = 'pending'`)
  await requests.db.many(sql`update otp_requests set signal_due_at = null, outcome_due_at = null,
    progress_due_at = null`)
})

const change = (id: string, columns: ReturnType<typeof sql>) =>
  requests.db.many(sql`update otp_requests set ${columns} where id = ${id}`)

/** A request without a run. */
async function unstarted(ageSeconds: number): Promise<void> {
  const { requestId } = await requests.openUnstarted()
  await requests.shiftTime(requestId, ageSeconds)
}

async function running(columns: ReturnType<typeof sql>): Promise<void> {
  const { requestId } = await requests.open()
  await change(requestId, columns)
}

/** An event on its way to an endpoint. */
async function delivery(): Promise<string> {
  const { id } = await outboxOf(requests).register({ types: ['created'] })
  await requests.open()
  return id
}

/** Makes one piece of work of each kind; a kind that has none here does not compile. */
const makeDue: Record<DueKind, () => Promise<unknown>> = {
  unstarted: () => unstarted(5),
  stale: () => unstarted(31),
  unsignalled: () => running(sql`signal_due_at = now() - interval '9 seconds'`),
  overdue: () => running(sql`expires_at = now() - interval '3 seconds'`),
  untold: () =>
    running(sql`state = 'cancelled', reason = 'requested', ended_at = now(), progress_due_at = null,
      outcome_due_at = now() - interval '1 second'`),
  unwanted: async () => {
    const endpoint = await delivery()
    await requests.db.many(
      sql`update event_endpoints set disabled_at = now() where id = ${endpoint}`,
    )
  },
  lost: async () => {
    const endpoint = await delivery()
    await requests.db.many(sql`update event_deliveries set state = 'retrying',
      due_at = now() - interval '2 days' where endpoint_id = ${endpoint}`)
  },
}

const due = async (region?: string) => [...(await findDueWork(requests.db, region))]

function sweeping(db: Queries = requests.db) {
  const engine = {
    start: async () => ({ runId: 'run' }),
    lookAgain: ({ requestId }: { requestId: string }) =>
      change(requestId, sql`signal_due_at = null`).then(() => undefined),
    healthy: async () => true,
  }
  const log = pino({ level: 'silent' })
  return startSweeper({ db, engine, providers: new Map(), log })
}

describe('due work', () => {
  test.each(dueKinds)('%s is found by the one question for all kinds, and done', async (kind) => {
    expect(await due()).toEqual([])
    await makeDue[kind]()
    expect(await due()).toEqual([kind])
    const sweeper = sweeping()
    try {
      await until(async () => (await due()).length === 0)
    } finally {
      await sweeper.stop()
    }
  })

  test('of all kinds at once is found at once', async () => {
    for (const kind of dueKinds) await makeDue[kind]()
    expect(await due()).toEqual(dueKinds)
  })

  test('is there where a run has shown nothing in time, too', async () => {
    await running(sql`progress_due_at = now() - interval '6 seconds'`)
    expect(await due()).toEqual(['unsignalled'])
  })

  test('of an app of another region is not for a process here', async () => {
    await makeDue.unstarted()
    await makeDue.untold()
    await requests.db.many(sql`update apps set region = 'eu'`)
    expect(await due()).toEqual([])
    expect(await due('gh')).toEqual([])
    expect(await due('eu')).toEqual(['unstarted', 'untold'])
  })
})

describe('a sweeper', () => {
  test('at rest asks one question in two seconds, and once a minute what has had its time', async () => {
    const db = createDatabase(requests.url)
    const sent = noteSent(db.pool)
    const sweeper = sweeping(db)
    const asked = () => sent.filter(({ name }) => name === 'find_due_work')
    try {
      await until(async () => asked().length === 4)
    } finally {
      await sweeper.stop()
      await db.close()
    }
    const others = sent.filter(({ name }) => name !== 'find_due_work')
    expect(others.map(({ name }) => name)).toEqual(['find_outlived'])
    // Three pauses; a timer is late at times and never early by more than its rounding.
    const [first, last] = [asked().at(0), asked().at(-1)]
    expect((last?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(5_000)
  })

  test('whose question fails does the work all the same', async () => {
    await makeDue.overdue()
    const failing: Queries = {
      ...requests.db,
      one: async (statement) => {
        if ('name' in statement && statement.name === 'find_due_work') throw new Error('no answer')
        return requests.db.one(statement)
      },
    }
    const sweeper = sweeping(failing)
    try {
      await until(async () => (await due()).length === 0)
    } finally {
      await sweeper.stop()
    }
  })
})
