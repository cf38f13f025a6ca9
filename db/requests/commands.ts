import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import type { RequestMoney } from '../../core/abuse/money'
import { reachesNobody } from '../../core/abuse/number'
import {
  modeFor,
  type ProtectionPolicy,
  protectionOf,
  usualDomainCap,
  usualMessageCap,
} from '../../core/abuse/protection'
import { alreadySendingSeconds } from '../../core/limits'
import type { Plan, Step } from '../../core/plan'
import { type State, states } from '../../core/state'
import { type Channel, channels } from '../../core/channel'
import type { Wake } from '../../core/wake'
import { type DialStrings, instructionOf, reopenWindow } from '../attempts/ussd'
import { noteRefusal } from '../abuse/decisions'
import { type Guarded, type GuardedSend, guardSend } from '../abuse/guard'
import { type Limited, takeLimits } from '../abuse/limits'
import { type Shortage, shortageOf } from '../abuse/spending'
import { auditFrom } from '../audit/entry'
import { isKnown } from '../recipients/known'
import { openRecipient } from '../recipients/recipients'
import { channelInProgress } from './channel-in-progress'
import { dueNow, endingOverdue, OverdueRow, setState } from './ending'
import type { Database, Queries } from '../index'
import { type Named, statement } from '../statement'
import { type Owner, ownedBy } from './owner'

interface Command extends Owner {
  requestId: string
  actor: string
}

/** `wake` is to be sent after the commit. */
export type CommandOutcome =
  | {
      outcome: 'done'
      channel?: Channel
      sends?: number
      /** What there is to dial, where that is the channel. */
      instruction?: string | undefined
      wake?: Wake
    }
  | { outcome: 'not_found' | 'no_next' }
  | { outcome: 'already_sending'; channel: Channel; sends: number }
  | ({ outcome: 'over_budget' } & Shortage)
  /** The fraud rules refuse it. */
  | ({ outcome: 'protected' } & Judged)
  | { outcome: 'ended'; state: State }
  | ({ outcome: 'rate_limited' } & Limited)

/** Stops a request: its code is gone, nothing more is claimed. */
export async function cancelRequest(
  db: Queries,
  { requestId, actor, ...owner }: Command,
): Promise<CommandOutcome> {
  const row = await db.one<{ dueAt: Date | null }>(sql`
    with ended as (
      update otp_requests set ${setState('cancelled', 'requested')}
      where id = ${requestId} and ${ownedBy(owner)} and state = 'pending' and expires_at > now()
      returning id, app_id, audit_seq, signal_due_at
    ), logged as (${auditFrom(sql`ended`, { type: 'cancelled', actor, detail: { reason: 'requested' } })})
    select signal_due_at as "dueAt" from ended`)
  if (!row) return whyNot(db, owner, requestId)
  return row.dueAt
    ? { outcome: 'done', wake: { requestId, dueAt: row.dueAt, signal: 'cancelled' } }
    : { outcome: 'done' }
}

/** There is a next channel, and nobody has asked for it yet. */
const canMove = sql`state = 'pending' and expires_at > now()
  and current_step < jsonb_array_length(plan) - 1 and leave_step < current_step`

const leaveStep = statement(
  'leave_step',
  z.strictObject({
    step: z.int(),
    dueAt: z.date().nullable(),
    channel: z.enum(channels),
    instruction: z.string().nullable(),
    next: z.custom<Step>(),
    money: z.custom<RequestMoney | null>(),
  }),
  (p: Named<Command>) => sql`
  with asked as (
    update otp_requests set leave_step = current_step, audit_seq = audit_seq + 1, signal_due_at = ${dueNow}
    where id = ${p.requestId} and app_id = ${p.appId} and environment = ${p.environment} and ${canMove}
    returning id, app_id, audit_seq, leave_step, signal_due_at, plan, money
  ), logged as (${auditFrom(sql`asked`, {
    type: 'next_requested',
    actor: p.actor,
    detail: sql`jsonb_build_object('leaves', plan -> leave_step::int ->> 'channel')`,
  })}), renewed as (
    -- Who asks for this channel may look again.
    update ussd_windows w set views = 0 from asked
    where w.request_id = asked.id and plan -> (leave_step + 1) ->> 'channel' = 'ussd'
  )
  select leave_step as step, signal_due_at as "dueAt", plan -> (leave_step + 1) ->> 'channel' as channel,
    (select ${instructionOf} from otp_requests r where r.id = asked.id) as instruction,
    plan -> (leave_step + 1) as next, money
  from asked`,
)

