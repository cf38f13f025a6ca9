import type { State } from '../core/state'
import { findAcceptedMessages, settleOpenAttempts } from '../db/attempts/attempts'
import { clearSignals, expire } from '../db/requests/progress'
import type { ActivityDeps } from './deps'

/** A provider that is slow to take our word must not hold a run open, in milliseconds. */
const reportTimeoutMs = 1_000

/**
 * Ends the request if its time is over; once it is final, settles what is open and tells providers how it went.
 * @returns the state, and the milliseconds left while it is still pending
 */
export const conclude =
  (deps: ActivityDeps) =>
  async (requestId: string): Promise<{ state: State; lifeLeftMs: number }> => {
    const end = await expire(deps.db, requestId)
    if (end.state === 'pending') return end
    await settleOpenAttempts(deps.db, requestId)
    await clearSignals(deps.db, requestId)
    await reportOutcome(deps, requestId, end.state)
    return end
  }

/** Best effort: an outcome that does not arrive costs the user nothing. */
async function reportOutcome(
  { db, providers, log }: ActivityDeps,
  requestId: string,
  state: State,
) {
  const reporters = [...providers.values()].some(({ outcomes }) => outcomes)
  if (!reporters) return
  const outcome = state === 'verified' ? 'verified' : 'not_verified'
  const messages = await findAcceptedMessages(db, requestId)
  await Promise.all(
    messages.map(async ({ provider, providerMessageId }) => {
      const reporter = providers.get(provider)?.outcomes
      await reporter
        ?.reportOutcome(
          { requestId, providerMessageId, outcome },
          AbortSignal.timeout(reportTimeoutMs),
        )
        .catch(() => log.info({ requestId, provider }, 'outcome not reported'))
    }),
  )
}
