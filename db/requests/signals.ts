import { sql } from 'drizzle-orm'
import { dueNow } from './ending'
import type { Queries } from '../index'

/** The run was told of everything committed until `dueAt`, or needs it no more. */
export async function clearSignalDue(
  db: Queries,
  { requestId, dueAt }: { requestId: string; dueAt: Date },
): Promise<void> {
  // Dates carry milliseconds, the column microseconds.
  await db.many(sql`update otp_requests set signal_due_at = null
    where id = ${requestId} and date_trunc('milliseconds', signal_due_at) <= ${dueAt}
      -- A run that does not exist yet has heard nothing.
      and (workflow_started_at is not null or state <> 'pending')`)
}

/** Requests whose run was not told of something for 2 s, each for one sweeper only. */
export async function takeUnsignalled(
  db: Queries,
  limit: number,
): Promise<{ requestId: string; dueAt: Date }[]> {
  return db.many<{ requestId: string; dueAt: Date }>(sql`
    update otp_requests set signal_due_at = ${dueNow} where id in (
      select id from otp_requests
      where signal_due_at < now() - interval '2 seconds'
      order by signal_due_at limit ${limit} for update skip locked)
    returning id as "requestId", signal_due_at as "dueAt"`)
}
