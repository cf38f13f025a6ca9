import type { Keyring } from '../../codes/keyring'
import { reachesNobody } from '../../core/protection/number'
import type { MessageGuard } from '../../core/protection/message-guard'
import type { Channel } from '../../core/channel'
import type { Wake } from '../../core/requests/wake'
import { noteRefusal } from '../protection/decisions'
import { type Guarded, type GuardedSend, guardSend } from '../protection/guard'
import { type Limited, takeLimits } from '../protection/limits'
import { messageGuard } from '../protection/message-window'
import { type Shortage, shortageOf } from '../spending/spending'
import { keepConsent, liftWithdrawal } from '../recipients/consent'
import { reopenWindow } from '../ussd/windows'
import { closeOverdue } from './ending'
import { claimIdempotencyKey, moveIdempotencyKey } from './idempotency'
import { type Database, isLockConflict, type Queries } from '../index'
import { isSharedLimit, joinLive } from './joined-page'
import {
  type LiveKey,
  type LiveRow,
  lockLive,
  readReplayed,
  repeatLive,
  supersedeLive,
} from './live'
import { createRequest, type SendInput, type Startable, startable } from './new-request'
import { holdOtherSpellings } from '../recipients/held-recipients'
import { addPage, movePages } from './pages'
import { guardedSend, limitedSend } from './weighed-send'
import { holdRecipient } from '../recipients/recipients'

export type SendDecision =
  | ({
      outcome: 'created' | 'repeated' | 'replayed'
      requestId: string
      channel: Channel
      expiresAt: Date
      /** Sends so far, this one included. */
      sends: number
      /** Its run is not known to have started: start it, which is harmless if it has. */
      needsStart: boolean
      /** Closed meanwhile: a replay of a request that is over. */
      ended: boolean
      resend?: 'sent' | 'already_sending'
      /** What the page that sent it has as the request's id. */
      pageId?: string | undefined
      /** It was refused by the recipient's limits alone, and nothing is sent for it. */
      isJoined?: boolean | undefined
      /** What can be dialled for the code, from now on until the request ends. */
      instruction: string | null
      /** To be sent after the commit. */
      wakes: Wake[]
      /** Until the next send to this recipient is taken, where sends are paced. */
      pauseSeconds?: number | undefined
    } & Startable)
  | ({ outcome: 'rate_limited' } & Limited)
  /** A budget of the app has no room for it. */
  | ({ outcome: 'over_budget' } & Shortage)
  | { outcome: 'idempotency_mismatch' }
  /** The fraud rules refuse it. */
  | ({ outcome: 'protected'; send: GuardedSend } & Guarded)
  /** The recipient withdrew their consent, and has not given it anew. */
  | { outcome: 'opted_out' }

/** Sends to one recipient, and equal ones of one key, queue behind a row; each wait for it is a second at most. */
const lockPatience = 2

/** Ends the transaction without keeping anything of it. */
class Refused extends Error {
  constructor(readonly decision: SendDecision) {
    super('refused')
  }
}

/**
 * Decides a send in one transaction: idempotency, limits, the live request, the row. Nothing is sent yet.
 * @throws {UnknownKey} or what Postgres throws; then nothing is kept.
 */
export async function openRequest(
  db: Database,
  keyring: Keyring,
  input: SendInput,
): Promise<SendDecision> {
  for (let patience = lockPatience; ; patience--) {
    try {
      return await db.transaction((tx) => decide(tx, keyring, input))
    } catch (error) {
      if (error instanceof Refused)
        return (await joinedAfter(db, keyring, input, error.decision)) ?? noted(db, error.decision)
      if (patience === 0 || !isLockConflict(error)) throw error
    }
  }
}

/** The page of a send that only the recipient's limits refused joins the live request, where there is one. */
async function joinedAfter(
  db: Database,
  keyring: Keyring,
  input: SendInput,
  refusal: SendDecision,
): Promise<SendDecision | undefined> {
  const { pageId: page } = input
  if (page === undefined || refusal.outcome !== 'rate_limited') return undefined
  if (!isSharedLimit(refusal.limit)) return undefined
  try {
    return await db.transaction((tx) => joinLive(tx, keyring, { input, page, refusal }))
  } catch (error) {
    if (!isLockConflict(error)) throw error
    return undefined
  }
}

/** What a refusal by the rules leaves behind, now that the rest of it is rolled back. */
async function noted(db: Database, decision: SendDecision): Promise<SendDecision> {
  if (decision.outcome === 'protected') await noteRefusal(db, decision.send, decision)
  return decision
}

