import { type SQL, sql } from 'drizzle-orm'
import type { Queries } from '../index'

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
  table: SQL
  condition: SQL
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

export const texts = (values: readonly (string | null)[]) => sql`${sql.param(values)}::text[]`
export const bytes = (values: readonly (Buffer | null)[]) => sql`${sql.param(values)}::bytea[]`

/** Columns of equal length as the rows `n` of a `from`. */
export const rowsOf = (columns: Record<string, SQL>): SQL =>
  sql`unnest(${sql.join(
    Object.values(columns),
    sql`, `,
  )}) as n(${sql.raw(Object.keys(columns).join(', '))})`
