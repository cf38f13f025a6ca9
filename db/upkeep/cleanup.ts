import { type SQL, sql } from 'drizzle-orm'
import { isOldDomain } from '../abuse/email-domains'
import { isForgotten } from '../checks/check-budgets'
import { unmatchedKeptFor } from '../attempts/early-receipts'
import { keptFor } from '../requests/idempotency'
import type { Queries } from '../index'

/** What is short-lived, and when a row of it has had its time. */
const outlived: { table: SQL; condition: SQL }[] = [
  { table: sql`spent_challenges`, condition: sql`expires_at < now()` },
  { table: sql`address_windows`, condition: sql`expires_at < now()` },
  { table: sql`key_quotas`, condition: sql`minute < now() - interval '5 minutes'` },
  { table: sql`ussd_windows`, condition: sql`expires_at < now()` },
  { table: sql`ussd_dials`, condition: sql`expires_at < now()` },
  { table: sql`delegated_codes`, condition: sql`expires_at < now()` },
  { table: sql`list_entries`, condition: sql`expires_at < now()` },
  { table: sql`number_lookups`, condition: sql`expires_at < now()` },
  { table: sql`unmatched_receipts`, condition: sql`received_at < now() - ${unmatchedKeptFor}` },
  { table: sql`idempotency_keys`, condition: sql`created_at < now() - ${keptFor}` },
  { table: sql`send_windows`, condition: sql`expires_at < now()` },
  { table: sql`email_domains`, condition: isOldDomain },
  // What was told of them goes with them.
  { table: sql`alerts`, condition: sql`resolved_at < now() - interval '90 days'` },
  { table: sql`app_hours`, condition: sql`hour < now() - interval '60 days'` },
  // Wrong checks in a row are kept until a right one ends the row.
  { table: sql`check_budgets`, condition: isForgotten },
]

/**
 * Deletes rows that have had their time, at most `limit` of each table; a row in use is left for the next time.
 * @returns how many went
 */
export async function deleteOutlived(db: Queries, limit: number): Promise<number> {
  let count = 0
  for (const { table, condition } of outlived) {
    const gone = await db.many(sql`delete from ${table} where ctid in (
      select ctid from ${table} where ${condition} limit ${limit} for update skip locked) returning 1`)
    count += gone.length
  }
  return count
}
