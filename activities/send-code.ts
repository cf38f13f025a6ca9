import { setTimeout as pause } from 'node:timers/promises'
import { ApplicationFailure, Context, heartbeat } from '@temporalio/activity'
import { ApplicationFailureCategory } from '@temporalio/common'
import { callbackToken } from '../codes/random-id'
import { callbackDigest } from '../codes/seal'
import { consequenceOf } from '../core/delivery/fault'
import { claimFreshMs } from '../core/limits'
import type { SendOrder, SendResult } from '../core/requests/otp-request'
import { sendRetries } from '../core/requests/plan'
import { type AttemptAnswer, findOwnAttempt, reclaimAttempt } from '../db/delivery/attempts'
import { type Claim, claimAttempt } from '../db/delivery/claim'
import { openAddress } from '../db/recipients/recipients'
import { codeIn, messageIn } from '../db/requests/code-row'
import { openUssdWindow } from '../db/ussd/windows'
import { dialStringOf } from '../providers/dial-strings'
import {
  type Message,
  type ProviderAccount,
  ProviderFault,
  type Sender,
  type Sent,
  StaleClaim,
} from '../providers/provider'
import { giveBackTurn, judged, OwnFault, passBreaker } from './breaker'
import { digestsOf, isDialledFor, notClaimed } from './claiming'
import { currentRunId } from './execution'
import type { ActivityDeps } from './deps'
import { messageText } from '../core/messages/text'
import { settleDoubt } from './doubts'
import { accountNamed, senderFor } from './sender-for'
import { recordReport } from './reported-at-once'
import { isRetryable, settleAnswer, settleOwn } from './settle-send'

/** Shorter than a quarter of the heartbeat time-out, so that only a dead worker is silent. */
const heartbeatEveryMs = 400
/** A retry that leaves a provider less time than this is not made. */
const minCallMs = 500
/** How long, and how often, an answer is tried to be written down. */
const recordPatienceMs = 5_000
const recordPauseMs = 200

/**
 * Claims one provider call and makes it. Every call is claimed first; an execution that finds its own open claim
 * does not call again: the message may be out already.
 * @throws a retryable failure after a transient fault when nobody else can send and the budget has room for a retry.
 */
export const sendCode =
  (deps: ActivityDeps) =>
  async (order: SendOrder): Promise<SendResult> => {
    const beats = setInterval(heartbeat, heartbeatEveryMs)
    try {
      const known = await findOwnAttempt(deps.db, order)
      const own = known?.own
      if (own && !isRetryable(own)) return await settleOwn(deps, order, own)
      const earlier = await settleDoubt(deps, order)
      if (earlier && 'settled' in earlier) return earlier.settled
      const repeats =
        earlier?.doubt.provider === order.provider ? earlier.doubt.attemptId : undefined
      const listDigests = known ? digestsOf(deps, known) : []
      return await claimAndSend(deps, order, { tryNo: (own?.tryNo ?? 0) + 1, repeats, listDigests })
    } finally {
      clearInterval(beats)
    }
  }

interface Trial {
  tryNo: number
  /** The attempt in doubt that it is made for, where that was the same provider's. */
  repeats: string | undefined
  listDigests: readonly Buffer[]
}

async function claimAndSend(
  deps: ActivityDeps,
  order: SendOrder,
  { tryNo, repeats, listDigests }: Trial,
): Promise<SendResult> {
  const state = await passBreaker(deps, order)
  if (!state) return { attempt: 0, ageMs: null, outcome: 'refused', fault: 'unavailable' }
  const token = callbackToken()
  const runId = currentRunId()
  const askedAtMs = performance.now()
  const account = accountNamed(deps, order.provider)
  const claim = await claimAttempt(deps.db, {
    ...order,
    ...{ tryNo, runId, listDigests, region: deps.region },
    callbackDigest: callbackDigest(deps.keyring, token),
    isTestAccount: account?.test ?? null,
    isMessage: account !== undefined && !account.test && !isDialledFor(order, account),
  })
  if (claim.verdict !== 'claimed') {
    await giveBackTurn(deps, { ...order, state })
    return notClaimed(deps, order, claim)
  }
  const claimed = { ...claim, tryNo, runId, askedAtMs, atMs: performance.now() }
  try {
    const prepared = await prepare(deps, order, { account, claim: claimed, token }).catch(
      async (error: unknown) => {
        await giveBackTurn(deps, { ...order, state })
        throw error
      },
    )
    prepared.message.repeats = repeats
    const sent = await judged(deps, { ...order, state }, () =>
      handOver(deps, order, claimed, prepared),
    )
    if (!sent) return { attempt: claimed.number, ageMs: ageOf(claimed), outcome: 'ended' }
    return await accept(deps, order, claimed, sent)
  } catch (error) {
    if (error instanceof ProviderFault) return await refuse(deps, order, claimed, error)
    throw error
  }
}

