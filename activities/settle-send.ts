import type { SendResult } from '../core/requests/otp-request'
import { consequenceOf } from '../core/delivery/fault'
import {
  type AttemptAnswer,
  type ClaimKey,
  findOwnAttempt,
  type KnownAttempt,
  recordAnswer,
} from '../db/delivery/attempts'
import { recordAcceptance } from '../db/delivery/early-receipts'
import { currentRunId } from './execution'
import type { ActivityDeps } from './deps'

/**
 * Says what became of a send whose activity gave no result. A claim that was left open is in doubt: the provider
 * may have the message. An abandoned call may still be running and writes its own answer.
 */
export const settleSend =
  (deps: ActivityDeps) =>
  async ({ abandoned, ...key }: ClaimKey & { abandoned: boolean }): Promise<SendResult> => {
    const { own = null } = (await findOwnAttempt(deps.db, key)) ?? {}
    if (!own) return { attempt: 0, ageMs: null, outcome: 'refused', fault: 'unavailable' }
    if (own.state === 'open' && abandoned)
      return { attempt: own.number, ageMs: own.ageMs, outcome: 'in_doubt' }
    return settleOwn(deps, key, own)
  }

/** The result of a claim that this execution did not make itself. */
export async function settleOwn(
  { db }: Pick<ActivityDeps, 'db'>,
  { requestId }: ClaimKey,
  own: KnownAttempt,
): Promise<SendResult> {
  const { number: attempt, ageMs, state, confirmed } = own
  if (state === 'accepted') return { attempt, ageMs, outcome: 'accepted' }
  if (state === 'refused')
    return { attempt, ageMs, outcome: 'refused', fault: own.fault ?? 'unavailable' }
  // A receipt proves that the provider has the message, whatever became of its answer.
  if (state === 'open') {
    await recordAnswer(
      db,
      { requestId, attemptId: own.id, runId: currentRunId() },
      confirmed ? { state: 'accepted', providerMessageId: null } : { state: 'in_doubt' },
    )
  }
  return { attempt, ageMs, outcome: confirmed ? 'accepted' : 'in_doubt' }
}

/** Writes down how a provider call ended. Reports that were faster than the answer count from then on. */
export async function settleAnswer(
  { db, providers, wake }: ActivityDeps,
  ref: Parameters<typeof recordAnswer>[1],
  { provider, answer }: { provider: string; answer: AttemptAnswer },
): Promise<void> {
  if (answer.state !== 'accepted') return recordAnswer(db, ref, answer)
  const { receipts, poller } = providers.get(provider) ?? {}
  const accepted = { ...answer, poll: poller !== undefined }
  // Only an account whose receipts we read can have reported about a message by its own id.
  if (!receipts) return recordAnswer(db, ref, accepted)
  for (const news of await recordAcceptance(db, ref, { provider, answer: accepted }))
    void wake(news)
}

/** A refusal after which the same provider is worth another try. */
export const isRetryable = ({ state, fault }: KnownAttempt): boolean =>
  state === 'refused' && fault !== null && consequenceOf[fault] === 'retry'
