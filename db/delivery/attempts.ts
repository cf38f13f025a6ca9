import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { channels, recipientKinds } from '../../core/channel'
import type { Fault } from '../../core/delivery/fault'
import { rankOf } from '../../core/delivery/receipt'
import { environments } from '../../core/requests/state'
import { giveBackMessage } from '../protection/message-window'
import { alertPrice } from '../alerts/price-alerts'
import { auditFrom } from '../audit/entry'
import type { Queries } from '..'
import { progressDueAfterRefusal } from '../requests/progress-due'
import { servedIn } from '../requests/region'
import { IdRow, type Named, NoRow, statement } from '../statement'
import { firstPollSeconds } from './polling'
import { keepPrice, type Price, priceInDetail, priceVerdicts, verdictOn } from '../spending/prices'

/** What makes a claim one execution's own. */
export interface ClaimKey {
  requestId: string
  /** The workflow's count of sends, from 1. */
  sendNo: number
  /** The first of the sends that share this one's budget. */
  firstSendNo: number
}

/** Milliseconds since the first of the sends that share a budget was claimed. */
export const ageOf = (requestId: SQL, firstSendNo: SQL | number) =>
  sql`(select extract(epoch from clock_timestamp() - min(claimed_at)) * 1000 from attempts
    where request_id = ${requestId} and send_no >= ${firstSendNo})::float8`

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

/** What is known of a send before it is claimed: whom it is to, and its last try, if it was claimed before. */
const findSend = statement(
  'find_own_attempt',
  z.strictObject({
    appId: z.string(),
    recipientId: z.string(),
    kind: z.enum(recipientKinds),
    ciphertext: z.instanceof(Buffer).nullable(),
    kid: z.string(),
    country: z.string().nullable(),
    heedsLists: z.boolean(),
    own: z.custom<KnownAttempt | null>(),
  }),
  ({ requestId, sendNo, firstSendNo }: Named<ClaimKey>) => sql`
  select r.app_id as "appId", p.id as "recipientId", p.kind, p.ciphertext, p.kid, r.country,
    coalesce((r.guard ->> 'lists')::boolean, false) as "heedsLists",
    (select jsonb_build_object('id', id, 'number', number, 'tryNo', try_no, 'state', state, 'fault', fault,
        'confirmed', status_rank >= ${rankOf.accepted}, 'ageMs', ${ageOf(sql`r.id`, firstSendNo)})
      from attempts a where a.request_id = r.id and a.send_no = ${sendNo} order by try_no desc limit 1) as own
  from otp_requests r join recipients p on p.id = r.recipient_id where r.id = ${requestId}`,
)

export const findOwnAttempt = (db: Queries, { requestId, sendNo, firstSendNo }: ClaimKey) =>
  db.one(findSend({ requestId, sendNo, firstSendNo }))

/** Of statements that say only whether, or of which, there is a row. */
const elsewhereStatement = statement(
  'is_elsewhere',
  IdRow,
  (p: Named<{ requestId: string; region: string | null }>) => sql`
  select id from otp_requests
  where id = ${p.requestId} and state = 'pending' and expires_at > now() and not ${servedIn(p.region)}`,
)

/** Whether a request goes on in another region: a claim that was refused for this is not the end. */
export async function isElsewhere(
  db: Queries,
  { requestId, region }: { requestId: string; region: string | undefined },
): Promise<boolean> {
  return (await db.one(elsewhereStatement({ requestId, region: region ?? null }))) !== undefined
}

interface Reclaimed {
  requestId: string
  attemptId: string
  runId: string
}

const reclaimStatement = statement(
  'reclaim_attempt',
  IdRow,
  (p: Named<Reclaimed>) => sql`
  with live as (
    update otp_requests set audit_seq = audit_seq + 1
    where id = ${p.requestId} and state = 'pending' and expires_at > now()
      and exists (select from attempts where id = ${p.attemptId} and state = 'open')
    returning id, app_id, audit_seq
  ), again as (
    update attempts set claimed_at = clock_timestamp() from live
    where attempts.id = ${p.attemptId} and attempts.state = 'open' returning attempts.id
  ), logged as (${auditFrom(sql`live`, {
    type: 'attempt_reclaimed',
    actor: 'worker',
    runId: p.runId,
    attemptId: p.attemptId,
  })})
  select id from again`,
)

