import { type SQL, sql } from 'drizzle-orm'
import type { Channel } from '../../core/channel'
import type { Fault } from '../../core/fault'
import type { Environment } from '../../core/state'
import { rankOf, type SuccessRule } from '../../core/receipt'
import type { Autofill } from '../../core/message/autofill'
import type { OwnTemplate } from '../../core/message/text'
import { templateFor } from '../apps/templates'
import { payFor } from '../abuse/spending'
import { auditFrom } from '../audit/entry'
import type { Queries } from '../index'
import { codeColumns, type CodeRow } from '../requests/code-row'
import { progressDueAfterClaim, progressDueAfterRefusal } from '../requests/progress-due'
import { servedIn } from '../requests/region'
import { randomId } from '../../codes/random-id'
import { alertPrice } from '../abuse/price-alerts'
import { firstPollSeconds } from './polling'
import {
  keepPrice,
  type Price,
  priceInDetail,
  priceParams,
  type priceVerdicts,
  verdictOn,
} from './prices'

/** What makes a claim one execution's own. */
export interface ClaimKey {
  requestId: string
  /** The workflow's count of sends, from 1. */
  sendNo: number
  /** The first of the sends that share this one's budget. */
  firstSendNo: number
}

/** Milliseconds since the first of the sends that share a budget was claimed. */
const ageOf = (requestId: SQL, firstSendNo: number) =>
  sql`(select extract(epoch from clock_timestamp() - min(claimed_at)) * 1000 from attempts
    where request_id = ${requestId} and send_no >= ${firstSendNo})::float8`

export interface NewClaim extends ClaimKey {
  step: number
  channel: Channel
  provider: string
  success: SuccessRule
  tryNo: number
  runId: string
  callbackDigest: Buffer
  /** Of this process. */
  region?: string | undefined
}

/** Everything a provider call needs, read by the claiming statement itself. */
export interface Claim extends CodeRow {
  attemptId: string
  number: number
  /** Since the first claim of the sends that share the budget, in milliseconds. */
  ageMs: number
  appId: string
  recipientId: string
  ciphertext: Buffer
  kid: string
  locale: string
  brand: string
  messageCiphertext: Buffer | null
  sealKid: string | null
  /** The app's own wording as it was when the request was made; null where it has none that fits. */
  template: OwnTemplate | null
  autofill: Autofill
  /** The lifetime the caller asked for, in seconds. */
  lifetimeSeconds: number
  /** Seconds of life left at the claim. */
  lifeLeftSeconds: number
}

export interface KnownAttempt {
  id: string
  number: number
  /** Since the first claim of the sends that share the budget, in milliseconds. */
  ageMs: number
  tryNo: number
  state: 'open' | 'accepted' | 'refused' | 'in_doubt'
  fault: Fault | null
  /** A receipt came in, which proves that the provider had accepted. */
  confirmed: boolean
}

/** The last try of a send, if it was claimed before. */
export function findOwnAttempt(db: Queries, { requestId, sendNo, firstSendNo }: ClaimKey) {
  return db.one<KnownAttempt>(sql`
    select id, number, try_no as "tryNo", state, fault, status_rank >= ${rankOf.accepted} as confirmed,
      ${ageOf(sql`${requestId}`, firstSendNo)} as "ageMs"
    from attempts where request_id = ${requestId} and send_no = ${sendNo} order by try_no desc limit 1`)
}

/**
 * Claims a provider call under the row lock that every ending takes: no claim commits after the end. Its price is
 * reserved by the same statement, so that no call is made that its app's budgets have no room for.
 * @returns undefined when the request is over; `unaffordable` when the money does not last.
 * @throws a unique violation when another execution claimed the same try.
 */