/**
 * Leaves the channel in progress for the plan's next one; a second wish before the move is the same wish. It is another
 * message, so it meets what a resend meets.
 */
export const askNext = (
  db: Database,
  keyring: Keyring,
  wish: MessageWish,
): Promise<CommandOutcome> => decided(db, (tx) => moveOn(tx, keyring, wish))

async function moveOn(tx: Queries, keyring: Keyring, wish: MessageWish): Promise<CommandOutcome> {
  const { requestId, actor, appId, environment } = wish
  const owner = { appId, environment }
  const movable = await tx.one<{ id: string }>(
    sql`select id from otp_requests where id = ${requestId} and ${ownedBy(owner)} and ${canMove}`,
  )
  const found = movable && (await takeLimitsOf(tx, keyring, wish))
  if (!found) return alreadyLeaving(tx, owner, requestId)
  const row = await tx.one(leaveStep({ requestId, actor, appId, environment }))
  if (!row) throw new Refused(await alreadyLeaving(tx, owner, requestId))
  await judgeResend(tx, keyring, wish, found)
  const shortage = await shortageOf(tx, { owner, money: row.money, plan: [row.next] })
  if (shortage) throw new Refused({ outcome: 'over_budget', ...shortage })
  return {
    outcome: 'done',
    channel: row.channel,
    ...(row.channel === 'ussd' && { instruction: row.instruction ?? undefined }),
    ...(row.dueAt && { wake: { requestId, dueAt: row.dueAt, signal: 'next', step: row.step } }),
  }
}

/** A wish that was heard before is done; it is neither written down nor signalled twice. */
async function alreadyLeaving(
  db: Queries,
  owner: Owner,
  requestId: string,
): Promise<CommandOutcome> {
  const row = await db.one<{ channel: Channel; instruction: string | null }>(sql`
    select plan -> (leave_step + 1) ->> 'channel' as channel, ${instructionOf} as instruction from otp_requests r
    where id = ${requestId} and ${ownedBy(owner)} and state = 'pending' and expires_at > now()
      and current_step < jsonb_array_length(plan) - 1 and leave_step >= current_step`)
  if (!row) return whyNot(db, owner, requestId)
  const { channel, instruction } = row
  return {
    outcome: 'done',
    channel,
    ...(channel === 'ussd' && { instruction: instruction ?? undefined }),
  }
}

/** Ends the transaction without keeping anything of it. */
class Refused extends Error {
  constructor(readonly outcome: CommandOutcome) {
    super('refused')
  }
}

/**
 * Sends the same code again, on the channel in progress or on that of `step`; counts against the recipient's limits.
 * A channel claimed less than 10 s ago is not sent again. The fraud rules look at it as at a send, or each message that
 * went out before a block could be repeated behind it.
 */
export const askResend = (
  db: Database,
  keyring: Keyring,
  wish: ResendWish,
): Promise<CommandOutcome> => decided(db, (tx) => resend(tx, keyring, wish))

/** Runs a command in a transaction, of which a refusal leaves nothing but its own row. */
async function decided(
  db: Database,
  decide: (tx: Queries) => Promise<CommandOutcome>,
): Promise<CommandOutcome> {
  try {
    return await db.transaction(decide)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    const { outcome } = error
    if (outcome.outcome === 'protected') await noteRefusal(db, outcome.send, outcome)
    return outcome
  }
}

