import { type SQL, sql } from 'drizzle-orm'
import { macMatches, macOfCode, normaliseCode } from '../../codes/code'
import type { Keyring } from '../../codes/keyring'
import { appIndexes } from '../../codes/seal'
import type { Alphabet } from '../../core/alphabet'
import type { Channel, RecipientKind } from '../../core/channel'
import type { Rejection } from '../../core/error-code'
import { answerAfterEndSeconds, checkBudget } from '../../core/limits'
import type { State } from '../../core/state'
import type { Wake } from '../../core/wake'
import { auditFrom } from '../audit/entry'
import {
  giveBackDelegatedCheck,
  releaseDelegatedCheck,
  takeDelegatedCheck,
  type TakenCheck,
} from './delegated-checks'
import { isLockedForGood, secondsToWait, stillCounted } from './check-budgets'
import { dueNow, overdueReason, overdueState } from '../requests/ending'
import { outcomeDue } from '../requests/outcomes'
import type { Queries } from '../index'
import type { Owner } from '../requests/owner'

export interface CheckInput extends Owner {
  /** A purpose given beside a request id must be the request's own. */
  by:
    | { requestId: string; purpose?: string | undefined }
    | { kind: RecipientKind; value: string; purpose: string }
  /** As typed, blanks and hyphens removed. */
  code: string
  actor: string
  /** A challenge was solved for this very check: pauses and the limit of a day do not hold it back. */
  solvedChallenge?: boolean
  /** Asks the providers that made codes of their own, where the code is not ours; `silent` are those that gave no answer. */
  forward?: (check: TakenCheck) => Promise<boolean | { silent: string[] }>
}

export type CheckOutcome =
  | {
      outcome: 'verified'
      requestId: string
      channel: Channel
      /** Of a test number: nobody was sent anything. */
      isTest: boolean
      wake?: Wake | undefined
    }
  | {
      outcome: 'rejected'
      errorCode: Rejection
      requestId?: string | undefined
      attemptsRemaining: number
      wake?: Wake | undefined
    }
  | { outcome: 'locked'; requestId: string }
  /** A provider that made the code gave no answer, or is just answering another check: the code has as many left. */
  | { outcome: 'unanswered'; requestId: string }
  | { outcome: 'busy'; requestId: string }
  /** The recipient's budget is used up; the code was not looked at. `forGood`: until an operator unlocks it. */
  | { outcome: 'held_back'; requestId: string; forGood: boolean; retryAfterSeconds: number }

interface CodeRow {
  id: string
  codeMac: Buffer | null
  codeKid: string
  codeGeneration: number
  codeAlphabet: Alphabet
  /** Some provider made a code of its own for this request. */
  delegated: boolean
}

/**
 * Checks a code: one read, then one statement that decides, counts and audits. Touches Postgres only. It does much the
 * same for a code that is right, wrong, over or of nobody; the little that is left to tell them apart, the route hides.
 * Only where a provider made a code of its own, checks of it are one at a time, and that provider is asked in between
 * where the one given is not ours.
 * @throws {UnknownKey} when the code's key is not known here: never "wrong code".
 */
export async function checkCode(
  db: Queries,
  keyring: Keyring,
  input: CheckInput,
): Promise<CheckOutcome> {
  const row = await findCode(db, keyring, input)
  const typed = macOfCode(
    keyring,
    {
      requestId: row?.id ?? nobody,
      generation: row?.codeGeneration ?? 1,
      // A request that is over has nothing to compare with, and its key may be gone.
      kid: row?.codeMac ? row.codeKid : keyring.active('codes').kid,
    },
    normaliseCode(input.code, row?.codeAlphabet ?? 'digits'),
  )
  const right = macMatches(typed, row?.codeMac ?? null)
  const found = { id: row?.id ?? nobody, generation: row?.codeGeneration ?? 1 }
  if (row?.delegated) return checkDelegated(db, found, right, input)
  return decide(db, found, right, input)
}

type Found = Pick<CodeRow, 'id'> & { generation: number }

async function decide(
  db: Queries,
  found: Found,
  right: boolean,
  input: CheckInput,
): Promise<CheckOutcome> {
  const decided = await db.one<Decided>(decision(found, right, input))
  if (decided) return outcomeOf(decided)
  return { outcome: 'rejected', errorCode: 'NO_ACTIVE_REQUEST', attemptsRemaining: 0 }
}

