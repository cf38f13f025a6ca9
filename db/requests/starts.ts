import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { startWithinSeconds } from '../../core/limits'
import type { Plan } from '../../core/requests/plan'
import { isPlan } from '../../core/shape'
import { auditFrom } from '../audit/entry'
import { IdRow, type Named, statement } from '../statement'
import { setState } from './ending'
import { progressDueAtStart } from './progress-due'
import type { Queries } from '../index'
import { servedIn } from './region'
import { type Startable, startable } from './new-request'

const markStatement = statement(
  'mark_started',
  IdRow,
  (p: Named<{ requestId: string; runId: string }>) => sql`
  with started as (
    update otp_requests r set workflow_started_at = coalesce(workflow_started_at, clock_timestamp()),
      run_id = ${p.runId}, audit_seq = audit_seq + 1, queued = false,
      progress_due_at = case when attempt_seq = 0 then ${progressDueAtStart(sql`r`)} else progress_due_at end
    where id = ${p.requestId} and reason is distinct from 'not_started' and run_id is null
    returning id, app_id, audit_seq
  ), logged as (${auditFrom(sql`started`, { type: 'started', actor: 'api', runId: p.runId })})
  select id from started`,
)

const startedStatement = statement(
  'find_started',
  IdRow,
  (p: Named<{ requestId: string }>) =>
    sql`select id from otp_requests where id = ${p.requestId} and workflow_started_at is not null`,
)

/**
 * Notes that a request's run has started; harmless when noted before.
 * @returns false when the request was closed as not started meanwhile: the run will find nothing to do.
 */
export async function markStarted(db: Queries, requestId: string, runId: string): Promise<boolean> {
  const first = await db.one(markStatement({ requestId, runId }))
  if (first) return true
  // In a statement of its own: the one above may have waited for the call that was faster, and does not see its work.
  return (await db.one(startedStatement({ requestId }))) !== undefined
}

const queueStatement = statement(
  'mark_queued',
  IdRow,
  (p: Named<{ requestId: string }>) => sql`
  with kept as (
    update otp_requests set queued = true, audit_seq = audit_seq + 1
    where id = ${p.requestId} and state = 'pending' and workflow_started_at is null
    returning id, app_id, audit_seq
  ), noted as (
    update idempotency_keys set outcome = 'queued' where request_id in (select id from kept)
  ), logged as (${auditFrom(sql`kept`, { type: 'queued', actor: 'api' })})
  select id from kept`,
)

/** Keeps a request whose run could not start, for the sweeper to start as long as it lives. */
export const markQueued = async (db: Queries, requestId: string): Promise<boolean> =>
  (await db.one(queueStatement({ requestId }))) !== undefined

const failStatement = statement(
  'fail_not_started',
  IdRow,
  (p: Named<{ requestId: string; actor: string }>) => sql`
  with held as (
    -- A send holds the recipient's window, and then its other ones, before it touches a request, so this does too.
    select w.recipient_id, w.name, w.sends, array(
        select unnest(string_to_array(p, ' ')) from unnest(w.sends, w.partners) as held (t, p)
        where t >= r.created_at) as partners
    from otp_requests r join send_windows w on w.name = concat_ws('|', 'recipient', r.environment, r.recipient_id)
    where r.id = ${p.requestId} for update of w
  ), others as (
    select name from send_windows where name = any((select partners from held)::text[]) order by name for update
  ), ended as (
    update otp_requests set ${setState('failed', 'not_started')}
    where id = ${p.requestId} and state = 'pending' and workflow_started_at is null
      and recipient_id in (select recipient_id from held)
    returning id, app_id, audit_seq, recipient_id, environment, created_at, sends
  ), key_released as (
    delete from idempotency_keys where request_id in (select id from ended)
  ), limit_released as (
    -- As many sends as the request had: its own, and of the later ones the newest.
    update send_windows w set (sends, partners) = (
      select coalesce(array_agg(t order by n), '{}'), coalesce(array_agg(coalesce(p, '') order by n), '{}')
      from unnest(w.sends, w.partners) with ordinality as kept (t, p, n)
      where t <> ended.created_at and t not in (
        select t from unnest(held.sends) t where t > ended.created_at order by t desc limit ended.sends - 1))
    from ended, held where w.name = held.name or w.name in (select name from others)
  ), logged as (${auditFrom(sql`ended`, {
    type: 'failed',
    actor: p.actor,
    detail: { reason: 'not_started' },
  })})
  select id from ended`,
)

/**
 * Ends a request whose run could not start. The same statement gives back the caller's idempotency key and
 * send limit, so that a retry after the outage succeeds.
 * @returns false when the run had started after all, or the request was over.
 */
export const failNotStarted = async (
  db: Queries,
  requestId: string,
  actor: string,
): Promise<boolean> => (await db.one(failStatement({ requestId, actor }))) !== undefined

const isYoung = sql`created_at > now() - make_interval(secs => ${startWithinSeconds})`

/**
 * Of otp_requests: a crash left it unstarted, and it is for a process of this region to start. Younger than 2 s is
 * still the API's business; older than 30 s only a queued one is worth sending.
 */
export const isUnstarted = (region: SQL): SQL => sql`(
  state = 'pending' and workflow_started_at is null and expires_at > now()
  and created_at < now() - interval '2 seconds' and (queued or ${isYoung})
  and (swept_at is null or swept_at < now() - interval '2 seconds') and ${servedIn(region)})`

const takeStatement = statement(
  'take_unstarted',
  z.strictObject({
    requestId: z.string(),
    appId: z.string(),
    country: z.string().nullable(),
    plan: z.custom<Plan>(isPlan),
    expiresAt: z.date(),
    queued: z.boolean(),
  }),
  (p: Named<{ limit: number; region: string | null }>) => sql`
  update otp_requests set swept_at = now() where id in (
    select id from otp_requests where ${isUnstarted(p.region)}
    order by swept_at nulls first, created_at limit ${p.limit} for update skip locked)
  returning id as "requestId", app_id as "appId", country, plan, expires_at as "expiresAt", queued`,
)

/** Takes requests that a crash left unstarted, each for one sweeper only. */
export async function takeUnstarted(
  db: Queries,
  limit: number,
  region?: string,
): Promise<Startable[]> {
  const rows = await db.many(takeStatement({ limit, region: region ?? null }))
  return rows.map((row) => startable(row.appId, row))
}

/** Of otp_requests: unstarted, and too old to be worth a start. */
export const isStale = sql`(state = 'pending' and workflow_started_at is null and not queued
  and created_at < now() - make_interval(secs => ${startWithinSeconds}))`

const staleStatement = statement(
  'find_stale',
  IdRow,
  (p: Named<{ limit: number }>) =>
    sql`select id from otp_requests where ${isStale} limit ${p.limit}`,
)

/** Unstarted and too old to be worth a start. */
export const findStale = async (db: Queries, limit: number): Promise<string[]> =>
  (await db.many(staleStatement({ limit }))).map(({ id }) => id)

const worthStatement = statement(
  'is_worth_starting',
  IdRow,
  (p: Named<{ requestId: string }>) => sql`
  select id from otp_requests where id = ${p.requestId} and state = 'pending' and workflow_started_at is null
    and expires_at > now() and (queued or ${isYoung})`,
)

/** Whether an unstarted request is still worth a start; what {@link takeUnstarted} gave may have waited its turn. */
export const isWorthStarting = async (db: Queries, requestId: string): Promise<boolean> =>
  (await db.one(worthStatement({ requestId }))) !== undefined
