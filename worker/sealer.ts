import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Keyring } from '../codes/keyring'
import type { Database } from '../db'
import { writeRoot } from '../db/audit/roots'
import { sealBatch, sealingLag } from '../db/audit/seal'

const everyMs = 3_000
const batch = 500
/** Rows that wait so long, in seconds, are told of. */
const lateSeconds = 60
const rootEverySeconds = 3_600
/** What so many seals bring, an hour need not pass for; nor does a root cover more. */
const sealsPerRoot = 100_000
/** A folder that cannot be written is told of this often, not with every round. */
const complainEveryMs = 60_000

export interface SealerDeps {
  db: Database
  keyring: Keyring
  /** Where the roots go: outside of Postgres, the same for every worker. */
  auditDir: string
  log: Logger
}

/**
 * Seals audit rows and writes the hourly roots, in every worker process; of all of them one at a time does it.
 * See docs/operations.md, "Audit".
 */
export function startSealer(deps: SealerDeps): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const running = sealUntilStopped(deps, stopping.signal)
  return {
    stop: () => {
      stopping.abort()
      return running
    },
  }
}

async function sealUntilStopped(deps: SealerDeps, stopping: AbortSignal): Promise<void> {
  const { log } = deps
  const parts = [
    patiently(() => sealAll(deps, stopping), 'rows were not sealed', log),
    patiently(() => writeRoots(deps, stopping), 'no root was written', log),
  ]
  while (!stopping.aborted) {
    for (const part of parts) await part()
    await pause(everyMs, undefined, { signal: stopping }).catch(() => undefined)
  }
}

/** What fails is tried again in the next round. */
function patiently(work: () => Promise<void>, what: string, log: Logger): () => Promise<void> {
  let complainAt = 0
  return () =>
    work().catch((error: unknown) => {
      if (performance.now() < complainAt) return
      complainAt = performance.now() + complainEveryMs
      log.warn({ err: error }, `${what}: it is tried again`)
    })
}

async function sealAll({ db, keyring }: SealerDeps, stopping: AbortSignal): Promise<void> {
  let after = '0'
  for (let taken = batch; taken === batch && !stopping.aborted;) {
    const done = await sealBatch(db, keyring, { after, limit: batch })
    if (!done) return
    ;({ taken, last: after } = done)
  }
  const lag = await sealingLag(db)
  if (lag > lateSeconds)
    throw new Error(`an audit row has waited ${Math.round(lag)} s for its seal`)
}

async function writeRoots(
  { db, keyring, auditDir: folder, log }: SealerDeps,
  stopping: AbortSignal,
): Promise<void> {
  while (!stopping.aborted) {
    const options = { folder, everySeconds: rootEverySeconds, most: sealsPerRoot }
    const root = await writeRoot(db, keyring, options)
    if (root === undefined) return
    log.info({ root }, 'a root of the audit was written')
  }
}
