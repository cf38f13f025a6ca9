import { sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { alreadySendingSeconds } from '../../core/limits'
import type { Plan, Step } from '../../core/plan'
import type { State } from '../../core/state'
import type { Channel } from '../../core/channel'
import type { Wake } from '../../core/wake'
import { type DialStrings, instructionOf, reopenWindow } from '../attempts/ussd'
import { auditFrom } from '../audit/entry'
import { openRecipient } from '../recipients/recipients'
import { channelInProgress } from './channel-in-progress'
import { closeOverdue, dueNow, setState } from './ending'
import type { Database, Queries } from '../index'
import { takeSend } from './send-limits'
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
  | { outcome: 'ended'; state: State }
  | { outcome: 'rate_limited'; retryAfterSeconds: number }

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

/** Leaves the channel in progress for the plan's next one; a second wish before the move is the same wish. */
export async function askNext(
  db: Queries,
  { requestId, actor, ...owner }: Command,
): Promise<CommandOutcome> {
  const row = await db.one<{
    step: number
    dueAt: Date
    channel: Channel
    instruction: string | null
  }>(sql`
    with asked as (
      update otp_requests set leave_step = current_step, audit_seq = audit_seq + 1,
        signal_due_at = ${dueNow}
      where id = ${requestId} and ${ownedBy(owner)} and state = 'pending' and expires_at > now()
        and current_step < jsonb_array_length(plan) - 1 and leave_step < current_step
      returning id, app_id, audit_seq, leave_step, signal_due_at, plan
    ), logged as (${auditFrom(sql`asked`, {
      type: 'next_requested',
      actor,
      detail: sql`jsonb_build_object('leaves', plan -> leave_step::int ->> 'channel')`,
    })}), renewed as (
      -- Who asks for this channel may look again.
      update ussd_windows w set views = 0 from asked
      where w.request_id = asked.id and plan -> (leave_step + 1) ->> 'channel' = 'ussd'
    )
    select leave_step as step, signal_due_at as "dueAt", plan -> (leave_step + 1) ->> 'channel' as channel,
      (select ${instructionOf} from otp_requests r where r.id = asked.id) as instruction
    from asked`)
  if (!row) return alreadyLeaving(db, owner, requestId)
  return {
    outcome: 'done',
    channel: row.channel,
    ...(row.channel === 'ussd' && { instruction: row.instruction ?? undefined }),
    wake: { requestId, dueAt: row.dueAt, signal: 'next', step: row.step },
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
 * A channel claimed less than 10 s ago is not sent again.
 */
export async function askResend(db: Database, wish: ResendWish): Promise<CommandOutcome> {
  try {
    return await db.transaction((tx) => resend(tx, wish))
  } catch (error) {
    if (error instanceof Refused) return error.outcome
    throw error
  }
}

interface ResendWish extends Command {
  /** Of the channel that the caller named. */
  step?: Step | undefined
  /** Where codes can be dialled for; nowhere when absent. */
  dialling?: { keyring: Keyring; dialStrings: DialStrings }
}

interface Resendable {
  plan: Plan
  channel: Channel
  sends: number
  everClaimed: boolean
}

async function resend(
  tx: Queries,
  { requestId, actor, step, dialling, ...owner }: ResendWish,
): Promise<CommandOutcome> {
  // The recipient's window first, as in a send: the two never wait for each other crosswise.
  const found = await tx.one<{
    recipientId: string
  }>(sql`select recipient_id as "recipientId" from otp_requests
    where id = ${requestId} and ${ownedBy(owner)} and state = 'pending' and expires_at > now()`)
  if (!found) return whyNot(tx, owner, requestId)
  const slot = await takeSend(tx, found.recipientId, owner.environment)
  if ('retryAfterSeconds' in slot) throw new Refused({ outcome: 'rate_limited', ...slot })
  const locked = await tx.one(sql`select id from otp_requests
    where id = ${requestId} and state = 'pending' and expires_at > now() for update`)
  if (!locked) throw new Refused(await whyNot(tx, owner, requestId))
  // A statement of its own, so that it sees a claim that the lock waited for.
  const live = await tx.one<Resendable>(sql`
    select plan, sends, ${channelInProgress} as channel,
      exists (select from attempts a where a.request_id = r.id and a.send_no > 0) as "everClaimed"
    from otp_requests r where id = ${requestId}`)
  if (!live) throw new Error('A locked request vanished.')
  const target = step?.channel ?? live.channel
  const chosen = live.plan.find(({ channel }) => channel === target) ?? step
  const busy =
    await tx.one(sql`select from attempts where request_id = ${requestId} and channel = ${target}
    and claimed_at > now() - make_interval(secs => ${alreadySendingSeconds})`)
  if (busy || !live.everClaimed || !chosen) {
    throw new Refused({ outcome: 'already_sending', channel: target, sends: live.sends })
  }
  const row = await tx.one<{ seq: number; sends: number; dueAt: Date }>(sql`
    with asked as (
      update otp_requests set sends = sends + 1, resend_seq = resend_seq + 1,
        resend_step = ${JSON.stringify(chosen)}::jsonb, audit_seq = audit_seq + 1, signal_due_at = ${dueNow}
      where id = ${requestId} returning id, app_id, audit_seq, sends, resend_seq, signal_due_at
    ), logged as (${auditFrom(sql`asked`, { type: 'resend_requested', actor, detail: { channel: target } })})
    select resend_seq as seq, sends, signal_due_at as "dueAt" from asked`)
  if (!row) throw new Error('A locked request vanished.')
  const { recipientId } = found
  const again = { requestId, recipientId, plan: live.plan, step: chosen }
  const instruction =
    dialling && chosen.channel === 'ussd' ? await dialAgain(tx, dialling, again) : undefined
  return {
    outcome: 'done',
    channel: target,
    ...(instruction && { instruction }),
    sends: row.sends,
    wake: { requestId, dueAt: row.dueAt, signal: 'resend', seq: row.seq, step: chosen },
  }
}

async function dialAgain(
  tx: Queries,
  { keyring, dialStrings }: NonNullable<ResendWish['dialling']>,
  { recipientId, ...again }: { requestId: string; recipientId: string; plan: Plan; step: Step },
): Promise<string | undefined> {
  const phoneNumber = await openRecipient(tx, keyring, recipientId)
  if (phoneNumber === undefined) return undefined
  return reopenWindow(tx, keyring, { ...again, phoneNumber, dialStrings })
}

async function whyNot(db: Queries, owner: Owner, requestId: string): Promise<CommandOutcome> {
  const which = sql`id = ${requestId} and ${ownedBy(owner)}`
  await closeOverdue(db, which, 'api')
  const row = await db.one<{ state: State }>(sql`select state from otp_requests where ${which}`)
  if (!row) return { outcome: 'not_found' }
  return row.state === 'pending' ? { outcome: 'no_next' } : { outcome: 'ended', state: row.state }
}
