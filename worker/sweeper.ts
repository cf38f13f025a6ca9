import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { reportOutcome } from '../activities/report-outcome'
import type { Engine } from '../temporal'
import type { Queries } from '../db'
import { deleteOutlived } from '../db/upkeep/cleanup'
import { type DueKind, dueKinds, findDueWork } from '../db/upkeep/due-work'
import { closeLeftOverdue } from '../db/requests/ending'
import { giveUpUnwanted } from '../db/events/tries'
import { restartLost } from '../db/events/log'
import { takeUntold } from '../db/requests/outcomes'
import { takeUnsignalled } from '../db/requests/signals'
import {
  failNotStarted,
  findStale,
  isWorthStarting,
  markStarted,
  takeUnstarted,
} from '../db/requests/starts'
import type { ProviderAccount } from '../providers/provider'

const everyMs = 2_000
/** Few rows are taken at a time, so that none grows old waiting for its turn; several times in one sweep. */
const batch = 20
const batchesPerSweep = 5
const atOnce = 10
/** Outcomes told at once: after an outage many are due together, and providers want them within a minute. */
const outcomeBatch = 100
/** Rows that one statement ends, or deletes of each table. */
const endBatch = 100
const deleteBatch = 1_000
/** Deliveries of events that one statement changes. */
const deliveryBatch = 500
const cleanUpEveryMs = 60_000

export interface SweeperDeps {
  db: Queries
  engine: Pick<Engine, 'start' | 'lookAgain' | 'healthy'>
  /** Told of outcomes that no run has told them of. */
  providers?: ReadonlyMap<string, ProviderAccount>
  /** Where this process stands; apps of another region are left to a process there. */
  region?: string | undefined
  log: Logger
}

interface Sweep extends SweeperDeps {
  stopping: AbortSignal
}

/** Mends what a crash left behind, in every worker process; rows are locked, so sweepers share the work. */
export function startSweeper(deps: SweeperDeps): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const sweep = { ...deps, stopping: stopping.signal }
  const running = sweepUntilStopped(sweep)
  return {
    stop: () => {
      stopping.abort()
      return running
    },
  }
}

type Part = (sweep: Sweep) => Promise<void>

/** Only kinds that the question about due work covers can have a part. */
const parts: Readonly<Record<DueKind, Part>> = {
  unstarted: startUnstarted,
  stale: failStale,
  unsignalled: signalAgain,
  overdue: endOverdue,
  untold: reportOutcomes,
  unwanted: giveUpDeliveries,
  lost: restartDeliveries,
}

async function sweepUntilStopped(sweep: Sweep): Promise<void> {
  const { stopping } = sweep
  let cleanUpAt = 0
  while (!stopping.aborted) {
    await sweepOnce(sweep)
    if (!stopping.aborted && performance.now() >= cleanUpAt) {
      await attempt(cleanUp, sweep)
      cleanUpAt = performance.now() + cleanUpEveryMs
    }
    await pause(everyMs, undefined, { signal: stopping }).catch(() => undefined)
  }
}

/** Does what is due, and asks again after each part: what became due while one worked need not wait for the next sweep. */
async function sweepOnce(sweep: Sweep): Promise<void> {
  let due = await dueIn(sweep)
  for (const kind of dueKinds) {
    if (sweep.stopping.aborted) return
    if (due && !due.has(kind)) continue
    await attempt(parts[kind], sweep)
    due &&= await dueIn(sweep)
  }
}

/** @returns undefined where that could not be found out: each part then asks by itself, as a failure must not keep it from its work */
const dueIn = ({ db, region, log }: Sweep): Promise<ReadonlySet<DueKind> | undefined> =>
  findDueWork(db, region).catch((error: unknown) => {
    log.warn({ err: error }, 'due work was not found: each part looks for its own')
    return undefined
  })

/** One part that fails must not keep the others from their work. */
const attempt = (part: Part, sweep: Sweep): Promise<void> =>
  part(sweep).catch((error: unknown) =>
    sweep.log.warn({ err: error, part: part.name }, 'a sweep failed: it is tried again'),
  )

