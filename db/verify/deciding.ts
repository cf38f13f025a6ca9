import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { type Channel, channels } from '../../core/channel'
import { checkBudget, lateCheckRows } from '../../core/limits'
import { type State, states } from '../../core/requests/state'
import { auditFrom } from '../audit/entry'
import { dueNow, overdueReason, overdueState } from '../requests/ending'
import { outcomeDue } from '../requests/outcomes'
import type { Owner } from '../requests/owner'
import { type Named, statement } from '../statement'
import {
  isLockedForGood,
  secondsToWait,
  secondsToWaitChallenged,
  stillCounted,
} from './check-budgets'

export interface Decision extends Owner {
  id: string
  generation: number
  /** The page whose check it is; null: a check by the request's own id, or by address. */
  page: string | null
  /** The code typed is ours. */
  ours: boolean
  /** A provider says that it is the one it made. */
  theirs: boolean
  solved: boolean
  actor: string
}

export interface Decided {
  requestId: string
  /** Of the request, after the check. */
  state: State
  /** The same as its page has it, where the page's own request was over before. */
  shown: State
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
  /** Until the budget takes a check; null without one. */
  seconds: number | null
  /** The same for a check with a solved challenge. */
  challengedSeconds: number | null
}

const DecidedRow = z.object({
  requestId: z.string(),
  state: z.enum(states),
  shown: z.enum(states),
  channel: z.enum(channels),
  isTest: z.boolean(),
  open: z.boolean(),
  counts: z.boolean(),
  remaining: z.int(),
  dueAt: z.date().nullable(),
  forGood: z.boolean(),
  seconds: z.int().nullable(),
  challengedSeconds: z.int().nullable(),
})

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
    or (not (${isLockedForGood}) and (${secondsToWait} = 0
      or ((select is_solved from locked) and ${secondsToWaitChallenged} = 0)))
  returning b.consecutive`

/** Rows to spread the checks of nobody's code over: so many that two seldom meet. */
const unknownBuckets = 64

const countUnknown = ({ appId, environment }: Named<Owner>): SQL => sql`
  insert into unknown_checks as u (app_id, environment, bucket, count, last_at)
  select ${appId}::text, ${environment}::key_environment, floor(random() * ${unknownBuckets})::int, 1, clock_timestamp()
  where not exists (select from locked)
  on conflict (app_id, environment, bucket) do update set count = u.count + 1, last_at = excluded.last_at`

const ifEnds = (then: SQL, otherwise: SQL) =>
  sql`case when o.next <> o.state then ${then} else ${otherwise} end`

/** What the check leaves of its request; an end wipes the code. */
const columnsAfter = sql`
  checks = r.checks + (o.counts and o.page_id is null)::int,
  state = o.next,
  reason = ${ifEnds(
    sql`case o.next when 'verified' then 'code_matched' when 'locked' then 'too_many_checks'
      else o.overdue_reason end`,
    sql`r.reason`,
  )},
  ended_at = ${ifEnds(sql`clock_timestamp()`, sql`r.ended_at`)},
  code_salt = ${ifEnds(sql`null`, sql`r.code_salt`)},
  guard = ${ifEnds(sql`null`, sql`r.guard`)},
  code_mac = ${ifEnds(sql`null`, sql`r.code_mac`)},
  signal_due_at = ${ifEnds(dueNow, sql`signal_due_at`)},
  outcome_due_at = ${ifEnds(outcomeDue, sql`outcome_due_at`)},
  late_checks = r.late_checks + (o.is_noted and not o.open)::int,
  audit_seq = r.audit_seq + o.is_noted::int + (o.overdue or o.uses_up)::int`

/**
 * One audit row for the check, one before it when it closed the request, one after it when it used the budget up. Of
 * late checks only the first have one.
 */
const auditEntries = sql`
  select id, app_id, audit_seq - is_noted::int as audit_seq, state::text::audit_type as type,
    jsonb_build_object('reason', reason) as detail from decided where overdue
  union all
  select id, app_id, audit_seq - uses_up::int,
    (case when open and not counts then 'check_refused' when counts and state <> 'pending' then state::text
      else 'check_rejected' end)::audit_type,
    case when not open then jsonb_build_object('state', shown)
      when not counts then jsonb_build_object('error_code', case when for_good then 'LOCKED' else 'TOO_MANY_CHECKS' end)
      when state = 'verified' then '{}'
      else jsonb_build_object('error_code', 'INVALID_CODE', 'attempts_remaining', remaining) end
  from decided where is_noted
  union all
  select id, app_id, audit_seq, 'budget_locked', jsonb_build_object('consecutive', ${checkBudget.consecutive}::int)
  from decided where uses_up`

/**
 * The deciding statement, the same for every case. The request's row is locked first, then its page's, then the
 * recipient's budget: parallel checks cannot share one of the five of a code, nor one of a page, nor one of a budget,
 * which is taken from only where the code is open. A page's wrong checks are its own: the fifth ends the page's request
 * and leaves the shared one as it is. A request whose time is over ends here. Without a request, `unknown_checks` counts.
 */
export const decideCheck = statement<Decision, Decided>(
  'decide_check',
  DecidedRow,
  ({ id, generation, page, ours, theirs, solved, actor, appId, environment }) => sql`
  with held as materialized (
    select id, recipient_id, environment, state, checks, unanswered, max_checks,
      late_checks < ${lateCheckRows.max} and coalesce(ended_at, now())
        > now() - make_interval(secs => ${lateCheckRows.withinSeconds}) as has_row_left,
      state = 'pending' and expires_at > now() and code_generation = ${generation}::smallint as is_open,
      state = 'pending' and expires_at <= now() as overdue,
      ${overdueState} as overdue_state, ${overdueReason} as overdue_reason
    from otp_requests where id = ${id}::text for no key update
  ), page as materialized (
    select p.id, p.checks, p.unanswered, p.verified_at, p.ended_at
    from held join page_requests p on p.request_id = held.id where p.id = ${page}::text for no key update of p
  ), counted as materialized (
    select h.*, p.id as page_id, p.verified_at as page_verified_at, p.ended_at as page_ended_at,
      coalesce(p.checks, h.checks) as used, coalesce(p.unanswered, h.unanswered) as unheard
    from held h left join page p on true
  ), locked as materialized (
    select c.*, c.is_open and c.page_ended_at is null and c.used < c.max_checks as open,
      ${theirs}::boolean or (${ours}::boolean and c.used + c.unheard < c.max_checks) as is_right,
      ${solved}::boolean as is_solved,
      case when c.page_verified_at is not null then 'verified'
        when c.page_ended_at is not null and c.used >= c.max_checks then 'locked'
        when c.page_ended_at is not null then 'cancelled' end::request_state as page_state
    from counted c
  ), taken as (${takeFromBudget}), unknown as (${countUnknown({ appId, environment })}), outcome as (
    select l.*, l.open or l.has_row_left as is_noted, t.consecutive is not null and l.open as counts,
      coalesce(l.open and not l.is_right and t.consecutive = ${checkBudget.consecutive}, false) as uses_up,
      coalesce(${isLockedForGood}, false) as for_good, ${secondsToWait} as seconds,
      ${secondsToWaitChallenged} as challenged_seconds,
      case when l.overdue then l.overdue_state
        when t.consecutive is null or not l.open then l.state
        when l.is_right then 'verified'
        when l.page_id is null and l.used + 1 >= l.max_checks then 'locked'
        else l.state end as next
    from locked l left join taken t on true
      left join check_budgets b on b.recipient_id = l.recipient_id and b.environment = l.environment
  ), turned as (
    update page_requests p set checks = p.checks + 1,
      verified_at = case when o.is_right then clock_timestamp() end,
      ended_at = case when o.is_right or o.used + 1 >= o.max_checks then clock_timestamp() end
    from outcome o where p.id = o.page_id and o.counts
  ), decided as (
    update otp_requests r set ${columnsAfter} from outcome o where r.id = o.id
    returning r.id, r.app_id, r.audit_seq, r.state, r.reason, r.plan -> 0 ->> 'channel' as channel, r.test_number,
      o.max_checks - o.used - o.counts::int as remaining, r.signal_due_at, coalesce(o.page_state, r.state) as shown,
      o.open, o.counts, o.overdue, o.uses_up, o.is_noted, o.for_good, o.seconds, o.challenged_seconds
  ), entries as (${auditEntries}
  ), logged as (${auditFrom(sql`entries`, { type: sql`type`, actor, detail: sql`detail` })})
  select id as "requestId", state, shown, channel, test_number as "isTest", open, counts, remaining,
    signal_due_at as "dueAt", for_good as "forGood", seconds, challenged_seconds as "challengedSeconds" from decided`,
)
