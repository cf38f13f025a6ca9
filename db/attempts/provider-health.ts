import { sql } from 'drizzle-orm'
import type { Queries } from '../index'

/** A provider with this many faults of its own in the window is tried last (integration guide: 5 in 60 s). */
const breaker = { faults: 5, windowSeconds: 60 }

/** Accounts that failed often of late, read from the attempts themselves, so every process sees the same. */
export async function unhealthyProviders(db: Queries): Promise<string[]> {
  const rows = await db.many<{ provider: string }>(sql`
    select provider from attempts
    where fault in ('unavailable', 'throttled', 'in_doubt', 'config')
      and finished_at > now() - make_interval(secs => ${breaker.windowSeconds})
    group by provider having count(*) >= ${breaker.faults}`)
  return rows.map(({ provider }) => provider)
}
