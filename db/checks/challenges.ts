import { sql } from 'drizzle-orm'
import type { Queries } from '../index'

/**
 * Spends a solved challenge: of any number of calls at once, one gets true. By the database's clock, so that a row
 * that cleanup took away cannot be spent again.
 */
export async function spendChallenge(
  db: Queries,
  { id, expiresAt }: { id: string; expiresAt: Date },
): Promise<boolean> {
  const spent = await db.one(sql`
    insert into spent_challenges (id, expires_at)
    select ${id}, ${expiresAt}::timestamptz where ${expiresAt}::timestamptz > now()
    on conflict (id) do nothing returning id`)
  return spent !== undefined
}
