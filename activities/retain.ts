import { Context, heartbeat } from '@temporalio/activity'
import type { Retained } from '../core/retention'
import { retire } from '../db/upkeep/retention'
import type { ActivityDeps } from './deps'

/**
 * Removes everything that has had its time, by this process's policy. Cut short, it goes on where it was at its next
 * try: what is gone is gone.
 * @returns how much of each part went
 */
export const retain =
  ({ db, retention }: ActivityDeps) =>
  async (): Promise<Partial<Record<Retained, number>>> => {
    const { cancellationSignal } = Context.current()
    const counts: Partial<Record<Retained, number>> = {}
    for await (const { part, count } of retire(db, retention)) {
      counts[part] = (counts[part] ?? 0) + count
      heartbeat(part)
      cancellationSignal.throwIfAborted()
    }
    return counts
  }
