import { Context } from '@temporalio/activity'
import type { SendOrder, SendResult } from '../core/requests/otp-request'
import { findDoubt, type KnownDoubt } from '../db/delivery/attempts'
import { findAttemptByMessage } from '../db/delivery/receipts'
import { openRecipient } from '../db/recipients/recipients'
import { ProviderFault, type Reconciler, type Sent } from '../providers/provider'
import type { ActivityDeps } from './deps'
import { currentRunId } from './execution'
import { settleAnswer } from './settle-send'

/** What an earlier call of the step left behind: its result when the provider has it after all, else the doubt. */
export type DoubtOutcome = { settled: SendResult } | { doubt: KnownDoubt } | undefined

/**
 * Before a message goes out again because a call got no answer: asks that call's provider, where it can tell. What it
 * knows is as good as its answer, and nobody gets the code twice. So is an answer or a report that came meanwhile, or
 * what an execution that died since had found out.
 */
export async function settleDoubt(deps: ActivityDeps, order: SendOrder): Promise<DoubtOutcome> {
  // The first send of a step has nothing before it: no statement for the usual case.
  if (order.sendNo === order.firstSendNo) return undefined
  const doubt = await findDoubt(deps.db, { ...order, region: deps.region })
  if (!doubt) return undefined
  const { attemptId, number: attempt, provider, ageMs, state, confirmed } = doubt
  const settled: SendResult = { attempt, ageMs, provider, outcome: 'accepted' }
  if (state === 'accepted') return { settled }
  const reconciler = deps.providers.get(provider)?.reconciler
  const sent = confirmed
    ? { providerMessageId: null }
    : reconciler && (await ask(deps, order, doubt, reconciler))
  if (!sent) return { doubt }
  const ref = { requestId: order.requestId, attemptId, runId: currentRunId() }
  await settleAnswer(deps, ref, { provider, answer: { state: 'accepted', ...sent } })
  return { settled }
}

async function ask(
  { db, keyring, log }: ActivityDeps,
  { requestId, callTimeoutMs }: SendOrder,
  { attemptId, channel, claimedAt, provider, recipientId }: KnownDoubt,
  reconciler: Reconciler,
): Promise<Sent | undefined> {
  const to = await openRecipient(db, keyring, recipientId)
  if (to === undefined) return undefined
  const signal = AbortSignal.any([
    Context.current().cancellationSignal,
    // The other half is for sending it again.
    AbortSignal.timeout(Math.floor(callTimeoutMs / 2)),
  ])
  try {
    const sent = await reconciler.reconcile({ attemptId, channel, to, claimedAt }, signal)
    const message = sent && { provider, messageId: sent.providerMessageId }
    // Found by number and time, it may be what another app sent to the same person.
    const holder = message && (await findAttemptByMessage(db, message))
    return holder && holder.id !== attemptId ? undefined : sent
  } catch (error) {
    if (!(error instanceof ProviderFault)) throw error
    log.info({ requestId, attemptId, provider, fault: error.fault }, 'a doubt could not be cleared')
    return undefined
  }
}
