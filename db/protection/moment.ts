import { type SQL, sql } from 'drizzle-orm'

/**
 * The time a statement goes by: its parameter, for traffic that is replayed, or where that is null the database's clock.
 */
export const momentIn = (at: SQL): SQL => sql`coalesce(${at}::timestamptz, clock_timestamp())`

/** The same in seconds, as counters have it. */
export const secondsIn = (at: SQL): SQL => sql`date_part('epoch', ${momentIn(at)})::float8`
