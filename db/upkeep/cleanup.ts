import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { isOldDomain } from '../protection/email-domains'
import { isForgotten } from '../verify/check-budgets'
import { unmatchedKeptFor } from '../delivery/early-receipts'
import { keptFor } from '../requests/idempotency'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'

/** What is short-lived, and when a row of it has had its time. */
const outlived: Readonly<Record<string, SQL>> = {
  spent_challenges: sql`expires_at < now()`,
  address_windows: sql`expires_at < now()`,
  key_quotas: sql`minute < now() - interval '5 minutes'`,
  ussd_windows: sql`expires_at < now()`,
  ussd_dials: sql`expires_at < now()`,
  delegated_codes: sql`expires_at < now()`,
  list_entries: sql`expires_at < now()`,
  number_lookups: sql`expires_at < now()`,
  unmatched_receipts: sql`received_at < now() - ${unmatchedKeptFor}`,
  idempotency_keys: sql`created_at < now() - ${keptFor}`,
  send_windows: sql`expires_at < now()`,
  email_domains: isOldDomain,
  // What was told of them goes with them.
  alerts: sql`resolved_at < now() - interval '90 days'`,
  app_hours: sql`hour < now() - interval '60 days'`,
  // Wrong checks in a row are kept until a right one ends the row.
  check_budgets: isForgotten,
}

const anyOutlived = statement(
  'find_outlived',
  z.strictObject({ tables: z.array(z.string()) }),
  () =>
    sql`select array_remove(array[${sql.join(
      Object.entries(outlived).map(
        ([table, condition]) => sql`case when exists (
        select from ${sql.identifier(table)} where ${condition}) then ${table} end`,
      ),
      sql`, `,
    )}], null) as tables`,
)

const deletions = new Map(
  Object.entries(outlived).map(([name, condition]) => {
    const table = sql.identifier(name)
    const deletion = statement(
      `delete_outlived_${name}`,
      z.strictObject({ gone: z.int() }),
      (p: Named<{ limit: number }>) => sql`
      with gone as (
        delete from ${table} where ctid in (
          select ctid from ${table} where ${condition} limit ${p.limit} for update skip locked)
        returning 1
      ) select count(*)::int as gone from gone`,
    )
    return [name, deletion] as const
  }),
)

/**
 * Deletes rows that have had their time, at most `limit` of each table; a row in use is left for the next time. Where
 * there are none, that costs one statement.
 * @returns how many went
 */
export async function deleteOutlived(db: Queries, limit: number): Promise<number> {
  const { tables = [] } = (await db.one(anyOutlived({}))) ?? {}
  let count = 0
  for (const table of tables) {
    const deletion = deletions.get(table)
    const row = deletion && (await db.one(deletion({ limit })))
    count += row?.gone ?? 0
  }
  return count
}
