import { sql } from 'drizzle-orm'
import type { Queries } from '../index'

/** How long the oldest started request has waited for its first message to be claimed, in seconds; 0 for none. */
export async function oldestUnclaimedSeconds(db: Queries): Promise<number> {
  const row = await db.one<{ seconds: number }>(sql`
    select coalesce(extract(epoch from now() - min(workflow_started_at)), 0)::float8 as seconds from otp_requests
    where state = 'pending' and attempt_seq = 0 and workflow_started_at is not null`)
  return row?.seconds ?? 0
}