async function decide(tx: Queries, keyring: Keyring, input: SendInput): Promise<SendDecision> {
  const { requestId, pageId } = input
  const others = await holdOtherSpellings(tx, keyring, { appId: input.appId, ...input.recipient })
  const { id: recipientId } = await holdRecipient(tx, keyring, {
    appId: input.appId,
    ...input.recipient,
  })
  if (input.idempotency) {
    const prior = await claimIdempotencyKey(tx, keyring, {
      appId: input.appId,
      environment: input.environment,
      requestId,
      ...input.idempotency,
    })
    // Nothing of it stays, the recipient's row neither.
    if (prior && !prior.sameBody) throw new Refused({ outcome: 'idempotency_mismatch' })
    if (prior) return replayOf(tx, prior)
  }
  const slot = await takeLimits(tx, keyring, limitedSend(input, recipientId))
  if ('limit' in slot) throw new Refused({ outcome: 'rate_limited', ...slot })
  if (input.protection.refused) throw new Refused(input.protection.refused)
  const { at, pauseSeconds } = slot

  const subscriber: LiveKey = { ...input, recipientIds: [recipientId, ...others] }
  const target = input.explicitStep?.channel
  const found = await lockLive(tx, subscriber, { asksKnown: true, target })
  if (found.withdrawal === 'stands') throw new Refused({ outcome: 'opted_out' })
  if (found.withdrawal === 'lifted') await liftWithdrawal(tx, subscriber)
  if (found.live?.overdue) await closeOverdue(tx, found.live.requestId, 'api')
  const live = found.live?.overdue ? undefined : found.live
  // A number that became a test number since, or ceased to be one, has another code now.
  const isSame = live && reachesNobody(live.plan) === reachesNobody(input.plan)
  const repeatable = isSame && !isSpent(live) ? live : undefined
  const { isKnown } = found
  const held = { recipientId, isKnown, requestId: repeatable?.requestId ?? requestId }
  const send = guardedSend(input, held)
  const judged = await guardSend(tx, keyring, send)
  if (judged.verdict !== 'allowed') throw new Refused({ outcome: 'protected', send, ...judged })
  const shortage = await shortageOf(tx, { owner: input, ...input })
  if (shortage) throw new Refused({ outcome: 'over_budget', ...shortage })
  const guard = messageGuard(keyring, { ...input, ...send, limits: input.protection.limits })
  if (repeatable) {
    if (input.idempotency) await moveIdempotencyKey(tx, requestId, repeatable.requestId)
    const repeated = await repeat(tx, keyring, input, { live: repeatable, guard })
    await keepConsent(tx, repeatable.requestId, input)
    if (pageId !== undefined) await addPage(tx, { id: pageId, requestId: repeatable.requestId })
    return Object.assign(repeated, { pauseSeconds, pageId })
  }
  const wakes = live ? await supersede(tx, live.requestId, input.keyId) : []
  const row = { requestId, recipientId, at, guard }
  const created = await createRequest(tx, keyring, input, row)
  await keepConsent(tx, requestId, input)
  if (pageId !== undefined) {
    if (isSame) await movePages(tx, { from: live.requestId, to: requestId })
    await addPage(tx, { id: pageId, requestId })
  }
  return { ...created, wakes, pauseSeconds, pageId }
}

/** Too little of its life is left for another message with its code. */
const isSpent = (live: LiveRow): boolean =>
  live.halfLifeGone && !live.recentlyClaimed && live.everClaimed

/** A budget that was raised since is to let the same code through. */
const moneyIn = ({ money }: SendInput): string | null => (money ? JSON.stringify(money) : null)

async function repeat(
  tx: Queries,
  keyring: Keyring,
  input: SendInput,
  { live, guard }: { live: LiveRow; guard: MessageGuard | null },
): Promise<SendDecision> {
  const target = input.explicitStep?.channel ?? live.channel
  const step = live.plan.find(({ channel }) => channel === target) ?? input.explicitStep
  // Nothing claimed yet means the first message is still on its way out.
  const isDue = step !== undefined && live.everClaimed && !live.targetClaimed
  const repetition = {
    ...{ requestId: live.requestId, actor: `key:${input.keyId}`, channel: target },
    ...{ money: moneyIn(input), guard: guard && JSON.stringify(guard) },
  }
  const row = await repeatLive(tx, repetition, isDue ? JSON.stringify(step) : undefined)
  const instruction =
    isDue && step.channel === 'ussd'
      ? await reopenWindow(tx, keyring, {
          requestId: live.requestId,
          plan: live.plan,
          step,
          phoneNumber: input.recipient.value,
          dialStrings: input.dialStrings ?? new Map(),
        })
      : undefined
  return {
    ...startable(input.appId, live),
    outcome: 'repeated',
    instruction: instruction ?? live.instruction,
    requestId: live.requestId,
    channel: target,
    expiresAt: live.expiresAt,
    sends: row?.sends ?? live.sends,
    needsStart: !live.started && !live.queued,
    ended: false,
    resend: isDue ? 'sent' : 'already_sending',
    wakes:
      isDue && row?.dueAt
        ? [
            {
              requestId: live.requestId,
              dueAt: row.dueAt,
              signal: 'resend',
              seq: row.resendSeq,
              step,
            },
          ]
        : [],
  }
}

async function supersede(tx: Queries, requestId: string, keyId: string): Promise<Wake[]> {
  const dueAt = await supersedeLive(tx, { requestId, actor: `key:${keyId}` })
  return dueAt ? [{ requestId, dueAt, signal: 'cancelled' }] : []
}

async function replayOf(
  tx: Queries,
  prior: { requestId: string; outcome: string },
): Promise<SendDecision> {
  const row = await readReplayed(tx, prior.requestId)
  if (!row) throw new Error('An idempotency key names a request that is not there.')
  return {
    ...startable(row.appId, row),
    outcome: 'replayed',
    requestId: row.requestId,
    channel: row.channel,
    instruction: row.instruction,
    expiresAt: row.expiresAt,
    sends: row.sends,
    needsStart: !row.started && !row.queued && !row.ended,
    ended: row.ended,
    wakes: [],
  }
}
