import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { callbackDigests } from '../../codes/seal'
import { type Channel, channels } from '../../core/channel'
import {
  isFailure,
  type ReceiptStatus,
  rankOf,
  satisfies,
  successRules,
} from '../../core/delivery/receipt'
import type { Wake } from '../../core/requests/wake'
import { environments } from '../../core/requests/state'
import { alertPrice } from '../alerts/price-alerts'
import { auditFrom } from '../audit/entry'
import { dueNow } from '../requests/ending'
import { noteFault } from './breakers'
import {
  isKept,
  keepPrice,
  type Price,
  priceInDetail,
  priceVerdicts,
  verdictOn,
} from '../spending/prices'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'

const ReportedRow = z.strictObject({
  id: z.string(),
  requestId: z.string(),
  appId: z.string(),
  recipientId: z.string(),
  number: z.int(),
  step: z.int(),
  channel: z.enum(channels),
  provider: z.string(),
  success: z.enum(successRules),
  claimedAt: z.date(),
  /** The message as its provider names it; null until it said so, and after an erasure. */
  messageId: z.string().nullable().optional(),
  /** More news can come: it was not refused, and has not come to its end. */
  open: z.boolean(),
})

/** The attempt a receipt is about. */
export type ReportedAttempt = z.infer<typeof ReportedRow>

