import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import type { RequestMoney } from '../../core/spending/money'
import { type Channel, channels } from '../../core/channel'
import { alreadySendingSeconds } from '../../core/limits'
import type { Plan, Step } from '../../core/requests/plan'
import { isPlan } from '../../core/shape'
import { shortageOf } from '../spending/spending'
import { type DialStrings, instructionOf, reopenWindow } from '../ussd/windows'
import { auditFrom } from '../audit/entry'
import type { Database, Queries } from '../index'
import { IdRow, type Named, statement } from '../statement'
import { channelInProgress } from './channel-in-progress'
import {
  type Command,
  type CommandOutcome,
  decided,
  isOwn,
  type Own,
  Refused,
  whyNot,
} from './command-outcome'
import { dueNow, setState } from './ending'
import { judgeResend, type MessageWish, takeLimitsOf } from './extra-message'
import type { Owner } from './owner'

const cancelStatement = statement(
  'cancel_request',
  z.strictObject({ dueAt: z.date().nullable() }),
  (p: Named<Command>) => sql`
  with ended as (
    update otp_requests set ${setState('cancelled', 'requested')}
    where ${isOwn(p)} and state = 'pending' and expires_at > now()
    returning id, app_id, audit_seq, signal_due_at
  ), logged as (${auditFrom(sql`ended`, {
    type: 'cancelled',
    actor: p.actor,
    detail: { reason: 'requested' },
  })})
  select signal_due_at as "dueAt" from ended`,
)

/** Stops a request: its code is gone, nothing more is claimed. */
export async function cancelRequest(
  db: Queries,
  { requestId, actor, appId, environment }: Command,
): Promise<CommandOutcome> {
  const row = await db.one(cancelStatement({ requestId, actor, appId, environment }))
  if (!row) return whyNot(db, { appId, environment }, requestId)
  return row.dueAt
    ? { outcome: 'done', wake: { requestId, dueAt: row.dueAt, signal: 'cancelled' } }
    : { outcome: 'done' }
}

/**
 * There is a next channel that the run can still go on to. A plan also ends before its last step's first call, where no
 * account takes calls: then nobody would serve the wish.
 */
const hasNext = sql`state = 'pending' and expires_at > now()
  and current_step < jsonb_array_length(plan) - 1 and plan_ended_at is null`
/** And nobody has asked for it yet. */
const canMove = sql`${hasNext} and leave_step < current_step`

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
    where ${isOwn(p)} and ${canMove}
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

const movableStatement = statement(
  'find_movable',
  IdRow,
  (p: Named<Own>) => sql`select id from otp_requests where ${isOwn(p)} and ${canMove}`,
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
  const movable = await tx.one(movableStatement({ requestId, ...owner }))
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

const leavingStatement = statement(
  'find_leaving',
  z.strictObject({ channel: z.enum(channels), instruction: z.string().nullable() }),
  (p: Named<Own>) => sql`
  select plan -> (leave_step + 1) ->> 'channel' as channel, ${instructionOf} as instruction from otp_requests r
  where ${isOwn(p)} and ${hasNext} and leave_step >= current_step`,
)

/** A wish that was heard before is done; it is neither written down nor signalled twice. */
async function alreadyLeaving(
  db: Queries,
  owner: Owner,
  requestId: string,
): Promise<CommandOutcome> {
  const row = await db.one(leavingStatement({ requestId, ...owner }))
  if (!row) return whyNot(db, owner, requestId)
  const { channel, instruction } = row
  return {
    outcome: 'done',
    channel,
    ...(channel === 'ussd' && { instruction: instruction ?? undefined }),
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

interface ResendWish extends MessageWish {
  /** Of the channel that the caller named. */
  step?: Step | undefined
  /** Where codes can be dialled for; nowhere when absent. */
  dialStrings?: DialStrings | undefined
}

interface Asked {
  requestId: string
  actor: string
  channel: Channel
  /** As JSON. */
  step: string
}

const resendStatement = statement(
  'ask_resend',
  z.strictObject({ seq: z.int(), sends: z.int(), dueAt: z.date().nullable() }),
  (p: Named<Asked>) => sql`
  with asked as (
    update otp_requests set sends = sends + 1, audit_seq = audit_seq + 1, resend_seq = resend_seq + 1,
      resend_step = ${p.step}::jsonb, signal_due_at = ${dueNow}
    where id = ${p.requestId} returning id, app_id, audit_seq, sends, resend_seq, signal_due_at
  ), logged as (${auditFrom(sql`asked`, {
    type: 'resend_requested',
    actor: p.actor,
    detail: sql`jsonb_build_object('channel', ${p.channel}::text)`,
  })})
  select resend_seq as seq, sends, signal_due_at as "dueAt" from asked`,
)

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
  const row = await tx.one(
    resendStatement({ requestId, actor, channel: target, step: JSON.stringify(chosen) }),
  )
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

const lockStatement = statement(
  'lock_resendable',
  IdRow,
  (p: Named<{ requestId: string }>) => sql`
  select id from otp_requests where id = ${p.requestId} and state = 'pending' and expires_at > now() for update`,
)

const ResendableRow = z.strictObject({
  plan: z.custom<Plan>(isPlan),
  sends: z.int(),
  channel: z.enum(channels),
  money: z.custom<RequestMoney | null>(),
  everClaimed: z.boolean(),
})

const resendableStatement = statement(
  'find_resendable',
  ResendableRow,
  (p: Named<{ requestId: string }>) => sql`
  select plan, sends, ${channelInProgress} as channel, money,
    exists (select from attempts a where a.request_id = r.id and a.send_no > 0) as "everClaimed"
  from otp_requests r where id = ${p.requestId}`,
)

/** @returns undefined when the request is over */
async function lockResendable(
  tx: Queries,
  requestId: string,
): Promise<z.infer<typeof ResendableRow> | undefined> {
  const locked = await tx.one(lockStatement({ requestId }))
  // A statement of its own, so that it sees a claim that the lock waited for.
  return locked && tx.one(resendableStatement({ requestId }))
}

const sendingStatement = statement(
  'find_just_sending',
  IdRow,
  (p: Named<{ requestId: string; channel: Channel }>) => sql`
  select id from attempts where request_id = ${p.requestId} and channel = ${p.channel}
    and claimed_at > now() - make_interval(secs => ${alreadySendingSeconds}) limit 1`,
)

/** Whether a message went out by a channel in the last seconds. */
const isJustSending = async (tx: Queries, requestId: string, channel: Channel): Promise<boolean> =>
  (await tx.one(sendingStatement({ requestId, channel }))) !== undefined
