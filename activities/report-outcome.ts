import { blameOf } from '../core/delivery/breaker'
import type { State } from '../core/requests/state'
import type { Queries } from '../db'
import { findAcceptedMessages } from '../db/delivery/attempts'
import { markTold } from '../db/requests/outcomes'
import { ProviderFault } from '../providers/provider'
import type { ActivityDeps } from './deps'

/** A provider that is slow to take our word must not hold a run open, in milliseconds. */
const reportTimeoutMs = 1_000

/**
 * Tells the providers that carried a request's messages whether its code came back, and marks it once all of them
 * have taken it, or said that they will not. One that could not is told again by the sweeper, for ten minutes. Never
 * throws for a provider's sake.
 */
export async function reportOutcome(
  { db, providers, log }: Pick<ActivityDeps, 'providers' | 'log'> & { db: Queries },
  { requestId, state }: { requestId: string; state: State },
): Promise<void> {
  const outcome = state === 'verified' ? 'verified' : 'not_verified'
  const messages = await findAcceptedMessages(db, requestId)
  const told = await Promise.all(
    messages.map(async ({ provider, providerMessageId }) => {
      const reporter = providers.get(provider)?.outcomes
      if (!reporter) return true
      const signal = AbortSignal.timeout(reportTimeoutMs)
      return reporter.reportOutcome({ requestId, providerMessageId, outcome }, signal).then(
        () => true,
        (error: unknown) => {
          log.info({ requestId, provider }, 'outcome not reported')
          // A provider that will not have it is not asked twenty times more, for every request.
          return error instanceof ProviderFault && blameOf[error.fault] !== 'counts'
        },
      )
    }),
  )
  if (told.every(Boolean)) await markTold(db, requestId)
}
