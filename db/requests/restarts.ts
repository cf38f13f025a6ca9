import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Plan } from '../../core/requests/plan'
import { isPlan } from '../../core/shape'
import { auditFrom } from '../audit/entry'
import type { Queries } from '../index'
import { type Named, NoRow, statement } from '../statement'
import { type Startable, startable } from './new-request'
import { progressDueAtRestart } from './progress-due'

/** Between two restarts: twice as long each time, so that a run which dies at once costs little. */
const longestPauseSeconds = 60

const RestartRow = z.strictObject({
  requestId: z.string(),
  appId: z.string(),
  country: z.string().nullable(),
  plan: z.custom<Plan>(isPlan),
  expiresAt: z.date(),
  queued: z.boolean(),
})

const takeStatement = statement(
  'take_restart',
  RestartRow,
  (p: Named<{ requestId: string }>) => sql`
  update otp_requests r set restarts = least(restarts + 1, 1000), restarted_at = clock_timestamp(),
    -- Before the start: if that fails, somebody asks for the run again.
    progress_due_at = clock_timestamp()
  where id = ${p.requestId} and state = 'pending' and expires_at > now()
    and (restarted_at is null or restarted_at < clock_timestamp()
      - make_interval(secs => least(2 ^ least(restarts, 10), ${longestPauseSeconds})))
  returning id as "requestId", app_id as "appId", country, plan, expires_at as "expiresAt", queued`,
)

/**
 * Takes a request whose run is gone, to start one that goes on with it; of callers at the same time one gets it.
 * @returns undefined when it is over, or was started again a short while ago
 */
export async function takeRestart(db: Queries, requestId: string): Promise<Startable | undefined> {
  const row = await db.one(takeStatement({ requestId }))
  if (!row) return undefined
  const { input, ...rest } = startable(row.appId, row)
  return { ...rest, input: { ...input, resumed: true } }
}

const noteStatement = statement(
  'note_restarted',
  NoRow,
  (p: Named<{ requestId: string; runId: string }>) => sql`
  with restarted as (
    update otp_requests r set run_id = ${p.runId}, audit_seq = audit_seq + 1, queued = false,
      workflow_started_at = coalesce(workflow_started_at, clock_timestamp()),
      progress_due_at = ${progressDueAtRestart(sql`r`)}
    where id = ${p.requestId} and run_id is distinct from ${p.runId} returning id, app_id, audit_seq
  ) ${auditFrom(sql`restarted`, {
    type: 'started',
    actor: 'sweeper',
    runId: p.runId,
    detail: { resumed: true },
  })}`,
)

/** Writes down that a run goes on with a request whose own was gone. */
export async function noteRestarted(db: Queries, requestId: string, runId: string): Promise<void> {
  await db.many(noteStatement({ requestId, runId }))
}