/** @throws {ProviderFault} always that: nothing was sent, and the claim must not be taken for a doubt. */
async function prepare(
  deps: ActivityDeps,
  order: SendOrder,
  {
    account,
    claim,
    token,
  }: { account: ProviderAccount | undefined; claim: Claimed; token: string },
): Promise<{ sender: Sender; message: Message }> {
  // Nor for a channel that the account lacks here: another process may have read another policy file.
  if (!account?.channels.includes(order.channel))
    throw new ProviderFault('config', 'This provider account is not configured here.')
  try {
    const message = compose(deps, order, claim, token)
    const serviceCode = order.channel === 'ussd' ? dialStringOf(account) : undefined
    if (serviceCode !== undefined) {
      const { attemptId, to: phoneNumber } = message
      await openUssdWindow(deps.db, deps.keyring, { attemptId, phoneNumber, serviceCode })
    }
    return { sender: await senderFor(deps, account, order, message), message }
  } catch (error) {
    if (error instanceof ProviderFault) throw error
    throw unprepared(deps, order, claim, error)
  }
}

function unprepared(
  { log }: ActivityDeps,
  { requestId }: SendOrder,
  { attemptId }: Claimed,
  cause: unknown,
): OwnFault {
  log.error({ requestId, attemptId, err: cause }, 'a message could not be prepared')
  return new OwnFault('unavailable', 'The message could not be prepared.', { cause })
}

/**
 * Calls the provider under a claim that is fresh when the first byte is written.
 * @returns undefined when the request has ended before that
 */
async function handOver(
  deps: ActivityDeps,
  order: SendOrder,
  claimed: Claimed,
  { sender, message }: { sender: Sender; message: Message },
): Promise<Sent | undefined> {
  const budgetLeftMs = Math.max(order.budgetMs - ageOf(claimed), minCallMs)
  const signal = AbortSignal.any([
    Context.current().cancellationSignal,
    AbortSignal.timeout(Math.floor(Math.min(order.callTimeoutMs, budgetLeftMs))),
  ])
  let { notAfter } = message
  for (;;) {
    if (performance.now() > notAfter) {
      notAfter = performance.now() + claimFreshMs
      const lives = await reclaimAttempt(deps.db, refOf(order, claimed)).catch((error: unknown) => {
        throw unprepared(deps, order, claimed, error)
      })
      if (!lives) return undefined
    }
    try {
      return await sender.send({ ...message, notAfter }, signal)
    } catch (error) {
      if (!(error instanceof StaleClaim)) throw error
    }
  }
}

/** Builds the message, the only place where the code, the number and the text meet. */
function compose(
  { keyring, publicUrl }: ActivityDeps,
  order: SendOrder,
  claim: Claimed,
  token: string,
): Message {
  const { requestId, channel, provider } = order
  const code = codeIn(keyring, requestId, claim)
  const message = messageIn(keyring, requestId, claim)
  return {
    requestId,
    attemptId: claim.attemptId,
    channel,
    to: openAddress(keyring, claim),
    code,
    ...messageText({
      ...{ ...claim, channel, message, code, template: claim.template ?? undefined },
      lifetimeSeconds: claim.lifeLeftSeconds,
    }),
    brand: claim.brand,
    callbackUrl: `${publicUrl}/webhooks/${provider}/${token}`,
    validForSeconds: claim.lifeLeftSeconds,
    notAfter: claim.askedAtMs + claimFreshMs,
  }
}

/** A claim, and when this process asked for it and got it, by its own monotonic clock. */
type Claimed = Claim & { tryNo: number; runId: string; askedAtMs: number; atMs: number }
const ageOf = ({ ageMs, atMs }: Claimed): number => ageMs + performance.now() - atMs
const refOf = ({ requestId }: SendOrder, { attemptId, runId }: Claimed) => ({
  requestId,
  attemptId,
  runId,
})

/** A provider's word that Postgres never hears becomes a doubt, and that a second message: a stumble is waited out. */
async function record(
  deps: ActivityDeps,
  order: SendOrder,
  claimed: Claimed,
  answer: AttemptAnswer,
): Promise<void> {
  const giveUpAt = performance.now() + recordPatienceMs
  for (;;) {
    try {
      return await settleAnswer(deps, refOf(order, claimed), { provider: order.provider, answer })
    } catch (error) {
      if (performance.now() + recordPauseMs > giveUpAt) throw error
      await pause(recordPauseMs)
    }
  }
}

async function accept(
  deps: ActivityDeps,
  order: SendOrder,
  claimed: Claimed,
  sent: Sent,
): Promise<SendResult> {
  const { report, ...answer } = sent
  await record(deps, order, claimed, { state: 'accepted', ...answer })
  const { provider } = order
  if (report) await recordReport(deps, { attemptId: claimed.attemptId, provider }, report)
  return { attempt: claimed.number, ageMs: ageOf(claimed), outcome: 'accepted' }
}

async function refuse(
  deps: ActivityDeps,
  order: SendOrder,
  claimed: Claimed,
  { fault, code, retryAfterMs = 0 }: ProviderFault,
): Promise<SendResult> {
  if (fault === 'in_doubt') {
    await record(deps, order, claimed, { state: 'in_doubt' })
    return { attempt: claimed.number, ageMs: ageOf(claimed), outcome: 'in_doubt' }
  }
  await record(deps, order, claimed, { state: 'refused', fault, code })
  const { tryNo } = claimed
  const backoffMs = sendRetries.initialIntervalMs * sendRetries.backoff ** (tryNo - 1)
  const delayMs = Math.max(backoffMs, retryAfterMs)
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
