import { type SQL, sql } from 'drizzle-orm'

/** The time a statement goes by: the database's clock, or that of traffic that is replayed. */
export const momentOf = (at: Date | undefined): SQL =>
  at === undefined ? sql`clock_timestamp()` : sql`${at.toISOString()}::timestamptz`

/** As {@link momentOf}, of a statement's parameter that is null for the database's clock. */
export const momentIn = (at: SQL): SQL => sql`coalesce(${at}::timestamptz, clock_timestamp())`

export const secondsIn = (at: SQL): SQL => sql`date_part('epoch', ${momentIn(at)})::float8`
