import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Database, Queries } from './index'
import { type Named, statement } from './statement'

/** The locks of Postgres give `void`, which has no text of its own. */
const LockRow = z.strictObject({ held: z.string() })

const isDatabase = (db: Queries): db is Database => 'transaction' in db

/** Runs `work` in the transaction that `db` is, or in one of its own. */
export const inTransaction = <T>(db: Queries, work: (tx: Queries) => Promise<T>): Promise<T> =>
  isDatabase(db) ? db.transaction(work) : work(db)

/**
 * Holds what these keyed digests stand for until the transaction ends: whoever shares one of them waits. In the order
 * of their numbers, so that two who share several cannot wait for each other.
 */
export async function holdDigests(tx: Queries, digests: readonly Buffer[]): Promise<void> {
  const numbers = digests.map((digest) => digest.readBigInt64BE(0)).sort(ascending)
  await tx.many(holdNumbers({ numbers: `{${numbers.join(',')}}` }))
}

const holdNumbers = statement(
  'hold_numbers',
  LockRow,
  (p: Named<{ numbers: string }>) =>
    sql`select pg_advisory_xact_lock(number)::text as held from unnest(${p.numbers}::bigint[]) number`,
)

const holdStatement = statement(
  'hold_name',
  LockRow,
  (p: Named<{ name: string }>) =>
    sql`select pg_advisory_xact_lock(hashtextextended(${p.name}, 0))::text as held`,
)

/** Holds what `name` stands for until the transaction ends: whoever names the same waits. */
export const holdName = (tx: Queries, name: string): Promise<unknown> =>
  tx.many(holdStatement({ name }))

const ascending = (a: bigint, b: bigint) => (a < b ? -1 : Number(a > b))
