import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { randomId } from '../../codes/random-id'
import { exactness, listVerdicts } from '../../core/protection/lists'
import { type ScopeKind, scopeKinds } from '../../core/protection/scopes'
import { alphabets } from '../../core/verify/alphabet'
import type { Channel } from '../../core/channel'
import type { Autofill } from '../../core/messages/autofill'
import type { OwnTemplate } from '../../core/messages/text'
import { messageSkips } from '../../core/requests/skip-reason'
import { environments } from '../../core/requests/state'
import { countMessageFrom, messageWait } from '../protection/message-window'
import { payFor } from '../spending/spending'
import { templateFor } from '../messages/templates'
import { auditFrom } from '../audit/entry'
import type { Queries } from '..'
import { codeColumns } from '../requests/code-row'
import { progressDueAfterClaim, progressDueAfterRefusal } from '../requests/progress-due'
import { servedIn } from '../requests/region'
import { type Named, statement } from '../statement'
import { ageOf, type ClaimKey } from './attempts'

export interface NewClaim extends ClaimKey {
  step: number
  channel: Channel
  provider: string
  /** The resend that it serves, 0 for the plan's own send; undefined: a run of an older version does not say. */
  resendSeq?: number | undefined
  tryNo: number
  runId: string
  callbackDigest: Buffer
  /** Whether the provider account reaches nobody; null where this process has none of its name, and cannot call it. */
  isTestAccount: boolean | null
  /** Whether a message goes out, and not only a code that waits to be dialled for. */
  isMessage: boolean
  /** What an entry of a list about the recipient is found by: see `listDigests`. */
  listDigests: readonly Buffer[]
  /** Of this process. */
  region?: string | undefined
}

const bytes = z.instanceof(Buffer)

const Claimed = z.object({
  verdict: z.literal('claimed'),
  attemptId: z.string(),
  number: z.int(),
  /** Since the first claim of the sends that share the budget, in milliseconds. */
  ageMs: z.number(),
  appId: z.string(),
  environment: z.enum(environments),
  recipientId: z.string(),
  ciphertext: bytes,
  kid: z.string(),
  salt: bytes,
  codeKid: z.string(),
  codeGeneration: z.int(),
  codeLength: z.int(),
  codeAlphabet: z.enum(alphabets),
  locale: z.string(),
  brand: z.string(),
  messageCiphertext: bytes.nullable(),
  sealKid: z.string().nullable(),
  /** The app's own wording as it was when the request was made; null where it has none that fits. */
  template: z.custom<OwnTemplate | null>(),
  autofill: z.custom<Autofill>(),
  /** Seconds of life left at the claim. */
  lifeLeftSeconds: z.int(),
})

/** Everything a provider call needs, read by the claiming statement itself. */
export type Claim = z.infer<typeof Claimed>

/** The call of the same send that somebody has, or may have. */
const Served = z.object({
  verdict: z.literal('served'),
  number: z.int(),
  ageMs: z.number(),
  heldBy: z.string(),
  isAccepted: z.boolean(),
})

const NotClaimed = z.object({
  verdict: z.enum([...messageSkips, 'unaffordable', 'not_planned']),
})

const Outdated = z.object({ verdict: z.literal('outdated') })

/** Kinds of scopes that are about the number; who asked for the message does not matter to its next channel. */
const ofNumber: readonly ScopeKind[] = scopeKinds.filter((kind) => kind !== 'ip' && kind !== 'key')

const quoted = (words: readonly string[]) => sql.raw(words.map((word) => `'${word}'`).join(', '))

const exactnessOf = sql.raw(
  `case kind ${Object.entries(exactness)
    .map(([kind, rank]) => `when '${kind}' then ${rank}`)
    .join(' ')} end`,
)

type Params = Named<NewClaim & { attemptId: string }>

