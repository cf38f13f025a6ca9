import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { type Reason, type State, states } from '../../core/requests/state'
import { auditFrom } from '../audit/entry'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'
import { outcomeDue } from './outcomes'

/**
 * The mark of news for a run. Later than every mark before it, by the millisecond that a Date keeps, so that clearing
 * an older one never clears this.
 */
export const dueNow = sql`greatest(clock_timestamp(), signal_due_at + interval '1 millisecond')`

/** What the end of a request sets beside its state: salt and MAC go, so the code is gone for good. */
const endColumns = sql`ended_at = clock_timestamp(), code_salt = null, code_mac = null, guard = null,
  audit_seq = audit_seq + 1,
  signal_due_at = ${dueNow}, progress_due_at = null, outcome_due_at = ${outcomeDue}`

export const setState = (state: State, reason: Reason): SQL => endAs(state, sql`${reason}`)

/** The same for a reason that the statement itself finds out. */
export const endAs = (state: State, reason: SQL): SQL =>
  sql`state = ${state}::request_state, reason = ${reason}::request_reason, ${endColumns}`

/** The state that a request gets when its time is over. */
export const overdueState = sql`(case when workflow_started_at is null then 'failed'
  when succeeded_at is not null then 'expired' else 'exhausted' end)::request_state`
export const overdueReason = sql`(case when workflow_started_at is null then 'not_started'
  when succeeded_at is not null then 'lifetime_over' else 'no_step_succeeded' end)::request_reason`

/** Of otp_requests: the ids and states that {@link endingOverdue} gives. */
export const OverdueRow = z.strictObject({ id: z.string(), state: z.enum(states) })

/**
 * The statement that ends requests whose time is over, by the database's clock. Every read and write that meets an
 * overdue row runs it, or sees through it, so none outlives its expiry because a process was down.
 * @param which a condition on `otp_requests`
 */
export const endingOverdue = (which: SQL, actor: SQL | string): SQL => sql`
  with ended as (
    update otp_requests set state = ${overdueState}, reason = ${overdueReason}, ${endColumns}
    where ${which} and state = 'pending' and expires_at <= now()
    returning id, app_id, audit_seq, state, reason
  ), logged as (${auditFrom(sql`ended`, {
    type: sql`state::text::audit_type`,
    actor,
    detail: sql`jsonb_build_object('reason', reason)`,
  })})
  select id, state from ended`

const closeStatement = statement(
  'close_overdue',
  OverdueRow,
  (p: Named<{ requestId: string; actor: string }>) =>
    endingOverdue(sql`id = ${p.requestId}`, p.actor),
)

/** Ends a request if its time is over. */
export async function closeOverdue(db: Queries, requestId: string, actor: string): Promise<void> {
  await db.many(closeStatement({ requestId, actor }))
}

/** The run itself ends a request in time; the sweeper only what no run ended. */
const graceSeconds = 2

/** Of otp_requests: its time is over, and no run has ended it. */
export const isLeftOverdue = sql`(state = 'pending'
  and expires_at < now() - make_interval(secs => ${graceSeconds}))`

const sweepStatement = statement('close_left_overdue', OverdueRow, (p: Named<{ limit: number }>) =>
  endingOverdue(
    sql`id in (select id from otp_requests where ${isLeftOverdue} limit ${p.limit} for update skip locked)`,
    'sweeper',
  ),
)

/** Ends what no run has ended, at most `limit` requests; each for one sweeper only. */
export const closeLeftOverdue = (
  db: Queries,
  limit: number,
): Promise<z.infer<typeof OverdueRow>[]> => db.many(sweepStatement({ limit }))