/** A wish for one more message. */
interface MessageWish extends Command {
  /** Says the limits, and what the fraud rules do; the usual ones when absent. */
  policy?: ProtectionPolicy | undefined
  /** The fraud rules do not look at it: somebody tries the service on their own machine. */
  isTrusted?: boolean | undefined
}

interface ResendWish extends MessageWish {
  /** Of the channel that the caller named. */
  step?: Step | undefined
  /** Where codes can be dialled for; nowhere when absent. */
  dialStrings?: DialStrings | undefined
}

type Judged = { send: GuardedSend } & Guarded

interface Resendable {
  plan: Plan
  channel: Channel
  sends: number
  everClaimed: boolean
  money: RequestMoney | null
}

/** Whom a resend is to, as far as its limits and the fraud rules need it. */
interface Addressed {
  recipientId: string
  country: string | null
  isPhone: boolean
  plan: Plan
  secondsLeft: number
  number?: string | undefined
}

/**
 * Takes one send of the limits of a live request's recipient; their windows first, as in a send: the two never wait for
 * each other crosswise.
 * @returns undefined when there is no such request
 */
async function takeLimitsOf(
  tx: Queries,
  keyring: Keyring,
  { requestId, policy = {}, ...owner }: MessageWish,
): Promise<Addressed | undefined> {
  const found = await tx.one<Addressed>(sql`
    select recipient_id as "recipientId", country, plan,
      (select kind = 'phone' from recipients p where p.id = recipient_id) as "isPhone",
      extract(epoch from expires_at - now())::float8 as "secondsLeft"
    from otp_requests where id = ${requestId} and ${ownedBy(owner)} and state = 'pending' and expires_at > now()`)
  if (!found) return undefined
  const { recipientId, country, isPhone, plan } = found
  const { appId: app, environment } = owner
  const address = await openRecipient(tx, keyring, recipientId)
  const number = isPhone ? address : undefined
  const { recipient } = protectionOf(policy, { app, country }).limits
  const messages = policy.protection?.messageCap ?? usualMessageCap
  const domain = policy.protection?.domainCap ?? usualDomainCap
  const send = {
    app,
    environment,
    recipientId,
    number: reachesNobody(plan) ? undefined : number,
    email: isPhone ? undefined : address,
    limits: { recipient, messages, domain },
  }
  const slot = await takeLimits(tx, keyring, send)
  if ('limit' in slot) throw new Refused({ outcome: 'rate_limited', ...slot })
  return { ...found, number }
}

/** What the fraud rules say, by what is known of the request: nobody says whose address a resend comes from. */
async function judgeResend(
  tx: Queries,
  keyring: Keyring,
  { requestId, policy = {}, isTrusted = false, appId: app, environment }: MessageWish,
  { recipientId, country, number, plan, secondsLeft }: Addressed,
): Promise<void> {
  const settings = protectionOf(policy, { app, country })
  const send: GuardedSend = {
    ...{ app, environment, country, number, requestId, recipientId },
    lifetimeSeconds: secondsLeft,
    reachesNobody: reachesNobody(plan),
    mode: modeFor(settings, environment),
    rules: settings.rules,
    isTrusted,
    isKnown: await isKnown(tx, { recipientId, environment }),
    isSolved: false,
  }
  const judged = await guardSend(tx, keyring, send)
  if (judged.verdict !== 'allowed') throw new Refused({ outcome: 'protected', send, ...judged })
}

