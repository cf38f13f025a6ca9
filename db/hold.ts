import { sql } from 'drizzle-orm'
import type { Database, Queries } from './index'

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
  await tx.many(sql`select pg_advisory_xact_lock(number)
    from unnest(${`{${numbers.join(',')}}`}::bigint[]) number`)
}

/** Holds what `name` stands for until the transaction ends: whoever names the same waits. */
export const holdName = (tx: Queries, name: string): Promise<unknown> =>
  tx.many(sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`)

const ascending = (a: bigint, b: bigint) => (a < b ? -1 : Number(a > b))
