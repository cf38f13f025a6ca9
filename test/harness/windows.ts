import { setTimeout as pause } from 'node:timers/promises'
import { beforeEach } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { Queries } from '../../db'

/**
 * For tests of what is counted by the minute, hour or day (UTC): each one begins only where so many seconds are left of
 * the window, or else in the next one, so that all that it counts is in one window. 30 seconds at most.
 */
export const withinOne = (window: 'minute' | 'hour', seconds: number, db: () => Queries): void =>
  beforeEach(async () => {
    const row = await db().one<{ left: number }>(sql`
      select extract(epoch from date_trunc(${window}, t) + ${`1 ${window}`}::interval - t)::float8 as left
      from (select clock_timestamp() as t) now`)
    if (row && row.left < seconds) await pause((row.left + 0.1) * 1_000)
  }, 60_000)
