import type { State } from '../core/requests/state'
import { settleOpenAttempts } from '../db/delivery/attempts'
import { closeRun } from '../db/requests/outcomes'
import { expire } from '../db/requests/progress'
import type { ActivityDeps } from './deps'
import { reportOutcome } from './report-outcome'

/**
 * Ends the request if its time is over; once it is final, settles what is open and tells providers how it went.
 * @returns the state, and the milliseconds left while it is still pending
 */
export const conclude =
  (deps: ActivityDeps) =>
  async (requestId: string): Promise<{ state: State; lifeLeftMs: number }> => {
    const { db, providers, region } = deps
    const end = await expire(db, requestId)
    if (end.state === 'pending') return end
    await settleOpenAttempts(db, requestId)
    const reports = [...providers.values()].some(({ outcomes }) => outcomes)
    if (await closeRun(db, requestId, { reports, region }))
      await reportOutcome(deps, { requestId, state: end.state })
    return end
  }
