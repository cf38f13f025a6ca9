import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Queries } from '../index'
import { anyLost } from '../events/log'
import { anyUnwanted } from '../events/tries'
import { isLeftOverdue } from '../requests/ending'
import { isUntold } from '../requests/outcomes'
import { isSilent, isUnsignalled } from '../requests/signals'
import { isStale, isUnstarted } from '../requests/starts'
import { type Named, statement } from '../statement'

/** What a crash may leave to be done, in the order in which a sweep does it. */
export const dueKinds = [
  'unstarted',
  'stale',
  'unsignalled',
  'overdue',
  'untold',
  'unwanted',
  'lost',
] as const

export type DueKind = (typeof dueKinds)[number]

interface Params {
  region: string | null
}

const anyRequest = (condition: SQL) => sql`exists (select from otp_requests where ${condition})`

/** Whether there is some of each kind, by the condition of the statement that takes it, and so by its index. */
const isThere: Record<DueKind, (p: Named<Params>) => SQL> = {
  unstarted: ({ region }) => anyRequest(isUnstarted(region)),
  stale: () => anyRequest(isStale),
  unsignalled: () => sql`(${anyRequest(isUnsignalled)} or ${anyRequest(isSilent)})`,
  overdue: () => anyRequest(isLeftOverdue),
  untold: ({ region }) => anyRequest(isUntold(region)),
  unwanted: () => anyUnwanted,
  lost: () => anyLost,
}

const probe = statement(
  'find_due_work',
  z.record(z.enum(dueKinds), z.boolean()),
  (p: Named<Params>) =>
    sql`select ${sql.join(
      dueKinds.map((kind) => sql`${isThere[kind](p)} as ${sql.identifier(kind)}`),
      sql`, `,
    )}`,
)

/**
 * Asks for all kinds of due work at once, so that a system at rest is asked one question and not one for each kind.
 * @param region of this process; undefined: of none
 */
export async function findDueWork(db: Queries, region?: string): Promise<ReadonlySet<DueKind>> {
  const row = await db.one(probe({ region: region ?? null }))
  return new Set(dueKinds.filter((kind) => row?.[kind]))
}
