import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { type Named, NoRow, statement } from '../statement'
import { dueNow } from './ending'
import type { Queries } from '../index'

const clearStatement = statement(
  'clear_signal_due',
  NoRow,
  (p: Named<{ requestId: string; dueAt: Date; isMissing: boolean }>) => sql`
  -- Dates carry milliseconds, the column microseconds.
  update otp_requests set signal_due_at = null
  where id = ${p.requestId} and date_trunc('milliseconds', signal_due_at) <= ${p.dueAt}::timestamptz
    -- A run that does not exist, or does not yet, has heard nothing.
    and (state <> 'pending' or workflow_started_at is not null and not ${p.isMissing}::boolean)`,
)

/**
 * The run was told of everything committed until `dueAt`, or needs it no more.
 * @param isMissing there is no run: only a request that has ended needs no news then
 */
export async function clearSignalDue(
  db: Queries,
  { requestId, dueAt, isMissing = false }: { requestId: string; dueAt: Date; isMissing?: boolean },
): Promise<void> {
  await db.many(clearStatement({ requestId, dueAt, isMissing }))
}

/** Of otp_requests: its run was not told of something for 2 s. */
export const isUnsignalled = sql`signal_due_at < now() - interval '2 seconds'`

const isLate = sql`progress_due_at < now() - interval '5 seconds'`

/** Of otp_requests: its run has shown nothing for 5 s after it should have. */
export const isSilent = sql`(${isLate} and state = 'pending' and expires_at > now())`

const DueRow = z.strictObject({ requestId: z.string(), dueAt: z.date() })

const takeStatement = statement(
  'take_unsignalled',
  DueRow,
  (p: Named<{ limit: number }>) => sql`
  with unsignalled as (
    select id from otp_requests where ${isUnsignalled}
    order by signal_due_at limit ${p.limit} for update skip locked
  ), overdue as (
    select id from otp_requests where ${isSilent}
    order by progress_due_at limit ${p.limit} for update skip locked
  )
  update otp_requests set signal_due_at = ${dueNow},
    -- Asked again ever more seldom: there may be nothing that it could show.
    progress_due_at = case when ${isLate}
      then now() + greatest(interval '5 seconds', (now() - created_at) / 4) else progress_due_at end
  where id in (select id from unsignalled union all select id from overdue)
  returning id as "requestId", signal_due_at as "dueAt"`,
)

/**
 * Requests whose run was not told of something for 2 s, or has shown nothing for 5 s after it should have; each for one
 * sweeper only. Of both kinds at most `limit`.
 */
export const takeUnsignalled = (db: Queries, limit: number): Promise<z.infer<typeof DueRow>[]> =>
  db.many(takeStatement({ limit }))