export interface NewReceipt {
  status: ReceiptStatus
  rawStatus: string
  /** Unique per provider account: a second one alike is a duplicate. */
  eventKey: string
  at?: Date | undefined
  /** Only as proof has it: the first one counts, see {@link verdictOn}. */
  cost?: Price | undefined
  /** The provider's code for a failure, free of personal data. */
  code?: string | undefined
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
  a.provider_message_id as "messageId",
  a.state <> 'refused' and (a.status_rank < ${rankOf['failed.retryable']}
    -- A call that was put through still rings until it is answered.
    or (a.success = 'answered' and a.status_rank = ${rankOf.delivered})) as open`

const finding = (which: SQL): SQL => sql`
  select ${columns} from attempts a join otp_requests r on r.id = a.request_id where ${which}`

const findByToken = statement(
  'find_attempt_by_token',
  ReportedRow,
  (p: Named<{ digests: Buffer[]; provider: string }>) =>
    finding(sql`a.callback_digest = any(${p.digests}::bytea[]) and a.provider = ${p.provider}`),
)

const findByMessage = statement('find_attempt_by_message', ReportedRow, (p: Named<MessageRef>) =>
  finding(sql`a.provider = ${p.provider} and a.provider_message_id = ${p.messageId}
    order by a.claimed_at desc limit 1`),
)

const findById = statement(
  'find_attempt_by_id',
  ReportedRow,
  (p: Named<{ provider: string; attemptId: string }>) =>
    finding(sql`a.id = ${p.attemptId} and a.provider = ${p.provider}`),
)

const findOfRequest = statement(
  'find_attempts_of_request',
  ReportedRow,
  (p: Named<{ requestId: string }>) =>
    finding(sql`a.request_id = ${p.requestId} order by a.number`),
)

const findNamed = statement(
  'find_named_attempt',
  ReportedRow,
  (p: Named<{ requestId: string; attemptId: string }>) =>
    finding(sql`a.request_id = ${p.requestId} and a.id = ${p.attemptId}`),
)

/** The attempt whose callback URL holds this token. */
export function findAttemptByToken(
  db: Queries,
  keyring: Keyring,
  { provider, token }: { provider: string; token: string },
): Promise<ReportedAttempt | undefined> {
  return db.one(findByToken({ digests: callbackDigests(keyring, token), provider }))
}

/** The attempt whose message has this id at its provider. */
export function findAttemptByMessage(
  db: Queries,
  { provider, messageId }: MessageRef,
): Promise<ReportedAttempt | undefined> {
  return db.one(findByMessage({ provider, messageId }))
}

/** The attempt of this id, if this provider was asked to make it. */
export function findAttemptById(
  db: Queries,
  { provider, attemptId }: { provider: string; attemptId: string },
): Promise<ReportedAttempt | undefined> {
  return db.one(findById({ provider, attemptId }))
}

/** The attempts a generic receipt may mean: the one it names, or all of its request. */
export function findAttemptsForReceipt(
  db: Queries,
  { requestId, attemptId }: { requestId: string; attemptId?: string | undefined },
): Promise<ReportedAttempt[]> {
  return db.many(
    attemptId === undefined ? findOfRequest({ requestId }) : findNamed({ requestId, attemptId }),
  )
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

const RecordedRow = z.strictObject({
  moved: z.boolean(),
  dueAt: z.date().nullable(),
  pending: z.boolean(),
  /** Null: the receipt told none. */
  priceVerdict: z.enum(priceVerdicts).nullable(),
  environment: z.enum(environments),
  estimate: z.string().nullable(),
})

interface RecordParams {
  attemptId: string
  requestId: string
  provider: string
  channel: Channel
  eventKey: string
  status: ReceiptStatus
  rank: number
  rawStatus: string
  at: Date | null
  receivedAt: Date | null
  /** What the attempt's rank must be below for the receipt to change it. */
  below: number
  isInferred: boolean
  isDelivered: boolean
  isGood: boolean
  /** The run acts on success and failure; anything between is for the record. */
  isDecisive: boolean
  amount: string | null
  currency: string | null
  /** Of a failure only. */
  code: string | null
  actor: string
}

const recordStatement = statement('record_receipt', RecordedRow, (named: Named<RecordParams>) => {
  const { attemptId, requestId, provider, eventKey, status, rank, below } = named
  // Without a trace in the request where a conclusion of ours changes nothing.
  const counts = sql`(not late and (judged.moves or not ${named.isInferred}::boolean))`
  return sql`
    with request as (
      select id, state, erased from otp_requests where id = ${requestId} for update
    ), noted as (
      insert into receipts (attempt_id, provider, event_key, status, raw_status, late, provider_at, received_at)
      select ${attemptId}, ${provider}, ${eventKeyIn(sql`erased`, sql`${eventKey}::text`)},
        ${status}::receipt_status, ${named.rawStatus},
        state <> 'pending', ${named.at}::timestamptz, coalesce(${named.receivedAt}::timestamptz, now()) from request
      on conflict (provider, event_key) do nothing returning late
    ), judged as (
      -- Under the row's lock, of what another report has left of it.
      select noted.late, a.id, a.status_rank < ${below}::int as moves, ${verdictOn(sql`a`, named)} as price,
        a.estimate_amount
      from attempts a, noted where a.id = ${attemptId} for update of a
    ), changed as (
      update attempts a set
        status = case when moves then ${status}::receipt_status else status end,
        status_rank = case when moves then ${rank}::smallint else status_rank end,
        status_at = case when moves then clock_timestamp() else status_at end,
        provider_code = case when moves then ${named.code} else provider_code end,
        ${keepPrice(sql`price`, named)}
      from judged where a.id = judged.id and (moves or ${isKept(sql`price`)})
    ), told as (
      update otp_requests r set audit_seq = audit_seq + 1,
        delivered_at = case when ${named.isDelivered}::boolean and ${counts} then coalesce(delivered_at, clock_timestamp()) else delivered_at end,
        succeeded_at = case when ${named.isGood}::boolean and ${counts} then coalesce(succeeded_at, clock_timestamp()) else succeeded_at end,
        progress_due_at = case when ${named.isGood}::boolean and ${counts} then null else progress_due_at end,
        signal_due_at = case when ${named.isDecisive}::boolean and not late and judged.moves then ${dueNow} else signal_due_at end
      from judged where r.id = ${requestId}
      returning r.id, r.app_id, r.environment, r.audit_seq, r.signal_due_at, late, judged.moves, judged.price,
        judged.estimate_amount
    ), logged as (${auditFrom(sql`told`, {
      type: sql`(case when late then 'late_receipt' else 'receipt' end)::audit_type`,
      actor: named.actor,
      attemptId,
      detail: sql`jsonb_build_object('channel', ${named.channel}::text, 'provider', ${provider}::text,
        'status', ${status}::text, 'raw_status', ${named.rawStatus}::text) || ${priceInDetail(sql`price`, named)}`,
    })})
    select moves as moved, not late as pending, signal_due_at as "dueAt", price as "priceVerdict", environment,
      estimate_amount::text as estimate from told`
})

/**
 * Records a receipt in one statement: once per event, the attempt's status only upwards, a late one kept apart, the
 * first price that it brings. Nothing it says reopens a request.
 */
export async function recordReceipt(
  db: Queries,
  { attempt, receipt, actor }: { attempt: ReportedAttempt; receipt: NewReceipt; actor: string },
): Promise<RecordedReceipt> {
  const { id: attemptId, requestId, provider, channel, number, step } = attempt
  const { status, rawStatus, eventKey, cost, at = null, receivedAt = null } = receipt
  const isGood = satisfies(attempt.success, status)
  const isDecisive = isGood || isFailure(status)
  const row = await db.one(
    recordStatement({
      ...{
        attemptId,
        requestId,
        provider,
        channel,
        eventKey,
        status,
        rawStatus,
        at,
        receivedAt,
        actor,
      },
      ...{
        rank: rankOf[status],
        isDelivered: rankOf[status] >= rankOf.delivered,
        isGood,
        isDecisive,
      },
      // Below what its status would have to exceed; a conclusion of ours does not count against a known failure.
      below: receipt.inferred ? rankOf['failed.retryable'] : rankOf[status],
      isInferred: receipt.inferred ?? false,
      ...{ amount: cost?.amount ?? null, currency: cost?.currency ?? null },
      code: (isFailure(status) && receipt.code) || null,
    }),
  )
  if (!row) return { duplicate: true }
  if (cost && row.priceVerdict === 'above_estimate')
    await alertPrice(db, { ...row, provider, channel, price: cost })
  // The account cannot send: no other request should find that out for itself.
  const breakerOpened =
    status === 'failed.config' &&
    (await noteFault(db, { ...attempt, fault: 'config', begunAt: attempt.claimedAt }))
  const recorded = { duplicate: false, ...(breakerOpened && { breakerOpened }) }
  const { dueAt } = row
  if (!row.moved || !row.pending || !isDecisive || !dueAt) return recorded
  return {
    ...recorded,
    wake: { requestId, dueAt, signal: 'receipt', attempt: number, step, status },
  }
}

const refusedStatement = statement(
  'note_refused_callback',
  NoRow,
  (p: Named<{ id: string; requestId: string; channel: Channel; provider: string }>) => sql`
    with request as (
      select id from otp_requests where id = ${p.requestId} for update
    ), marked as (
      update attempts a set callback_refused_at = clock_timestamp() from request
      where a.id = ${p.id}
        and (callback_refused_at is null or callback_refused_at < clock_timestamp() - interval '1 minute')
      returning a.request_id
    ), noted as (
      update otp_requests r set audit_seq = audit_seq + 1 from marked where r.id = marked.request_id
      returning r.id, r.app_id, r.audit_seq
    ) ${auditFrom(sql`noted`, {
      type: 'callback_refused',
      actor: 'unknown',
      attemptId: p.id,
      detail: sql`jsonb_build_object('channel', ${p.channel}::text, 'provider', ${p.provider}::text,
        'error_code', 'INVALID_SIGNATURE')`,
    })}`,
)

/** A callback for this attempt was not its provider's: written down once a minute at most. */
export async function noteRefusedCallback(
  db: Queries,
  { id, requestId, provider, channel }: ReportedAttempt,
): Promise<void> {
  await db.many(refusedStatement({ id, requestId, channel, provider }))
}

const refusedAccountStatement = statement(
  'note_refused_account_callback',
  NoRow,
  (p: Named<{ provider: string }>) => sql`
    with marked as (
      insert into provider_callbacks as p (provider, refused_at) select ${p.provider}, clock_timestamp()
      -- A flood of them must not queue for the row.
      where not exists (select from provider_callbacks
        where provider = ${p.provider} and refused_at > clock_timestamp() - interval '1 minute')
      on conflict (provider) do update set refused_at = excluded.refused_at
        where p.refused_at < excluded.refused_at - interval '1 minute'
      returning provider
    ), numbered as (
      insert into audit_chains as c (chain, sequence) select 'admin', 1 from marked
      on conflict (chain) do update set sequence = c.sequence + 1 returning sequence
    )
    insert into audit_events (app_id, sequence, type, actor, detail)
    select null, sequence, 'callback_refused', 'unknown',
      jsonb_build_object('provider', ${p.provider}::text, 'error_code', 'INVALID_SIGNATURE') from numbered`,
)

/** A callback for a whole account was not its provider's: written down once a minute and account at most. */
export async function noteRefusedAccountCallback(db: Queries, provider: string): Promise<void> {
  await db.many(refusedAccountStatement({ provider }))
}