/** Counts, asks the providers that made codes where it is not ours, and decides by what they say. */
async function checkDelegated(
  db: Queries,
  found: Found,
  right: boolean,
  input: CheckInput,
): Promise<CheckOutcome> {
  const { actor, solvedChallenge = false, forward } = input
  const requestId = found.id
  const taken =
    forward && (await takeDelegatedCheck(db, { requestId, actor, right, solvedChallenge }))
  if (taken === 'busy') return { outcome: 'busy', requestId }
  if (!taken) return decide(db, found, right, input)
  const giveBack = (silent: string[]) => giveBackDelegatedCheck(db, { requestId, silent, actor })
  const answer =
    right ||
    (await forward(taken).catch(async (error: unknown) => {
      await giveBack(taken.codes.map(({ provider }) => provider))
      throw error
    }))
  if (typeof answer === 'object') {
    await giveBack(answer.silent)
    return { outcome: 'unanswered', requestId }
  }
  const outcome = await decide(db, found, answer, input)
  await releaseDelegatedCheck(db, requestId)
  return outcome
}

/** As long as a request id, and none. */
const nobody = `otp_${'0'.repeat(26)}`

function findCode(db: Queries, keyring: Keyring, { by, ...owner }: CheckInput) {
  const columns = sql`r.id, r.code_mac as "codeMac", r.code_kid as "codeKid", r.code_generation as "codeGeneration",
    r.code_alphabet as "codeAlphabet", exists (select from delegated_codes d where d.request_id = r.id) as delegated`
  const own = sql`r.app_id = ${owner.appId} and r.environment = ${owner.environment}`
  if ('requestId' in by) {
    const same = by.purpose === undefined ? sql`` : sql`and r.purpose = ${by.purpose}`
    return db.one<CodeRow>(
      sql`select ${columns} from otp_requests r where r.id = ${by.requestId} and ${own} ${same}`,
    )
  }
  const { appId } = owner
  const indexes = appIndexes(keyring, { appId, ...by }).map(({ index }) => index)
  return db.one<CodeRow>(sql`
    select ${columns} from recipients p join otp_requests r on r.recipient_id = p.id
    where p.app_id = ${appId} and p.kind = ${by.kind} and p.index in ${indexes}
      and ${own} and r.purpose = ${by.purpose}
      and (r.state = 'pending' or r.ended_at > now() - make_interval(secs => ${answerAfterEndSeconds}))
    order by (r.state = 'pending') desc, r.created_at desc limit 1`)
}

interface Decided {
  requestId: string
  /** After the check. */
  state: State
  /** The first of its plan. */
  channel: Channel
  isTest: boolean
  /** The code was waiting to be checked. */
  open: boolean
  /** It was checked: the budget had room. */
  counts: boolean
  remaining: number
  dueAt: Date | null
  forGood: boolean
  seconds: number | null
}

/**
 * The deciding statement, the same for every case. The request's row is locked first, then the recipient's budget:
 * parallel checks cannot share one of the five of a code, nor one of a budget, which is taken from only where
 * the code is open. A request whose time is over ends here. Without a request, `unknown_checks` counts.
 */
const decision = (
  { id, generation }: Found,
  right: boolean,
  { actor, solvedChallenge = false, ...owner }: CheckInput,
): SQL => sql`
  with locked as materialized (
    select id, recipient_id, environment, state, checks, max_checks,
      state = 'pending' and checks < max_checks and expires_at > now() and code_generation = ${generation} as open,
      state = 'pending' and expires_at <= now() as overdue,
      ${overdueState} as overdue_state, ${overdueReason} as overdue_reason,
      ${right}::boolean as is_right, ${solvedChallenge}::boolean as is_solved
    from otp_requests where id = ${id} for no key update
  ), taken as (${takeFromBudget}), unknown as (${countUnknown(owner)}), outcome as (
    select l.*, t.consecutive is not null and l.open as counts,
      coalesce(l.open and not l.is_right and t.consecutive = ${checkBudget.consecutive}, false) as uses_up,
      coalesce(${isLockedForGood}, false) as for_good, ${secondsToWait} as seconds,
      case when l.overdue then l.overdue_state
        when t.consecutive is null or not l.open then l.state
        when l.is_right then 'verified'
        when l.checks + 1 >= l.max_checks then 'locked'
        else l.state end as next
    from locked l left join taken t on true
      left join check_budgets b on b.recipient_id = l.recipient_id and b.environment = l.environment
  ), decided as (
    update otp_requests r set ${columnsAfter} from outcome o where r.id = o.id
    returning r.id, r.app_id, r.audit_seq, r.state, r.reason, r.plan -> 0 ->> 'channel' as channel, r.test_number,
      r.max_checks - r.checks as remaining, r.signal_due_at,
      o.open, o.counts, o.overdue, o.uses_up, o.for_good, o.seconds
  ), entries as (${auditEntries}
  ), logged as (${auditFrom(sql`entries`, { type: sql`type`, actor, detail: sql`detail` })})
  select id as "requestId", state, channel, test_number as "isTest", open, counts, remaining, signal_due_at as "dueAt",
    for_good as "forGood", seconds from decided`