/** Claims an open attempt again because preparing it took long; false when it must not be sent any more. */
export const reclaimAttempt = async (
  db: Queries,
  { requestId, attemptId, runId }: Reclaimed,
): Promise<boolean> =>
  (await db.one(reclaimStatement({ requestId, attemptId, runId }))) !== undefined

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

/** What is written down of an answer; a part that it does not have is null. */
interface Answered {
  requestId: string
  attemptId: string
  runId: string
  state: AttemptAnswer['state']
  fault: Fault | null
  /** The provider's own word for why it refused. */
  code: string | null
  providerMessageId: string | null
  costAmount: string | null
  costCurrency: string | null
  instruction: string | null
  poll: boolean
}

/**
 * @param before CTEs that hold what is locked before a request
 * @param after CTEs that go by `answered`
 */
const answerOf = (
  p: Named<Answered>,
  { before = sql``, isHeld = sql`true`, after = sql`` } = {},
): SQL => sql`
  with ${before} request as materialized (
    select id, state, erased, environment from otp_requests where id = ${p.requestId} and ${isHeld} for update
  ), judged as (
    -- A report may have brought the price before.
    select a.id, ${verdictOn(sql`a`, priceOf(p))} as price from attempts a, request
    where a.id = ${p.attemptId} and a.request_id = request.id for update of a
  ), answered as (
    update attempts a set state = ${p.state}::attempt_state, fault = ${p.fault}, finished_at = clock_timestamp(),
      provider_code = ${p.code},
      provider_message_id = case when request.erased then null
        else coalesce(${p.providerMessageId}, provider_message_id) end,
      ${keepPrice(sql`judged.price`, priceOf(p))},
      instruction = coalesce(${p.instruction}, instruction),
      message_at = case when ${p.state}::text = 'refused' then null else message_at end,
      poll_due_at = case when ${p.poll}::boolean and request.state = 'pending'
        then clock_timestamp() + make_interval(secs => ${firstPollSeconds}) end,
      wasted = request.state <> 'pending' and ${p.state}::text <> 'refused',
      status = case when status_rank < ${rankOf.accepted} and ${p.state}::text = 'accepted'
        then 'accepted'::receipt_status else status end,
      status_rank = case when ${p.state}::text = 'accepted' then greatest(status_rank, ${rankOf.accepted}) else status_rank end
    from request, judged
    where a.id = judged.id
      and (a.state = 'open' or (a.state = 'in_doubt' and ${p.state}::text <> 'in_doubt'))
    returning a.channel, a.provider, a.success, a.wasted, a.state as answer, a.estimate_amount, judged.price,
      request.environment
  ), told as (
    update otp_requests r set audit_seq = audit_seq + 1,
      succeeded_at = case when answer = 'refused' or success <> 'accepted' then succeeded_at
        else coalesce(succeeded_at, clock_timestamp()) end,
      progress_due_at = case when answer = 'refused' then ${progressDueAfterRefusal(sql`r`)}
        when success = 'accepted' then null else progress_due_at end
    from answered where r.id = ${p.requestId}
    returning r.id, r.app_id, r.audit_seq, answered.*
  ) ${after}, logged as (${auditFrom(sql`told`, {
    type: sql`(case when wasted then 'attempt_wasted' else 'attempt_' || ${p.state}::text end)::audit_type`,
    actor: 'worker',
    runId: p.runId,
    attemptId: p.attemptId,
    detail: sql`jsonb_build_object('channel', channel, 'provider', provider, 'fault', ${p.fault}::text)
      || ${priceInDetail(sql`price`, priceOf(p))}`,
  })})
  select channel, provider, price as "priceVerdict", environment, estimate_amount::text as estimate from told`

const priceOf = ({ costAmount: amount, costCurrency: currency }: Named<Answered>) => ({
  amount,
  currency,
})

const AnsweredRow = z.strictObject({
  channel: z.enum(channels),
  provider: z.string(),
  environment: z.enum(environments),
  /** Null: the answer told none. */
  priceVerdict: z.enum(priceVerdicts).nullable(),
  estimate: z.string().nullable(),
})

const answerCall = statement('record_answer', AnsweredRow, (p: Named<Answered>) => answerOf(p))

