import { type SQL, sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { reachesNobody } from '../../core/abuse/number'
import type { Channel } from '../../core/channel'
import { alreadySendingSeconds } from '../../core/limits'
import type { Plan } from '../../core/plan'
import type { Wake } from '../../core/wake'
import { noteRefusal } from '../abuse/decisions'
import { type Guarded, type GuardedSend, guardSend } from '../abuse/guard'
import { type Limited, type LimitedSend, takeLimits } from '../abuse/limits'
import { type Shortage, shortageOf } from '../abuse/spending'
import { auditFrom } from '../audit/entry'
import { channelInProgress } from './channel-in-progress'
import { keepConsent, liftWithdrawal, type Withdrawal, withdrawalOf } from '../recipients/consent'
import { instructionOf, reopenWindow } from '../attempts/ussd'
import { closeOverdue, dueNow, setState } from './ending'
import { claimIdempotencyKey, moveIdempotencyKey } from './idempotency'
import { type Database, isLockConflict, type Queries } from '../index'
import { createRequest, type SendInput, type Startable, startable } from './new-request'
import { ownedBy } from './owner'
import { knownOf } from '../recipients/known'
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
      if (error instanceof Refused) return noted(db, error.decision)
      if (patience === 0 || !isLockConflict(error)) throw error
    }
  }
}

/** What a refusal by the rules leaves behind, now that the rest of it is rolled back. */
async function noted(db: Database, decision: SendDecision): Promise<SendDecision> {
  if (decision.outcome === 'protected') await noteRefusal(db, decision.send, decision)
  return decision
}

/** The send as the rules see it, for the request that it makes or repeats. */
const guardedSend = (
  { protection, recipient, ...input }: SendInput,
  { recipientId, isKnown, requestId }: { recipientId: string; isKnown: boolean; requestId: string },
): GuardedSend => ({
  ...protection,
  app: input.appId,
  environment: input.environment,
  country: input.country,
  number: recipient.kind === 'phone' ? recipient.value : undefined,
  requestId,
  recipientId,
  lifetimeSeconds: input.lifetimeSeconds,
  reachesNobody: reachesNobody(input.plan),
  // A stranger must not learn from a block who is known.
  isKnown: isKnown && !protection.isPublic,
})

/** The send as the limits see it: a solved challenge stands for the end user's address. */
const limitedSend = (
  { protection, recipient, appId, environment, plan }: SendInput,
  recipientId: string,
): LimitedSend => ({
  app: appId,
  environment,
  recipientId,
  number: recipient.kind === 'phone' && !reachesNobody(plan) ? recipient.value : undefined,
  email: recipient.kind === 'email' ? recipient.value : undefined,
  limits: { ...protection.limits, ...(protection.isSolved && { ip: undefined }) },
})

async function decide(tx: Queries, keyring: Keyring, input: SendInput): Promise<SendDecision> {
  const { requestId } = input
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
  const { at, pauseSeconds } = slot

  const same = sql`${ownedBy(input)} and recipient_id = ${recipientId} and purpose = ${input.purpose}`
  const found = await lockLive(tx, same, {
    withdrawal: withdrawalOf({ ...input, recipientId }),
    isKnown: knownOf({ ...input, recipientId, moment: sql`now()` }),
    target: input.explicitStep?.channel,
  })
  if (found.withdrawal === 'stands') throw new Refused({ outcome: 'opted_out' })
  if (found.withdrawal === 'lifted') await liftWithdrawal(tx, { ...input, recipientId })
  if (found.live?.overdue) await closeOverdue(tx, same, 'api')
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
  if (repeatable) {
    if (input.idempotency) await moveIdempotencyKey(tx, requestId, repeatable.requestId)
    const repeated = await repeat(tx, keyring, input, repeatable)
    await keepConsent(tx, repeatable.requestId, input)
    return Object.assign(repeated, { pauseSeconds })
  }
  const wakes = live ? await supersede(tx, live.requestId, input.keyId) : []
  const row = { requestId, recipientId, at }
  const created = await createRequest(tx, keyring, input, row)
  await keepConsent(tx, requestId, input)
  return { ...created, wakes, pauseSeconds }
}

/** Too little of its life is left for another message with its code. */
const isSpent = (live: LiveRow): boolean =>
  live.halfLifeGone && !live.recentlyClaimed && live.everClaimed

/**
 * The live request, locked, and what is known of its recipient. Its attempts are read by a second statement: a claim that the lock waited for is
 * committed by then, and the first one would not see it.
 */
