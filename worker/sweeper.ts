import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import type { Logger } from 'pino'
import type { Engine } from '../engine'
import type { Queries } from '../db'
import { closeOverdue } from '../db/ending'
import { takeUnsignalled } from '../db/signals'
import { failNotStarted, findStale, markStarted, takeUnstarted } from '../db/starts'

const everyMs = 2_000
const batch = 100
/** The run itself ends a request in time; the sweeper only what no run ended. */
const graceSeconds = 2

export interface SweeperDeps {
  db: Queries
  engine: Pick<Engine, 'start' | 'lookAgain'>
  log: Logger
}

/** Mends what a crash left behind, in every worker process; rows are locked, so sweepers share the work. */
export function startSweeper(deps: SweeperDeps): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const running = (async () => {
    while (!stopping.signal.aborted) {
      // One part that fails (Temporal is down, say) must not keep the others from their work.
      for (const part of [startUnstarted, failStale, signalAgain, endOverdue]) {
        await part(deps).catch((error: unknown) =>
          deps.log.warn({ err: error, part: part.name }, 'a sweep failed: it is tried again'),
        )
      }
      await pause(everyMs, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  })()
  return {
    stop: () => {
      stopping.abort()
      return running
    },
  }
}

async function startUnstarted({ db, engine, log }: SweeperDeps): Promise<void> {
  for (const request of await takeUnstarted(db, batch)) {
    const { requestId } = request.input
    const { runId } = await engine.start(request)
    await markStarted(db, requestId, runId)
    log.info({ requestId }, 'the sweeper started a run')
  }
}

async function failStale({ db, log }: SweeperDeps): Promise<void> {
  for (const requestId of await findStale(db, batch)) {
    if (await failNotStarted(db, requestId, 'sweeper'))
      log.warn({ requestId }, 'a request was never started')
  }
}

async function signalAgain({ db, engine }: SweeperDeps): Promise<void> {
  for (const mark of await takeUnsignalled(db, batch)) await engine.lookAgain(mark)
}

async function endOverdue({ db, log }: SweeperDeps): Promise<void> {
  const overdue = sql`id in (select id from otp_requests where state = 'pending'
    and expires_at < now() - make_interval(secs => ${graceSeconds}) limit ${batch} for update skip locked)`
  for (const { id, state } of await closeOverdue(db, overdue, 'sweeper')) {
    log.info({ requestId: id, state }, 'the sweeper ended an overdue request')
  }
}
