import { Context, heartbeat } from '@temporalio/activity'
import { type Retired, retire } from '../db/upkeep/retention'
import type { ActivityDeps } from './deps'

/**
 * Removes everything that has had its time, by the policy of this moment. Cut short, it goes on where it was at its next
 * try: what is gone is gone.
 * @returns how much of each part went
 */
export const retain =
  (deps: ActivityDeps) => async (): Promise<Partial<Record<Retired['part'], number>>> => {
    const { cancellationSignal } = Context.current()
    const counts: Partial<Record<Retired['part'], number>> = {}
    for await (const { part, count } of retire(deps.db, deps.retention)) {
      counts[part] = (counts[part] ?? 0) + count
      heartbeat(part)
      cancellationSignal.throwIfAborted()
    }
    return counts
  }
