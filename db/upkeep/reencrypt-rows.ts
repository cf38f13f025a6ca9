import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'

export type Reencrypted =
  'recipients' | 'requests' | 'endpoints' | 'hooks' | 'lists' | 'test_numbers'

/** A row that stays where it is until somebody has looked at it. */
export interface Stuck {
  kind: Reencrypted
  id: string
  why: 'unreadable' | 'twin'
}

/** One table's rows under one older key. */
export interface Job {
  kind: Reencrypted
  /** How many rows it has yet to move, {@link countedLeft} at most. */
  count(db: Queries): Promise<number>
  /** Locks the next rows that nobody holds, and moves those that can be opened. */
  move(tx: Queries, page: Page): Promise<Moved>
}
export interface Page {
  after: string
  batch: number
}
export interface Moved {
  /** The last row looked at; undefined when there was none. */
  last: string | undefined
  moved: number
  stuck: Pick<Stuck, 'id' | 'why'>[]
}

/** A page of rows under an older key, for a statement. */
export interface PageParams extends Page {
  olderKid: string
}

const countedLeft = 1_000

/** Counts what is left of a table under an older key. */
export const counting = (
  name: string,
  table: SQL,
  condition: (p: Named<{ olderKid: string }>) => SQL,
) =>
  statement(
    name,
    z.strictObject({ count: z.int() }),
    (p: Named<{ olderKid: string }>) => sql`
    select count(*)::int as count from (select from ${table} where ${condition(p)} limit ${countedLeft}) found`,
  )

/** Opens and seals rows anew; one that cannot be opened is told apart. */
export function renewAll<Row extends { id: string }, Renewed>(
  rows: readonly Row[],
  renew: (row: Row) => Renewed,
): { renewed: Renewed[]; stuck: Moved['stuck'] } {
  const renewed: Renewed[] = []
  const stuck: Moved['stuck'] = []
  for (const row of rows) {
    try {
      renewed.push(renew(row))
    } catch {
      // Tampered with, or under a key that is gone: one such row must not keep the others from moving.
      stuck.push({ id: row.id, why: 'unreadable' })
    }
  }
  return { renewed, stuck }
}