export async function claimAttempt(
  db: Queries,
  claim: NewClaim,
): Promise<Claim | 'unaffordable' | undefined> {
  const id = randomId('att')
  const row = await db.one<(Claim & { isPaid: true }) | { isPaid: false }>(sql`
    with held as (
      select * from otp_requests
      where id = ${claim.requestId} and state = 'pending' and expires_at > now() and ${servedIn(claim.region)}
      for update
    ), ${payFor(claim)}, live as (
      update otp_requests set attempt_seq = attempt_seq + 1, audit_seq = audit_seq + 1,
        current_step = greatest(current_step, ${claim.step}),
        progress_due_at = ${progressDueAfterClaim(sql`otp_requests`, sql`${claim.step}`)},
        -- Proof of the start, should the API never have heard of it: nobody may close this as not started now.
        workflow_started_at = coalesce(workflow_started_at, clock_timestamp()), queued = false
      from paid where otp_requests.id = paid.id and paid.is_paid
      returning otp_requests.*, currency, price, priced_at
    ), unpaid as (
      update otp_requests set audit_seq = audit_seq + 1, current_step = greatest(current_step, ${claim.step}),
        workflow_started_at = coalesce(workflow_started_at, clock_timestamp()), queued = false
      from paid where otp_requests.id = paid.id and not paid.is_paid
      returning otp_requests.id, app_id, audit_seq
    ), told as (${auditFrom(sql`unpaid`, {
      type: 'budget_refused',
      actor: 'worker',
      runId: claim.runId,
      detail: { channel: claim.channel, provider: claim.provider, step: claim.step },
    })}), claimed as (
      insert into attempts (id, request_id, number, step, send_no, try_no, channel, provider, success,
        callback_digest, run_id, claimed_at, estimate_amount, estimate_currency, counted_amount, counted_at)
      select ${id}, id, attempt_seq, ${claim.step}, ${claim.sendNo}, ${claim.tryNo}, ${claim.channel},
        ${claim.provider}, ${claim.success}, ${claim.callbackDigest}, ${claim.runId}, clock_timestamp(), price,
        case when price is not null then currency end, price, case when price is not null then priced_at end from live
    ), logged as (${auditFrom(sql`live`, {
      type: 'attempt_claimed',
      actor: 'worker',
      runId: claim.runId,
      attemptId: id,
      detail: { channel: claim.channel, provider: claim.provider, step: claim.step },
    })})
    select paid.is_paid as "isPaid", ${id} as "attemptId", live.attempt_seq as number,
      coalesce(${ageOf(sql`live.id`, claim.firstSendNo)}, 0) as "ageMs",
      live.app_id as "appId",
      r.id as "recipientId", r.ciphertext, r.kid, ${codeColumns(sql`live`)},
      live.locale, live.brand,
      live.message_ciphertext as "messageCiphertext", live.seal_kid as "sealKid",
      ${templateFor(sql`live`, claim.channel)} as template,
      jsonb_build_object('domain', live.autofill_domain, 'appHash', live.android_app_hash) as autofill,
      round(extract(epoch from live.expires_at - live.created_at))::int as "lifetimeSeconds",
      floor(extract(epoch from live.expires_at - now()))::int as "lifeLeftSeconds"
    from paid left join live on live.id = paid.id left join recipients r on r.id = live.recipient_id`)
  if (!row) return undefined
  return row.isPaid ? row : 'unaffordable'
}

/** Whether a request goes on in another region: a claim that was refused for this is not the end. */
export async function isElsewhere(
  db: Queries,
  { requestId, region }: { requestId: string; region: string | undefined },
): Promise<boolean> {
  const row = await db.one(sql`select from otp_requests
    where id = ${requestId} and state = 'pending' and expires_at > now() and not ${servedIn(region)}`)
  return row !== undefined
}

/** Claims an open attempt again because preparing it took long; false when it must not be sent any more. */
export async function reclaimAttempt(
  db: Queries,
  { requestId, attemptId, runId }: { requestId: string; attemptId: string; runId: string },
): Promise<boolean> {
  const row = await db.one(sql`
    with live as (
      update otp_requests set audit_seq = audit_seq + 1
      where id = ${requestId} and state = 'pending' and expires_at > now()
        and exists (select from attempts where id = ${attemptId} and state = 'open')
      returning id, app_id, audit_seq
    ), again as (
      update attempts set claimed_at = clock_timestamp() from live
      where attempts.id = ${attemptId} and attempts.state = 'open' returning attempts.id
    ), logged as (${auditFrom(sql`live`, { type: 'attempt_reclaimed', actor: 'worker', runId, attemptId })})
    select id from again`)
  return row !== undefined
}

export type AttemptAnswer =
  | {
      state: 'accepted'
      providerMessageId: string | null
      cost?: Price | undefined
      /** What the user has to dial. */
      instruction?: string | undefined
      /** The provider has to be asked for its reports. */
      poll?: boolean
    }
  | {
      state: 'refused'
      fault: Fault
      /** The provider's own, free of personal data. */
      code?: string | undefined
    }
  | { state: 'in_doubt' }

/**
 * Writes down how a provider call ended. An answer that comes after the request's end is kept as `wasted`;
 * one that comes after the attempt was called in doubt replaces the doubt.
 */