/** Holds the number's window, then the request, and reads what the claim goes by. */
const reading = (p: Params): SQL => sql`clock as materialized (
    select clock_timestamp() as moment
  ), counter as materialized (
    select w.sends, w.partners from otp_requests r join send_windows w on w.name = r.guard -> 'window' ->> 'name'
    where r.id = ${p.requestId} and r.state = 'pending' and ${p.isMessage}::boolean for update of w
  ), held as materialized (
    select * from otp_requests
    where id = ${p.requestId} and state = 'pending' and expires_at > now() and ${servedIn(p.region)}
      and (select count(*) from counter) >= 0
    for update
  ), asked as materialized (
    select held.*, moment, coalesce(${p.resendSeq}::int, case when exists (select from attempts a
        where a.request_id = held.id and a.step = ${p.step} and a.send_no > 0) then resend_seq else 0 end) as serves,
      coalesce((select max(a.number) from attempts a where a.request_id = held.id), 0) = attempt_seq as is_fresh
    from held, clock
  ), planned as materialized (
    select *, case when serves = 0 then plan -> ${p.step}::int
        when resend_step ->> 'channel' = ${p.channel} then resend_step
        else (select s from jsonb_array_elements(plan) s where s ->> 'channel' = ${p.channel} limit 1) end as step_now
    from asked
  ), earlier as materialized (
    select a.number, a.provider, a.state, count(*) filter (where a.state = 'in_doubt') over () as doubts,
      count(*) filter (where a.state in ('open', 'accepted')) over () as taken
    from attempts a, planned
    where a.request_id = planned.id and a.send_no > 0 and a.resend_seq = serves and a.state <> 'refused'
      and (serves > 0 or a.step = ${p.step})
    order by a.state = 'accepted' desc, a.number desc limit 1
  ), listed as materialized (
    select coalesce(bool_or(verdict = ${listVerdicts[1]}), false) as is_blocked,
      coalesce(bool_or(verdict = ${listVerdicts[0]}), false) as is_allowed
    from (select distinct on (app_id is null) verdict from list_entries
      where index = any(${p.listDigests}::bytea[]) and (expires_at is null or expires_at > now())
      order by app_id is null, ${exactnessOf} desc, length desc, verdict = ${listVerdicts[1]} desc) most_exact
  )`

/** Why the call must not be made; null where nothing but the money is left to ask. */
const judging = (p: Params): SQL => sql`judged as materialized (
    select planned.*, case
      when not is_fresh then 'outdated'
      when serves > resend_seq or (step_now ->> 'channel' = ${p.channel} and step_now -> 'providers' ? ${p.provider})
        is not true then 'not_planned'
      when not test_number and ${p.isTestAccount}::boolean = (environment = 'production') then 'not_planned'
      when taken > 0 or doubts > case when step_now ->> 'onDoubt' = 'resend' then 1 else 0 end then 'served'
      when (guard ->> 'lists')::boolean and is_blocked then 'blocked'
      when guard -> 'blocks' <> '[]' and not is_allowed and exists (
        select from send_decisions d cross join unnest(d.scopes) n
          join send_blocks b on b.name = regexp_replace(n, '#[0-9]+$', '')
        where d.request_id = planned.id and b.scope in (${quoted(ofNumber)}) and b.until > moment
          and b.lifted_at is null and guard -> 'blocks' ? b.asks) then 'blocked'
      when ${p.isMessage}::boolean and guard ? 'window' and ${messageWait(sql`counter`, sql`planned`)} > 0
        then 'message_cap' end as refusal
    from planned cross join listed left join counter on true left join earlier on true
  )`

/** Takes the price, and so comes to the verdict. */
const paying = (
  p: Params,
): SQL => sql`${payFor(sql`(select * from judged where refusal is null)`, p)}, decided as materialized (
    select judged.*, coalesce(refusal, case when is_paid then 'claimed' else 'unaffordable' end) as verdict,
      currency, price, priced_at
    from judged left join paid on paid.id = judged.id
  )`

