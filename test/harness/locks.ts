import { sql } from 'drizzle-orm'
import type { Queries } from '../../db'
import { until } from './client'

/** Waits until a statement in this database waits for a row that another transaction holds. */
export const untilLockIsAwaited = (db: Queries): Promise<unknown> =>
  until(
    () =>
      db.one(sql`select from pg_stat_activity
        where wait_event_type = 'Lock' and datname = current_database()`),
    { what: 'the wait for a lock' },
  )