async function resend(tx: Queries, keyring: Keyring, wish: ResendWish): Promise<CommandOutcome> {
  const { requestId, actor, step, dialStrings, ...owner } = wish
  const found = await takeLimitsOf(tx, keyring, wish)
  if (!found) return whyNot(tx, owner, requestId)
  const { number } = found
  const live = await lockResendable(tx, requestId)
  if (!live) throw new Refused(await whyNot(tx, owner, requestId))
  const target = step?.channel ?? live.channel
  const chosen = live.plan.find(({ channel }) => channel === target) ?? step
  const isBusy = await isJustSending(tx, requestId, target)
  if (isBusy || !live.everClaimed || !chosen) {
    throw new Refused({ outcome: 'already_sending', channel: target, sends: live.sends })
  }
  await judgeResend(tx, keyring, wish, found)
  const shortage = await shortageOf(tx, { owner, money: live.money, plan: [chosen] })
  if (shortage) throw new Refused({ outcome: 'over_budget', ...shortage })
  const again = sql`, resend_seq = resend_seq + 1, resend_step = ${JSON.stringify(chosen)}::jsonb,
    signal_due_at = ${dueNow}`
  const row = await tx.one<{ seq: number; sends: number; dueAt: Date | null }>(sql`
    with asked as (
      update otp_requests set sends = sends + 1, audit_seq = audit_seq + 1 ${again}
      where id = ${requestId} returning id, app_id, audit_seq, sends, resend_seq, signal_due_at
    ), logged as (${auditFrom(sql`asked`, {
      type: 'resend_requested',
      actor,
      detail: { channel: target },
    })})
    select resend_seq as seq, sends, signal_due_at as "dueAt" from asked`)
  if (!row) throw new Error('A locked request vanished.')
  const place = { requestId, plan: live.plan, step: chosen }
  const instruction =
    dialStrings && number !== undefined && chosen.channel === 'ussd'
      ? await reopenWindow(tx, keyring, { ...place, phoneNumber: number, dialStrings })
      : undefined
  return {
    outcome: 'done',
    channel: target,
    ...(instruction && { instruction }),
    sends: row.sends,
    ...(row.dueAt && {
      wake: { requestId, dueAt: row.dueAt, signal: 'resend', seq: row.seq, step: chosen },
    }),
  }
}

/** @returns undefined when the request is over */
async function lockResendable(tx: Queries, requestId: string): Promise<Resendable | undefined> {
  const locked = await tx.one(sql`select id from otp_requests
    where id = ${requestId} and state = 'pending' and expires_at > now() for update`)
  if (!locked) return undefined
  // A statement of its own, so that it sees a claim that the lock waited for.
  return tx.one<Resendable>(sql`
    select plan, sends, ${channelInProgress} as channel, money,
      exists (select from attempts a where a.request_id = r.id and a.send_no > 0) as "everClaimed"
    from otp_requests r where id = ${requestId}`)
}

/** Whether a message went out by a channel in the last seconds. */
async function isJustSending(tx: Queries, requestId: string, channel: Channel): Promise<boolean> {
  const recently = sql`now() - make_interval(secs => ${alreadySendingSeconds})`
  const busy = await tx.one(sql`
    select from attempts where request_id = ${requestId} and channel = ${channel} and claimed_at > ${recently}`)
  return busy !== undefined
}

/** A request of whoever asks about it. */
type Own = Owner & { requestId: string }

const isOwn = (p: Named<Own>) => sql`id = ${p.requestId} and ${ownedBy(p)}`

const closeOwn = statement('close_own_overdue', OverdueRow, (p: Named<Own>) =>
  endingOverdue(isOwn(p), 'api'),
)

const stateOfOwn = statement(
  'find_own_state',
  z.strictObject({ state: z.enum(states) }),
  (p: Named<Own>) => sql`select state from otp_requests where ${isOwn(p)}`,
)

async function whyNot(db: Queries, owner: Owner, requestId: string): Promise<CommandOutcome> {
  const own = { ...owner, requestId }
  await db.many(closeOwn(own))
  const row = await db.one(stateOfOwn(own))
  if (!row) return { outcome: 'not_found' }
  return row.state === 'pending' ? { outcome: 'no_next' } : { outcome: 'ended', state: row.state }
}