async function startUnstarted(sweep: Sweep): Promise<void> {
  const { db, engine, log } = sweep
  await inBatches(sweep, (db, limit) => takeUnstarted(db, limit, sweep.region), {
    idOf: ({ input }) => input.requestId,
    async mend(request) {
      const { requestId } = request.input
      // A late code is worse than an error: what grew too old meanwhile is closed by the next part.
      if (!(await isWorthStarting(db, requestId))) return
      const { runId } = await engine.start(request)
      await markStarted(db, requestId, runId)
      log.info({ requestId }, 'the sweeper started a run')
    },
  })
}

async function failStale(sweep: Sweep): Promise<void> {
  const { db, log } = sweep
  await inBatches(sweep, findStale, {
    idOf: (requestId) => requestId,
    async mend(requestId) {
      if (await failNotStarted(db, requestId, 'sweeper'))
        log.warn({ requestId }, 'a request was never started')
    },
  })
}

async function signalAgain(sweep: Sweep): Promise<void> {
  await inBatches(sweep, takeUnsignalled, {
    idOf: ({ requestId }) => requestId,
    mend: (mark) => sweep.engine.lookAgain(mark),
  })
}

async function endOverdue({ db, log }: Sweep): Promise<void> {
  for (const { id, state } of await closeLeftOverdue(db, endBatch)) {
    log.info({ requestId: id, state }, 'the sweeper ended an overdue request')
  }
}

async function reportOutcomes({ db, providers, region, log }: Sweep): Promise<void> {
  if (!providers) return
  const untold = await takeUntold(db, outcomeBatch, region)
  await Promise.all(untold.map((ended) => reportOutcome({ db, providers, log }, ended)))
}

async function giveUpDeliveries(sweep: Sweep): Promise<void> {
  await changeDeliveries(sweep, giveUpUnwanted)
}

async function restartDeliveries(sweep: Sweep): Promise<void> {
  const deliveries = await changeDeliveries(sweep, restartLost)
  if (deliveries > 0) sweep.log.warn({ deliveries }, 'events whose runs were lost are sent anew')
}

async function changeDeliveries(
  { db, stopping }: Sweep,
  change: (db: Queries, limit: number) => Promise<number>,
): Promise<number> {
  let changed = 0
  for (let count = 0; count < batchesPerSweep && !stopping.aborted; count++) {
    const last = await change(db, deliveryBatch)
    changed += last
    if (last < deliveryBatch) break
  }
  return changed
}

async function cleanUp({ db, stopping }: Sweep): Promise<void> {
  let count: number
  do count = await deleteOutlived(db, deleteBatch)
  while (count >= deleteBatch && !stopping.aborted)
}

interface Mending<T> {
  idOf: (row: T) => string
  mend: (row: T) => Promise<void>
}

/** Takes and mends rows until few are left, the sweep has had its share of them, or Temporal is down. */
async function inBatches<T>(
  sweep: Sweep,
  take: (db: Queries, limit: number) => Promise<T[]>,
  mending: Mending<T>,
): Promise<void> {
  for (let count = 0; count < batchesPerSweep; count++) {
    const rows = await take(sweep.db, batch)
    if (!(await mendEach(sweep, rows, mending)) || rows.length < batch) return
  }
}

/**
 * Mends rows, some at a time. One that fails costs the others nothing, unless it failed because Temporal is down.
 * @returns false when it was given up
 */
async function mendEach<T>(
  { engine, log, stopping }: Sweep,
  rows: T[],
  { idOf, mend }: Mending<T>,
): Promise<boolean> {
  const queue = rows.values()
  let givenUp = false
  const mendNext = async () => {
    for (const row of queue) {
      if (givenUp || stopping.aborted) return
      try {
        await mend(row)
      } catch (error) {
        log.warn({ requestId: idOf(row), err: error }, 'not mended: it is tried again')
        givenUp ||= !(await engine.healthy())
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, mendNext))
  return !givenUp && !stopping.aborted
}
