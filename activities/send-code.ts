import { ApplicationFailure, Context, heartbeat } from '@temporalio/activity'
import { ApplicationFailureCategory } from '@temporalio/common'
import { deriveCode } from '../codes/code'
import { callbackToken } from '../codes/random-id'
import { callbackDigest, unseal } from '../codes/seal'
import { consequenceOf } from '../core/fault'
import { claimFreshMs } from '../core/limits'
import type { SendOrder, SendResult } from '../core/otp-request'
import { sendRetries } from '../core/plan'
import {
  type Claim,
  claimAttempt,
  findOwnAttempt,
  reclaimAttempt,
  recordAnswer,
} from '../db/attempts'
import { openAddress } from '../db/recipients'
import { openUssdWindow } from '../db/ussd'
import { type Message, ProviderFault, type Sent } from '../providers/provider'
import { currentRunId } from './execution'
import type { ActivityDeps } from './deps'
import { messageText } from './message-text'
import { isRetryable, settleOwn } from './settle-send'

/** Shorter than a quarter of the heartbeat time-out, so that only a dead worker is silent. */
const heartbeatEveryMs = 400
/** A retry that leaves a provider less time than this is not made. */
const minCallMs = 500

/**
 * Claims one provider call and makes it. Every call is claimed first; an execution that finds its own open claim
 * does not call again: the message may be out already.
 * @throws a retryable failure after a transient fault when nobody else can send and the budget has room for a retry.
 */
export const sendCode =
  (deps: ActivityDeps) =>
  async (order: SendOrder): Promise<SendResult> => {
    const own = await findOwnAttempt(deps.db, order)
    if (own && !isRetryable(own)) return settleOwn(deps, order, own)
    const account = deps.providers.get(order.provider)
    const token = callbackToken()
    const runId = currentRunId()
    const tryNo = (own?.tryNo ?? 0) + 1
    const claim = await claimAttempt(deps.db, {
      ...order,
      tryNo,
      runId,
      callbackDigest: callbackDigest(deps.keyring, token),
    })
    if (!claim) return { attempt: 0, ageMs: null, outcome: 'ended' }
    const claimed = { ...claim, tryNo, atMs: performance.now() }
    const attempt = { requestId: order.requestId, attemptId: claim.attemptId, runId }
    const beats = setInterval(heartbeat, heartbeatEveryMs)
    let handedOver = false
    try {
      if (!account)
        throw new ProviderFault('config', 'This provider account is not configured here.')
      const message = compose(deps, order, claim, token)
      if (order.channel === 'ussd') {
        await openUssdWindow(deps.db, deps.keyring, {
          attemptId: claim.attemptId,
          phoneNumber: message.to,
        })
      }
      const late = performance.now() - claimed.atMs > claimFreshMs
      if (late && !(await reclaimAttempt(deps.db, attempt)))
        return { attempt: claimed.number, ageMs: ageOf(claimed), outcome: 'ended' }
      const signal = AbortSignal.any([
        Context.current().cancellationSignal,
        AbortSignal.timeout(order.callTimeoutMs),
      ])
      handedOver = true
      const sent = await account.sender.send(message, signal)
      return await accept(deps, attempt, claimed, sent)
    } catch (error) {
      if (error instanceof ProviderFault) return await refuse(deps, attempt, order, claimed, error)
      if (handedOver) throw error
      // Nothing was sent, and the claim must say so, or the next execution would take it for a doubt.
      deps.log.error({ ...attempt, err: error }, 'a message could not be prepared')
      const fault = new ProviderFault('unavailable', 'The message could not be prepared.', {
        cause: error,
      })
      return await refuse(deps, attempt, order, claimed, fault)
    } finally {
      clearInterval(beats)
    }
  }

/** Builds the message, the only place where the code, the number and the text meet. */
function compose(
  { keyring, publicUrl }: ActivityDeps,
  order: SendOrder,
  claim: Claim,
  token: string,
): Message {
  const { requestId, channel, provider } = order
  const code = deriveCode(keyring, {
    requestId,
    generation: claim.codeGeneration,
    kid: claim.codeKid,
    salt: claim.salt,
    length: claim.codeLength,
  })
  const template =
    claim.messageCiphertext && claim.sealKid
      ? unseal(
          keyring,
          { ciphertext: claim.messageCiphertext, kid: claim.sealKid },
          `message|${requestId}`,
        )
      : undefined
  return {
    requestId,
    attemptId: claim.attemptId,
    channel,
    to: openAddress(keyring, claim),
    code,
    text: messageText(channel, { ...claim, template, code }),
    locale: claim.locale,
    brand: claim.brand,
    callbackUrl: `${publicUrl}/webhooks/${provider}/${token}`,
    validForSeconds: claim.lifeLeftSeconds,
  }
}

/** A claim and when this process got it, by its own monotonic clock. */
type Claimed = Claim & { tryNo: number; atMs: number }
const ageOf = ({ ageMs, atMs }: Claimed): number => ageMs + performance.now() - atMs

type AttemptRef = Parameters<typeof recordAnswer>[1]

async function accept(
  { db }: ActivityDeps,
  attempt: AttemptRef,
  claimed: Claimed,
  sent: Sent,
): Promise<SendResult> {
  await recordAnswer(db, attempt, { state: 'accepted', ...sent })
  return { attempt: claimed.number, ageMs: ageOf(claimed), outcome: 'accepted' }
}

async function refuse(
  { db }: ActivityDeps,
  attempt: AttemptRef,
  order: SendOrder,
  claimed: Claimed,
  { fault, retryAfterMs }: ProviderFault,
): Promise<SendResult> {
  if (fault === 'in_doubt') {
    await recordAnswer(db, attempt, { state: 'in_doubt' })
    return { attempt: claimed.number, ageMs: ageOf(claimed), outcome: 'in_doubt' }
  }
  await recordAnswer(db, attempt, { state: 'refused', fault })
  const { tryNo } = claimed
  const delayMs = retryAfterMs ?? sendRetries.initialIntervalMs * sendRetries.backoff ** (tryNo - 1)
  const fits =
    tryNo < sendRetries.maximumTries && ageOf(claimed) + delayMs + minCallMs < order.budgetMs
  if (order.lastResort && fits && consequenceOf[fault] === 'retry') {
    throw ApplicationFailure.create({
      type: fault,
      message: `${order.provider} did not take the message (${fault})`,
      category: ApplicationFailureCategory.BENIGN,
      nextRetryDelay: delayMs,
    })
  }
  return { attempt: claimed.number, ageMs: ageOf(claimed), outcome: 'refused', fault }
}
