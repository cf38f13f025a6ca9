import { sql } from 'drizzle-orm'
import type { Queries } from '..'
import { IdRow, type Named, statement } from '../statement'

/** The row that says which call spent a challenge lies among the challenges, and goes when they do. */
const markOf = (call: string): string => `call:${call}`

const spendStatement = statement(
  'spend_challenge',
  IdRow,
  (p: Named<{ id: string; expiresAt: Date; mark: string | null }>) => sql`
  with spent as (
    insert into spent_challenges (id, expires_at)
    select ${p.id}, ${p.expiresAt}::timestamptz where ${p.expiresAt}::timestamptz > now()
    on conflict (id) do nothing returning id
  ), marked as (
    insert into spent_challenges (id, expires_at)
    select ${p.mark}, ${p.expiresAt}::timestamptz from spent where ${p.mark}::text is not null
    on conflict (id) do update set expires_at = excluded.expires_at
  )
  select id from spent`,
)

const findStatement = statement(
  'find_spent_challenge',
  IdRow,
  (p: Named<{ mark: string }>) =>
    sql`select id from spent_challenges where id = ${p.mark} and expires_at > now()`,
)

/**
 * Spends a solved challenge: of any number of calls at once, one gets true. By the database's clock, so that a row
 * that cleanup took away cannot be spent again.
 * @param spent.call what that one may come again as, see {@link wasSpentBy}
 */
export async function spendChallenge(
  db: Queries,
  { id, expiresAt, call }: { id: string; expiresAt: Date; call?: string | undefined },
): Promise<boolean> {
  const mark = call === undefined ? null : markOf(call)
  return (await db.one(spendStatement({ id, expiresAt, mark }))) !== undefined
}

/** Whether this very call spent a challenge before: an equal one is the same send, made again. */
export async function wasSpentBy(db: Queries, call: string): Promise<boolean> {
  return (await db.one(findStatement({ mark: markOf(call) }))) !== undefined
}