/** Counts the message and writes the attempt down, or says in the audit why not. */
const writing = (p: Params): SQL => sql`counted as (${countMessageFrom(
  sql`(select guard, environment, app_id, moment from decided where verdict = 'claimed' and guard ? 'window'
      and ${p.isMessage}::boolean)`,
)}), live as (
    update otp_requests r set attempt_seq = r.attempt_seq + 1, audit_seq = r.audit_seq + 1,
      current_step = greatest(r.current_step, ${p.step}),
    progress_due_at = ${progressDueAfterClaim(sql`r`, p.step)},
      -- Proof of the start, should the API never have heard of it: nobody may close this as not started now.
      workflow_started_at = coalesce(r.workflow_started_at, clock_timestamp()), queued = false
    from decided where r.id = decided.id and verdict = 'claimed'
    returning r.*, currency, price, priced_at, moment, serves, step_now
  ), turned_away as (
    update otp_requests r set audit_seq = r.audit_seq + 1, current_step = greatest(r.current_step, ${p.step}),
      progress_due_at = ${progressDueAfterRefusal(sql`r`)},
      workflow_started_at = coalesce(r.workflow_started_at, clock_timestamp()), queued = false
    from decided where r.id = decided.id and verdict in ('unaffordable', ${quoted(messageSkips)})
    returning r.id, r.app_id, r.audit_seq, verdict
  ), told as (${auditFrom(sql`turned_away`, {
    type: sql`(case verdict when 'unaffordable' then 'budget_refused' else 'step_skipped' end)::audit_type`,
    actor: 'worker',
    runId: p.runId,
    detail: sql`jsonb_build_object('channel', ${p.channel}::text, 'provider', ${p.provider}::text, 'step', ${p.step}::int)
      || case verdict when 'unaffordable' then '{}' else jsonb_build_object('reason', verdict) end`,
  })}), claimed as (
    insert into attempts (id, request_id, number, step, send_no, try_no, resend_seq, channel, provider, success,
      callback_digest, run_id, claimed_at, message_at, estimate_amount, estimate_currency, counted_amount, counted_at)
    select ${p.attemptId}, id, attempt_seq, ${p.step}, ${p.sendNo}, ${p.tryNo}, serves, ${p.channel}, ${p.provider},
      coalesce(step_now -> 'successBy' ->> ${p.provider}, step_now ->> 'success')::success_rule,
      ${p.callbackDigest}, ${p.runId}, moment,
      case when ${p.isMessage}::boolean and guard ? 'window' then moment end, price,
      case when price is not null then currency end, price, case when price is not null then priced_at end from live
  ), logged as (${auditFrom(sql`live`, {
    type: 'attempt_claimed',
    actor: 'worker',
    runId: p.runId,
    attemptId: p.attemptId,
    detail: sql`jsonb_build_object('channel', ${p.channel}::text, 'provider', ${p.provider}::text, 'step', ${p.step}::int)`,
  })})`

/**
 * The claim of one provider call, under the row locks of the number's window and of its request, in this order, as a send
 * takes them; every ending takes the second, so no claim commits after the end. What the workflow asks for is a proposal:
 * the row says which channels and accounts there are, and that each step and each recorded resend is sent once.
 * What is read of attempts was committed before this statement began: where a claim committed while it waited for the
 * row, `attempt_seq` tells, and it is run again.
 */
const claimCall = statement(
  'claim_attempt',
  z.discriminatedUnion('verdict', [Claimed, Served, NotClaimed, Outdated]),
  (p: Params) => sql`
  with ${reading(p)}, ${judging(p)}, ${paying(p)}, ${writing(p)}
  select decided.verdict, ${p.attemptId} as "attemptId", coalesce(live.attempt_seq, earlier.number) as number,
    coalesce(${ageOf(sql`decided.id`, p.firstSendNo)}, 0) as "ageMs", decided.app_id as "appId", decided.environment,
    recipient.id as "recipientId", recipient.ciphertext, recipient.kid, ${codeColumns(sql`decided`)}, decided.locale, decided.brand,
    decided.message_ciphertext as "messageCiphertext", decided.seal_kid as "sealKid",
    ${templateFor(sql`decided`, p.channel)} as template,
    jsonb_build_object('domain', decided.autofill_domain, 'appHash', decided.android_app_hash) as autofill,
    floor(extract(epoch from decided.expires_at - now()))::int as "lifeLeftSeconds",
    earlier.provider as "heldBy", earlier.state = 'accepted' as "isAccepted"
  from decided join recipients recipient on recipient.id = decided.recipient_id left join live on true left join earlier on true`,
)

export type ClaimOutcome =
  | Claim
  | z.infer<typeof Served>
  /** Nothing may be sent: the request is over, or served in another region. */
  | { verdict: 'over' }
  | z.infer<typeof NotClaimed>

/** Another claim of the request came between the beginning of the statement and its lock; more often than this, none waits. */
const mostLooks = 5

/**
 * Claims a provider call. Its price is reserved and its message is counted by the same statement, so that no call is made
 * that its app's budgets, or its number's window, have no room for.
 * @throws a unique violation when another execution claimed the same try.
 */
export async function claimAttempt(db: Queries, claim: NewClaim): Promise<ClaimOutcome> {
  const { requestId, sendNo, firstSendNo, step, channel, provider, resendSeq, tryNo } = claim
  const { runId, callbackDigest, isTestAccount, isMessage, listDigests, region } = claim
  for (let looks = 1; looks <= mostLooks; looks++) {
    const row = await db.one(
      claimCall({
        ...{ requestId, sendNo, firstSendNo, step, channel, provider, resendSeq, tryNo, runId },
        ...{ callbackDigest, isTestAccount, isMessage, listDigests, region },
        attemptId: randomId('att'),
      }),
    )
    if (!row) return { verdict: 'over' }
    if (row.verdict !== 'outdated') return row
  }
  throw new Error('A request was claimed by others each time that it was looked at.')
}