export async function recordAnswer(
  db: Queries,
  { requestId, attemptId, runId }: { requestId: string; attemptId: string; runId: string },
  answer: AttemptAnswer,
): Promise<void> {
  const { state } = answer
  const refused = state === 'refused'
  const accepted = state === 'accepted'
  const fault = refused ? answer.fault : state === 'in_doubt' ? 'in_doubt' : null
  const cost = accepted ? answer.cost : undefined
  const replaces = state === 'in_doubt' ? ['open'] : ['open', 'in_doubt']
  const row = await db.one<AnsweredRow>(sql`
    with request as (
      select id, state, erased, environment from otp_requests where id = ${requestId} for update
    ), judged as (
      -- A report may have brought the price before.
      select a.id, ${verdictOn(sql`a`, priceParams(cost))} as price from attempts a, request
      where a.id = ${attemptId} and a.request_id = request.id for update of a
    ), answered as (
      update attempts set state = ${state}::attempt_state, fault = ${fault}, finished_at = clock_timestamp(),
        provider_code = ${(refused && answer.code) || null},
        provider_message_id = case when request.erased then null
          else coalesce(${accepted ? answer.providerMessageId : null}, provider_message_id) end,
        ${keepPrice(sql`judged.price`, priceParams(cost))},
        instruction = coalesce(${(accepted && answer.instruction) || null}, instruction),
        poll_due_at = case when ${accepted && answer.poll === true} and request.state = 'pending'
          then clock_timestamp() + make_interval(secs => ${firstPollSeconds}) end,
        wasted = request.state <> 'pending' and not ${refused},
        status = case when status_rank < ${rankOf.accepted} and ${accepted} then 'accepted'::receipt_status else status end,
        status_rank = case when ${accepted} then greatest(status_rank, ${rankOf.accepted}) else status_rank end
      from request, judged
      where attempts.id = judged.id and attempts.state::text = any(${sql.param(replaces)})
      returning attempts.channel, attempts.provider, attempts.success, attempts.wasted, attempts.estimate_amount,
        judged.price, request.environment
    ), told as (
      update otp_requests r set audit_seq = audit_seq + 1,
        succeeded_at = case when ${refused} or answered.success <> 'accepted' then succeeded_at
          else coalesce(succeeded_at, clock_timestamp()) end,
        progress_due_at = case when ${refused} then ${progressDueAfterRefusal(sql`r`)}
          when answered.success = 'accepted' then null else progress_due_at end
      from answered where r.id = ${requestId}
      returning r.id, r.app_id, r.audit_seq, answered.*
    ), logged as (${auditFrom(sql`told`, {
      type: sql`(case when wasted then 'attempt_wasted' else ${`attempt_${state}`} end)::audit_type`,
      actor: 'worker',
      runId,
      attemptId,
      detail: sql`jsonb_build_object('channel', channel, 'provider', provider, 'fault', ${fault}::text)
        || ${priceInDetail(sql`price`, priceParams(cost))}`,
    })})
    select channel, provider, price as "priceVerdict", environment, estimate_amount::text as estimate from told`)
  if (row && cost && row.priceVerdict === 'above_estimate')
    await alertPrice(db, { ...row, price: cost })
}

interface AnsweredRow {
  channel: Channel
  provider: string
  environment: Environment
  /** Null: the answer told none. */
  priceVerdict: (typeof priceVerdicts)[number] | null
  estimate: string | null
}

/** A call of the same step, before the send `sendNo`, that was in doubt: only then is there another send. */
export interface KnownDoubt {
  attemptId: string
  number: number
  provider: string
  channel: Channel
  recipientId: string
  claimedAt: Date
  state: 'accepted' | 'in_doubt'
  /** A report came in meanwhile, which proves that the provider has it. */
  confirmed: boolean
  /** Since the first claim of the sends that share the budget, in milliseconds. */
  ageMs: number
}

/**
 * The last of them, unless its message is known to have failed; undefined when there is none, or when the request is
 * served in another region: nobody here may ask about it.
 */
export function findDoubt(
  db: Queries,
  {
    requestId,
    sendNo,
    firstSendNo,
    step,
    region,
  }: ClaimKey & { step: number; region: string | undefined },
): Promise<KnownDoubt | undefined> {
  return db.one(sql`
    select a.id as "attemptId", a.number, a.provider, a.channel, recipient_id as "recipientId",
      a.claimed_at as "claimedAt", a.state, a.status_rank >= ${rankOf.accepted} as confirmed,
      ${ageOf(sql`otp_requests.id`, firstSendNo)} as "ageMs"
    from attempts a join otp_requests on otp_requests.id = a.request_id
    where a.request_id = ${requestId} and a.step = ${step} and a.state in ('accepted', 'in_doubt')
      and a.status_rank <> ${rankOf['failed.retryable']}
      and a.send_no between ${firstSendNo} and ${sendNo - 1}
      and otp_requests.state = 'pending' and ${servedIn(region)}
    order by a.number desc limit 1`)
}

/** Calls that nobody finishes any more are in doubt; an answer that comes after all still replaces that. */
export async function settleOpenAttempts(db: Queries, requestId: string): Promise<void> {
  await db.many(sql`
    update attempts a set state = 'in_doubt', fault = 'in_doubt', finished_at = clock_timestamp(), wasted = true
    from otp_requests r
    where a.request_id = ${requestId} and r.id = a.request_id and r.state <> 'pending' and a.state = 'open'`)
}

/** Messages whose outcome their provider would like to know. */
export function findAcceptedMessages(db: Queries, requestId: string) {
  return db.many<{ provider: string; providerMessageId: string }>(sql`
    select provider, provider_message_id as "providerMessageId" from attempts
    where request_id = ${requestId} and provider_message_id is not null`)
}
