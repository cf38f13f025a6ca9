import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Channel } from '../../core/channel'
import type { Progress } from '../../core/requests/otp-request'
import type { Step } from '../../core/requests/plan'
import { rankOf } from '../../core/delivery/receipt'
import { isStep } from '../../core/shape'
import { type State, states } from '../../core/requests/state'
import { type AuditEntry, auditFrom } from '../audit/entry'
import { closeOverdue, endAs, setState } from './ending'
import { unhealthyProviders } from '../delivery/breakers'
import type { Queries } from '../index'
import { type Named, NoRow, statement } from '../statement'

const readStatement = statement(
  'read_progress',
  z.strictObject({
    state: z.enum(states),
    leaveStep: z.int(),
    resendSeq: z.int(),
    resendStep: z.custom<Step>(isStep).nullable(),
    attempts: z.custom<Progress['attempts']>(Array.isArray).nullable(),
  }),
  (p: Named<{ requestId: string }>) => sql`
  select state, leave_step as "leaveStep", resend_seq as "resendSeq", resend_step as "resendStep",
    (select jsonb_agg(jsonb_build_object('attempt', number, 'step', step, 'status', status,
        'accepted', a.state in ('accepted', 'in_doubt')) order by number)
      from attempts a where a.request_id = r.id) as attempts
  from otp_requests r where id = ${p.requestId}`,
)

/** A run whose request is not in the database has nothing to decide: it fails, and is not tried again. */
class UnknownRequest extends Error {
  override name = 'UnknownRequest'
  constructor() {
    super('This request is not in the database.')
  }
}

/** Where a request stands, for its run. @throws {UnknownRequest} */
export async function readProgress(db: Queries, requestId: string): Promise<Progress> {
  const row = await db.one(readStatement({ requestId }))
  if (!row) throw new UnknownRequest()
  const { resendSeq, resendStep, attempts, ...rest } = row
  return {
    ...rest,
    attempts: attempts ?? [],
    resend: { seq: resendSeq, ...(resendStep ? { step: resendStep } : {}) },
    unhealthy: await unhealthyProviders(db),
  }
}

/** The text of one change of a pending request, with its audit row. */
const changing = (requestId: SQL, changes: SQL, entry: AuditEntry): SQL => sql`
  with changed as (
    update otp_requests set ${changes} where id = ${requestId} and state = 'pending'
    returning id, app_id, audit_seq
  ) ${auditFrom(sql`changed`, entry)}`

interface ByRun {
  requestId: string
  runId: string
}

const nothingAccepted = sql`(case when exists (select from audit_events e
  where e.chain = r.id and e.type = 'budget_refused') then 'budget_exceeded' else 'no_channel_accepted' end)`

const failStatement = statement(
  'fail_nothing_accepted',
  NoRow,
  (p: Named<ByRun>) => sql`
  with ended as (
    update otp_requests r set ${endAs('failed', nothingAccepted)}
    where id = ${p.requestId} and state = 'pending' and not exists (
      select from attempts a where a.request_id = r.id
        and (a.state <> 'refused' or a.status_rank >= ${rankOf.delivered}))
    returning id, app_id, audit_seq, reason
  ) ${auditFrom(sql`ended`, {
    type: 'failed',
    actor: 'worker',
    runId: p.runId,
    detail: sql`jsonb_build_object('reason', reason)`,
  })}`,
)

/** Ends a request of which no provider accepted anything; for want of money, where a call was not made for that. */
export async function failNothingAccepted(
  db: Queries,
  requestId: string,
  runId: string,
): Promise<void> {
  await db.many(failStatement({ requestId, runId }))
}

const cancelStatement = statement('cancel_by_operator', NoRow, (p: Named<ByRun>) =>
  changing(p.requestId, setState('cancelled', 'requested'), {
    type: 'cancelled',
    actor: 'operator',
    runId: p.runId,
    detail: { reason: 'requested' },
  }),
)

/** An operator cancelled the run in Temporal UI: that stops the request, as its own cancel does. */
export async function cancelByOperator(
  db: Queries,
  requestId: string,
  runId: string,
): Promise<void> {
  await db.many(cancelStatement({ requestId, runId }))
}

const lifeStatement = statement(
  'read_life_left',
  z.strictObject({ state: z.enum(states), lifeLeftMs: z.number() }),
  (p: Named<{ requestId: string }>) => sql`
  select state, ceil(extract(epoch from expires_at - clock_timestamp()) * 1000)::float8 as "lifeLeftMs"
  from otp_requests where id = ${p.requestId}`,
)

/**
 * Ends a request if its time is over by the database's clock.
 * @returns its state, and the milliseconds left when the caller's clock was early.
 * @throws {UnknownRequest}
 */
export async function expire(
  db: Queries,
  requestId: string,
): Promise<{ state: State; lifeLeftMs: number }> {
  await closeOverdue(db, requestId, 'worker')
  const row = await db.one(lifeStatement({ requestId }))
  if (!row) throw new UnknownRequest()
  return row
}

const planEndedStatement = statement(
  'record_plan_ended',
  NoRow,
  (p: Named<ByRun>) => sql`
  with told as (
    update otp_requests set plan_ended_at = clock_timestamp(), progress_due_at = null, audit_seq = audit_seq + 1
    where id = ${p.requestId} and state = 'pending' and plan_ended_at is null
    returning id, app_id, audit_seq
  )
  ${auditFrom(sql`told`, {
    type: 'plan_ended',
    actor: 'worker',
    runId: p.runId,
    detail: { error_code: 'ALL_CHANNELS_FAILED', action: 'contact_support' },
  })}`,
)

/** The last step's time is over without success: callers learn it at once, the codes stay valid. */
export async function recordPlanEnded(
  db: Queries,
  requestId: string,
  runId: string,
): Promise<void> {
  await db.many(planEndedStatement({ requestId, runId }))
}

interface SkippedStep extends ByRun {
  step: number
  channel: Channel
}

const skippedStatement = statement('record_skipped', NoRow, (p: Named<SkippedStep>) =>
  changing(
    p.requestId,
    sql`current_step = greatest(current_step, ${p.step}::int), audit_seq = audit_seq + 1`,
    {
      type: 'step_skipped',
      actor: 'worker',
      runId: p.runId,
      detail: sql`jsonb_build_object('step', ${p.step}::int, 'channel', ${p.channel}::text, 'reason', 'not_enough_time')`,
    },
  ),
)

/** A step was passed over because too little life was left for it. */
export async function recordSkipped(
  db: Queries,
  { requestId, step, channel, runId }: SkippedStep,
): Promise<void> {
  await db.many(skippedStatement({ requestId, step, channel, runId }))
}
