import { type SQL, sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { callbackDigests } from '../../codes/seal'
import type { Channel } from '../../core/channel'
import {
  isFailure,
  type ReceiptStatus,
  rankOf,
  satisfies,
  type SuccessRule,
} from '../../core/receipt'
import type { Wake } from '../../core/wake'
import { auditFrom } from '../audit/entry'
import { dueNow } from '../requests/ending'
import { noteFault } from './breakers'
import type { Queries } from '../index'

/** The attempt a receipt is about. */
export interface ReportedAttempt {
  id: string
  requestId: string
  appId: string
  recipientId: string
  number: number
  step: number
  channel: Channel
  provider: string
  success: SuccessRule
  /** More news can come: it was not refused, and has not come to its end. */
  open: boolean
  claimedAt: Date
}

export interface NewReceipt {
  status: ReceiptStatus
  rawStatus: string
  /** Unique per provider account: a second one alike is a duplicate. */
  eventKey: string
  at?: Date | undefined
  cost?: { amount: string; currency: string } | undefined
  /** When it reached us, where that is longer ago. */
  receivedAt?: Date | undefined
  /** A conclusion of ours: of no effect on an attempt that is known to have failed. */
  inferred?: boolean | undefined
}

/** A message as its provider names it. */
export interface MessageRef {
  provider: string
  messageId: string
}

const columns = sql`a.id, a.request_id as "requestId", r.app_id as "appId", r.recipient_id as "recipientId",
  a.number, a.step, a.channel, a.provider, a.success, a.claimed_at as "claimedAt",
  a.state <> 'refused' and (a.status_rank < ${rankOf['failed.retryable']}
    -- A call that was put through still rings until it is answered.
    or (a.success = 'answered' and a.status_rank = ${rankOf.delivered})) as open`

/** The attempt whose callback URL holds this token. */
export function findAttemptByToken(
  db: Queries,
  keyring: Keyring,
  { provider, token }: { provider: string; token: string },
): Promise<ReportedAttempt | undefined> {
  return db.one(sql`select ${columns} from attempts a join otp_requests r on r.id = a.request_id
    where a.callback_digest in ${callbackDigests(keyring, token)} and a.provider = ${provider}`)
}

/** The attempt whose message has this id at its provider. */
export function findAttemptByMessage(
  db: Queries,
  { provider, messageId }: MessageRef,
): Promise<ReportedAttempt | undefined> {
  return db.one(sql`select ${columns} from attempts a join otp_requests r on r.id = a.request_id
    where a.provider = ${provider} and a.provider_message_id = ${messageId}
    order by a.claimed_at desc limit 1`)
}

/** The attempt of this id, if this provider was asked to make it. */
export function findAttemptById(
  db: Queries,
  { provider, attemptId }: { provider: string; attemptId: string },
): Promise<ReportedAttempt | undefined> {
  return db.one(sql`select ${columns} from attempts a join otp_requests r on r.id = a.request_id
    where a.id = ${attemptId} and a.provider = ${provider}`)
}

/** The attempts a generic receipt may mean: the one it names, or all of its request. */
export function findAttemptsForReceipt(
  db: Queries,
  { requestId, attemptId }: { requestId: string; attemptId?: string | undefined },
): Promise<ReportedAttempt[]> {
  const named = attemptId === undefined ? sql`` : sql`and a.id = ${attemptId}`
  return db.many(sql`select ${columns} from attempts a join otp_requests r on r.id = a.request_id
    where a.request_id = ${requestId} ${named} order by a.number`)
}

/** The event's key as its row keeps it: it mostly holds the provider's message id, which an erasure takes away. */
export const eventKeyIn = (erased: SQL, key: SQL): SQL =>
  sql`case when ${erased} then 'sha256:' || encode(sha256(convert_to(${key}, 'UTF8')), 'hex') else ${key} end`

export interface RecordedReceipt {
  duplicate: boolean
  /** It says that the account cannot send, which nobody knew. */
  breakerOpened?: boolean
  /** To be sent after the commit; absent when the run need not know. */
  wake?: Wake
}

/**
 * Records a receipt in one statement: once per event, the attempt's status only upwards, a late one kept apart.
 * Nothing it says reopens a request.
 */
export async function recordReceipt(
  db: Queries,
  { attempt, receipt, actor }: { attempt: ReportedAttempt; receipt: NewReceipt; actor: string },
): Promise<RecordedReceipt> {
  const { status } = receipt
  const good = satisfies(attempt.success, status)
  const delivered = rankOf[status] >= rankOf.delivered
  // Before the report itself: if this process dies in between, the provider reports again.
  if (receipt.cost) await notePrice(db, attempt, receipt.cost)
  // Below what its status would have to exceed, and without a trace in the request where it does not.
  const below = receipt.inferred ? rankOf['failed.retryable'] : rankOf[status]
  const counts = receipt.inferred ? sql`exists (select from moved)` : sql`true`
  // The run acts on success and failure; anything between is for the record.
  const decisive = good || isFailure(status)
  const row = await db.one<{ moved: boolean; dueAt: Date | null; pending: boolean }>(sql`
    with request as (
      select id, state, erased from otp_requests where id = ${attempt.requestId} for update
    ), noted as (
      insert into receipts (attempt_id, provider, event_key, status, raw_status, late, provider_at, received_at)
      select ${attempt.id}, ${attempt.provider}, ${eventKeyIn(sql`erased`, sql`${receipt.eventKey}::text`)},
        ${status}, ${receipt.rawStatus},
        state <> 'pending', ${receipt.at ?? null}, coalesce(${receipt.receivedAt ?? null}, now()) from request
      on conflict (provider, event_key) do nothing returning late
    ), moved as (
      update attempts set status = ${status}, status_rank = ${rankOf[status]}, status_at = clock_timestamp()
      from noted where attempts.id = ${attempt.id} and status_rank < ${below} returning attempts.id
    ), told as (
      update otp_requests r set audit_seq = audit_seq + 1,
        delivered_at = case when ${delivered} and not noted.late and ${counts} then coalesce(delivered_at, clock_timestamp()) else delivered_at end,
        succeeded_at = case when ${good} and not noted.late and ${counts} then coalesce(succeeded_at, clock_timestamp()) else succeeded_at end,
        signal_due_at = case when ${decisive} and not noted.late and exists (select from moved) then ${dueNow} else signal_due_at end
      from noted where r.id = ${attempt.requestId}
      returning r.id, r.app_id, r.audit_seq, r.signal_due_at, noted.late
    ), logged as (${auditFrom(sql`told`, {
      type: sql`(case when late then 'late_receipt' else 'receipt' end)::audit_type`,
      actor,
      attemptId: attempt.id,
      detail: {
        channel: attempt.channel,
        provider: attempt.provider,
        status,
        raw_status: receipt.rawStatus,
      },
    })})
    select exists (select from moved) as moved, not late as pending, signal_due_at as "dueAt" from told`)
  if (!row) return { duplicate: true }
  // The account cannot send: no other request should find that out for itself.
  const breakerOpened =
    status === 'failed.config' &&
    (await noteFault(db, { ...attempt, fault: 'config', begunAt: attempt.claimedAt }))
  const recorded = { duplicate: false, ...(breakerOpened && { breakerOpened }) }
  const { dueAt } = row
  if (!row.moved || !row.pending || !decisive || !dueAt) return recorded
  const { number, step, requestId } = attempt
  return {
    ...recorded,
    wake: { requestId, dueAt, signal: 'receipt', attempt: number, step, status },
  }
}

/** The last word on a price often comes with news that is no news otherwise, such as the end of an answered call. */
const notePrice = (
  db: Queries,
  { id, requestId }: ReportedAttempt,
  { amount, currency }: NonNullable<NewReceipt['cost']>,
) =>
  db.many(sql`
    -- The request first, as everywhere, so that two never wait for each other crosswise.
    with request as (select id from otp_requests where id = ${requestId} for update)
    update attempts a set cost_amount = ${amount}::numeric, cost_currency = ${currency}
    from request where a.id = ${id} and a.request_id = request.id`)

/** A callback for this attempt was not its provider's: written down once a minute at most. */
export async function noteRefusedCallback(
  db: Queries,
  { id, requestId, provider, channel }: ReportedAttempt,
): Promise<void> {
  await db.many(sql`
    with request as (
      select id from otp_requests where id = ${requestId} for update
    ), marked as (
      update attempts a set callback_refused_at = clock_timestamp() from request
      where a.id = ${id}
        and (callback_refused_at is null or callback_refused_at < clock_timestamp() - interval '1 minute')
      returning a.request_id
    ), noted as (
      update otp_requests r set audit_seq = audit_seq + 1 from marked where r.id = marked.request_id
      returning r.id, r.app_id, r.audit_seq
    ) ${auditFrom(sql`noted`, {
      type: 'callback_refused',
      actor: 'unknown',
      attemptId: id,
      detail: { channel, provider, error_code: 'INVALID_SIGNATURE' },
    })}`)
}

/** A callback for a whole account was not its provider's: written down once a minute and account at most. */
export async function noteRefusedAccountCallback(db: Queries, provider: string): Promise<void> {
  const detail = { provider, error_code: 'INVALID_SIGNATURE' }
  await db.many(sql`
    with marked as (
      insert into provider_callbacks as p (provider, refused_at) select ${provider}, clock_timestamp()
      -- A flood of them must not queue for the row.
      where not exists (select from provider_callbacks
        where provider = ${provider} and refused_at > clock_timestamp() - interval '1 minute')
      on conflict (provider) do update set refused_at = excluded.refused_at
        where p.refused_at < excluded.refused_at - interval '1 minute'
      returning provider
    ), numbered as (
      insert into audit_chains as c (chain, sequence) select 'admin', 1 from marked
      on conflict (chain) do update set sequence = c.sequence + 1 returning sequence
    )
    insert into audit_events (app_id, sequence, type, actor, detail)
    select null, sequence, 'callback_refused', 'unknown', ${JSON.stringify(detail)}::jsonb from numbered`)
}