/**
 * Takes one wrong check from the recipient's budget. A right one takes nothing and ends the row of wrong ones. Gives
 * no row where the budget has no room; where the code is not open the row is written as it was.
 */
const takeFromBudget = sql`
  insert into check_budgets as b (recipient_id, environment, wrong, consecutive)
  select recipient_id, environment,
    case when open and not is_right then array[clock_timestamp()] else '{}' end, (open and not is_right)::int
  from locked
  on conflict (recipient_id, environment) do update set
    wrong = ${stillCounted} || case when excluded.consecutive = 1 then array[clock_timestamp()] else '{}' end,
    consecutive = case when (select open and is_right from locked) then 0
      else b.consecutive + excluded.consecutive end
  where (select not open from locked)
    or (not (${isLockedForGood}) and ((select is_solved from locked) or ${secondsToWait} = 0))
  returning b.consecutive`

/** Rows to spread the checks of nobody's code over: so many that two seldom meet. */
const unknownBuckets = 64

const countUnknown = ({ appId, environment }: Owner): SQL => sql`
  insert into unknown_checks as u (app_id, environment, bucket, count, last_at)
  select ${appId}, ${environment}::key_environment, floor(random() * ${unknownBuckets})::int, 1, clock_timestamp()
  where not exists (select from locked)
  on conflict (app_id, environment, bucket) do update set count = u.count + 1, last_at = excluded.last_at`

const ifEnds = (then: SQL, otherwise: SQL) =>
  sql`case when o.next <> o.state then ${then} else ${otherwise} end`

/** What the check leaves of its request; an end wipes the code. */
const columnsAfter = sql`
  checks = r.checks + o.counts::int,
  state = o.next,
  reason = ${ifEnds(
    sql`case o.next when 'verified' then 'code_matched' when 'locked' then 'too_many_checks'
      else o.overdue_reason end`,
    sql`r.reason`,
  )},
  ended_at = ${ifEnds(sql`clock_timestamp()`, sql`r.ended_at`)},
  code_salt = ${ifEnds(sql`null`, sql`r.code_salt`)},
  code_mac = ${ifEnds(sql`null`, sql`r.code_mac`)},
  signal_due_at = ${ifEnds(dueNow, sql`signal_due_at`)},
  outcome_due_at = ${ifEnds(outcomeDue, sql`outcome_due_at`)},
  audit_seq = r.audit_seq + 1 + (o.overdue or o.uses_up)::int`

/** One audit row for the check, one before it when it closed the request, one after it when it used the budget up. */
const auditEntries = sql`
  select id, app_id, audit_seq - 1 as audit_seq, state::text::audit_type as type,
    jsonb_build_object('reason', reason) as detail from decided where overdue
  union all
  select id, app_id, audit_seq - uses_up::int,
    (case when open and not counts then 'check_refused' when counts and state <> 'pending' then state::text
      else 'check_rejected' end)::audit_type,
    case when not open then jsonb_build_object('state', state)
      when not counts then jsonb_build_object('error_code', case when for_good then 'LOCKED' else 'TOO_MANY_CHECKS' end)
      when state = 'verified' then '{}'
      else jsonb_build_object('error_code', 'INVALID_CODE', 'attempts_remaining', remaining) end
  from decided
  union all
  select id, app_id, audit_seq, 'budget_locked', jsonb_build_object('consecutive', ${checkBudget.consecutive}::int)
  from decided where uses_up`

const refusalOf: Record<Exclude<State, 'locked'>, Rejection> = {
  // The deciding statement refused it although its time is not over: a code of another generation.
  pending: 'NO_ACTIVE_REQUEST',
  verified: 'ALREADY_USED',
  expired: 'EXPIRED',
  exhausted: 'EXPIRED',
  cancelled: 'NO_ACTIVE_REQUEST',
  failed: 'NO_ACTIVE_REQUEST',
}

function outcomeOf(decided: Decided): CheckOutcome {
  const { requestId, state, channel, isTest, open, counts, remaining, dueAt, forGood } = decided
  if (open && !counts) {
    // Another check may have taken the last one after this statement's view of the budget.
    const retryAfterSeconds = Math.max(decided.seconds ?? 0, 1)
    return { outcome: 'held_back', requestId, forGood, retryAfterSeconds }
  }
  const wake: Wake | undefined =
    counts && dueAt && (state === 'verified' || state === 'locked')
      ? { requestId, dueAt, signal: state }
      : undefined
  if (counts) {
    if (state === 'verified') return { outcome: 'verified', requestId, channel, isTest, wake }
    const attemptsRemaining = remaining
    return { outcome: 'rejected', errorCode: 'INVALID_CODE', requestId, attemptsRemaining, wake }
  }
  if (state === 'locked') return { outcome: 'locked', requestId }
  return { outcome: 'rejected', errorCode: refusalOf[state], requestId, attemptsRemaining: 0 }
}
