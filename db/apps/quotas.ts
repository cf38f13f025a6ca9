import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'

export interface QuotaLease {
  /** Calls that the process may let through; 0: the quota of this minute is spent. */
  granted: number
  /** Calls of the minute that no process has set aside. */
  untaken: number
  /** Until the minute is over, by the database's clock. */
  remainingMs: number
}

const leaseStatement = statement(
  'lease_quota',
  z.strictObject({ taken: z.int().nullable(), remainingMs: z.number() }),
  (p: Named<{ keyId: string; quota: number; share: number }>) => sql`
  with lease as (
    insert into key_quotas as q (key_id, minute, taken)
    select ${p.keyId}, date_trunc('minute', now()), ${p.share}::int where ${p.quota}::int > 0
    on conflict (key_id, minute) do update set taken = q.taken + excluded.taken where q.taken < ${p.quota}::int
    returning taken)
  select (select taken from lease) as taken,
    (extract(epoch from date_trunc('minute', now()) + interval '1 minute' - clock_timestamp()) * 1000)::float8 as "remainingMs"`,
)

/** Sets up to `share` calls aside, of what a key may make in the current minute over all processes. */
export async function leaseQuota(
  db: Queries,
  { keyId, quota, share }: { keyId: string; quota: number; share: number },
): Promise<QuotaLease> {
  // `taken` may pass the quota once, by less than a share: what it passed by is not granted.
  const row = await db.one(leaseStatement({ keyId, quota, share }))
  const { taken = null, remainingMs = 0 } = row ?? {}
  if (taken === null) return { granted: 0, untaken: 0, remainingMs }
  return {
    granted: Math.min(share, quota - (taken - share)),
    untaken: Math.max(quota - taken, 0),
    remainingMs,
  }
}