/** A message that nobody took counts for nothing: its window is held before its request, as everywhere. */
const refuseCall = statement('record_refusal', AnsweredRow, (p: Named<Answered>) =>
  answerOf(p, {
    before: sql`counter as materialized (
      select w.name, a.message_at from attempts a join otp_requests r on r.id = a.request_id
        join send_windows w on w.name = r.guard -> 'window' ->> 'name'
      where a.id = ${p.attemptId} and a.message_at is not null for update of w
    ),`,
    isHeld: sql`(select count(*) from counter) >= 0`,
    after: sql`, given_back as (${giveBackMessage(sql`counter`, sql`exists (select from answered)`)})`,
  }),
)

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
  const record = state === 'refused' ? refuseCall : answerCall
  const accepted = state === 'accepted' ? answer : undefined
  const cost = accepted?.cost
  const row = await db.one(
    record({
      ...{ requestId, attemptId, runId, state },
      fault: state === 'refused' ? answer.fault : state === 'in_doubt' ? 'in_doubt' : null,
      code: (state === 'refused' && answer.code) || null,
      providerMessageId: accepted?.providerMessageId ?? null,
      costAmount: cost?.amount ?? null,
      costCurrency: cost?.currency ?? null,
      // None, where it is empty.
      instruction: accepted?.instruction || null,
      poll: accepted?.poll === true,
    }),
  )
  if (row && cost && row.priceVerdict === 'above_estimate')
    await alertPrice(db, { ...row, price: cost })
}

const DoubtRow = z.strictObject({
  attemptId: z.string(),
  number: z.int(),
  provider: z.string(),
  channel: z.enum(channels),
  recipientId: z.string(),
  claimedAt: z.date(),
  state: z.enum(['accepted', 'in_doubt']),
  /** A report came in meanwhile, which proves that the provider has it. */
  confirmed: z.boolean(),
  /** Since the first claim of the sends that share the budget, in milliseconds. */
  ageMs: z.number(),
})

/** A call of the same step, before the send `sendNo`, that was in doubt: only then is there another send. */
export type KnownDoubt = z.infer<typeof DoubtRow>

const doubtStatement = statement(
  'find_doubt',
  DoubtRow,
  (p: Named<ClaimKey & { step: number; region: string | null }>) => sql`
  select a.id as "attemptId", a.number, a.provider, a.channel, recipient_id as "recipientId",
    a.claimed_at as "claimedAt", a.state, a.status_rank >= ${rankOf.accepted} as confirmed,
    ${ageOf(sql`otp_requests.id`, p.firstSendNo)} as "ageMs"
  from attempts a join otp_requests on otp_requests.id = a.request_id
  where a.request_id = ${p.requestId} and a.step = ${p.step} and a.state in ('accepted', 'in_doubt')
    and a.status_rank <> ${rankOf['failed.retryable']}
    and a.send_no >= ${p.firstSendNo} and a.send_no < ${p.sendNo}
    and otp_requests.state = 'pending' and ${servedIn(p.region)}
  order by a.number desc limit 1`,
)

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
  return db.one(doubtStatement({ requestId, sendNo, firstSendNo, step, region: region ?? null }))
}

const settleStatement = statement(
  'settle_open_attempts',
  NoRow,
  (p: Named<{ requestId: string }>) => sql`
  update attempts a set state = 'in_doubt', fault = 'in_doubt', finished_at = clock_timestamp(), wasted = true
  from otp_requests r
  where a.request_id = ${p.requestId} and r.id = a.request_id and r.state <> 'pending' and a.state = 'open'`,
)

/** Calls that nobody finishes any more are in doubt; an answer that comes after all still replaces that. */
export async function settleOpenAttempts(db: Queries, requestId: string): Promise<void> {
  await db.many(settleStatement({ requestId }))
}

const acceptedStatement = statement(
  'find_accepted_messages',
  z.strictObject({ provider: z.string(), providerMessageId: z.string() }),
  (p: Named<{ requestId: string }>) => sql`
  select provider, provider_message_id as "providerMessageId" from attempts
  where request_id = ${p.requestId} and provider_message_id is not null`,
)

/** Messages whose outcome their provider would like to know. */
export const findAcceptedMessages = (db: Queries, requestId: string) =>
  db.many(acceptedStatement({ requestId }))