async function lockLive(
  tx: Queries,
  same: SQL,
  { withdrawal, isKnown, target }: { withdrawal: SQL; isKnown: SQL; target: Channel | undefined },
): Promise<{ live?: LiveRow | undefined; withdrawal: Withdrawal | null; isKnown: boolean }> {
  const locked = await tx.one<{
    id: string | null
    withdrawal: Withdrawal | null
    isKnown: boolean
  }>(sql`
    select (select id from otp_requests where ${same} and state = 'pending' for update) as id,
      ${withdrawal} as withdrawal, ${isKnown} as "isKnown"`)
  if (!locked) throw new Error('A statement without a condition gave no row.')
  if (locked.id === null) return locked
  const live = await tx.one<LiveRow>(
    sql`select ${liveColumns(target)} from otp_requests r where id = ${locked.id}`,
  )
  return { ...locked, live }
}

interface LiveRow {
  requestId: string
  plan: Plan
  country: string | null
  expiresAt: Date
  queued: boolean
  started: boolean
  sends: number
  /** The channel in progress. */
  channel: Channel
  instruction: string | null
  /** Some message was begun; a dial before the first of them is none. */
  everClaimed: boolean
  /** Any channel, in the last seconds. */
  recentlyClaimed: boolean
  /** The channel that this send is for, in the last seconds. */
  targetClaimed: boolean
  halfLifeGone: boolean
  /** Its time is over, and nobody has closed it yet. */
  overdue: boolean
}

const recently = sql`claimed_at > now() - make_interval(secs => ${alreadySendingSeconds})`

const targetOf = (target: Channel | undefined): SQL =>
  sql`coalesce(${target ?? null}, ${channelInProgress})`

const liveColumns = (target: Channel | undefined): SQL => sql`
  r.id as "requestId", r.plan, r.country, r.expires_at as "expiresAt", r.queued, r.sends,
  r.workflow_started_at is not null as started,
  ${channelInProgress} as channel, ${instructionOf} as instruction,
  exists (select from attempts a where a.request_id = r.id and a.send_no > 0) as "everClaimed",
  exists (select from attempts a where a.request_id = r.id and ${recently}) as "recentlyClaimed",
  exists (select from attempts a where a.request_id = r.id and ${recently}
    and a.channel::text = ${targetOf(target)}) as "targetClaimed",
  r.expires_at - now() < (r.expires_at - r.created_at) / 2 as "halfLifeGone",
  r.expires_at <= now() as overdue`

/** A budget that was raised since is to let the same code through. */
const moneyIn = ({ money }: SendInput): string | null => (money ? JSON.stringify(money) : null)

async function repeat(
  tx: Queries,
  keyring: Keyring,
  input: SendInput,
  live: LiveRow,
): Promise<SendDecision> {
  const target = input.explicitStep?.channel ?? live.channel
  const step = live.plan.find(({ channel }) => channel === target) ?? input.explicitStep
  // Nothing claimed yet means the first message is still on its way out.
  const isDue = step !== undefined && live.everClaimed && !live.targetClaimed
  const row = await tx.one<{ sends: number; resendSeq: number; dueAt: Date }>(sql`
    with asked as (
      update otp_requests set sends = sends + 1, audit_seq = audit_seq + 1, money = coalesce(${moneyIn(input)}::jsonb, money)
        ${isDue ? sql`, resend_seq = resend_seq + 1, resend_step = ${JSON.stringify(step)}::jsonb, signal_due_at = ${dueNow}` : sql``}
      where id = ${live.requestId} returning id, app_id, audit_seq, sends, resend_seq, signal_due_at
    ), logged as (${auditFrom(sql`asked`, {
      type: isDue ? 'resend_requested' : 'repeated',
      actor: `key:${input.keyId}`,
      detail: { channel: target },
    })})
    select sends, resend_seq as "resendSeq", signal_due_at as "dueAt" from asked`)
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
      isDue && row
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
  const rows = await tx.many<{ dueAt: Date | null }>(sql`
    with ended as (
      update otp_requests set ${setState('cancelled', 'superseded')}
      where id = ${requestId} and state = 'pending' returning id, app_id, audit_seq, signal_due_at
    ), logged as (${auditFrom(sql`ended`, { type: 'cancelled', actor: `key:${keyId}`, detail: { reason: 'superseded' } })})
    select signal_due_at as "dueAt" from ended`)
  return rows.flatMap(({ dueAt }) =>
    dueAt ? [{ requestId, dueAt, signal: 'cancelled' as const }] : [],
  )
}

async function replayOf(
  tx: Queries,
  prior: { requestId: string; outcome: string },
): Promise<SendDecision> {
  const row = await tx.one<LiveRow & { appId: string; ended: boolean }>(sql`
    select ${liveColumns(undefined)}, app_id as "appId", state <> 'pending' as ended
    from otp_requests r where id = ${prior.requestId}`)
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
