import { type SQL, sql } from 'drizzle-orm'

/** The time a statement goes by: the database's clock, or that of traffic that is replayed. */
export const momentOf = (at: Date | undefined): SQL =>
  at === undefined ? sql`clock_timestamp()` : sql`${at.toISOString()}::timestamptz`

/** The same in seconds, as counters have it. */
export const secondsOf = (at: Date | undefined): SQL =>
  sql`date_part('epoch', ${momentOf(at)})::float8`
