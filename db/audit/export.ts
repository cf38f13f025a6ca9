import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'
import { ofServedApps, type Place } from '../requests/region'

/** A sealed row as it leaves the house: with what somebody needs who keeps it elsewhere. */
export interface ExportedRow {
  /** Of the seal: where an export goes on later. */
  number: string
  id: string
  chain: string
  sequence: number
  type: string
  actor: string
  app_id: string | null
  request_id: string | null
  run_id: string | null
  attempt_id: string | null
  detail: Record<string, unknown>
  at: string
  /** Hex. */
  hash: string
  kid: string
}

export interface ExportFilter {
  /** Of this app only. */
  appId?: string | undefined
  /** Of the apps that this process serves, and of the installation. */
  servedBy?: Place | undefined
  from?: Date | undefined
  /** Not included. */
  to?: Date | undefined
  /** Number of the last seal that the caller has. */
  after?: string | undefined
}

/** Looked through at once: few rows of one app may hide among many of others. */
const span = 2_000

/**
 * Sealed rows in the order of their seals, page by page, up to the newest at the beginning. As numbers come without
 * gaps and in order of commit, who goes on after the last one misses none; a row has its seal within a minute.
 */
export async function* exportAudit(
  db: Queries,
  filter: ExportFilter,
): AsyncGenerator<ExportedRow[]> {
  const { after = '0', from } = filter
  // What a root of a minute before covers had been written before that time.
  const bounds = await db.one<{ first: string; last: string }>(sql`
    select greatest(${after}::bigint, (select max(last_seal) from audit_roots where at <= ${from ?? '-infinity'}::timestamptz - interval '1 minute'))::text as first,
      (select coalesce(max(number), 0) from audit_seals)::text as last`)
  const last = BigInt(bounds?.last ?? 0)
  for (let low = BigInt(bounds?.first ?? after); low < last; low += BigInt(span)) {
    const rows = await db.many<ExportedRow>(sql`
      select s.number::text as number, e.id::text as id, e.chain, e.sequence, e.type, e.actor, e.app_id, e.request_id,
        e.run_id, e.attempt_id, e.detail, to_char(e.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
        encode(s.hash, 'hex') as hash, s.kid
      from audit_seals s join audit_events e on e.id = s.event_id
      where s.number > ${String(low)}::bigint and s.number <= ${String(low + BigInt(span))}::bigint
        and s.number <= ${String(last)}::bigint ${conditions(filter)} order by s.number`)
    if (rows.length > 0) yield rows
  }
}

const sealStatement = statement(
  'is_seal_of',
  z.strictObject({ appId: z.string() }),
  (p: Named<{ appId: string; number: string }>) => sql`
  select e.app_id as "appId" from audit_seals s join audit_events e on e.id = s.event_id
  where s.number = ${p.number}::bigint and e.app_id = ${p.appId}`,
)

/** Whether the seal of this number is one of the app's rows. */
export const isSealOf = async (
  db: Queries,
  seal: { appId: string; number: string },
): Promise<boolean> => (await db.one(sealStatement(seal))) !== undefined

const conditions = ({ appId, servedBy, from, to }: ExportFilter): SQL =>
  sql.join([
    appId === undefined ? sql`` : sql` and e.app_id = ${appId}`,
    servedBy === undefined ? sql`` : sql` and ${ofServedApps(sql`e`, servedBy)}`,
    from === undefined ? sql`` : sql` and e.at >= ${from}`,
    to === undefined ? sql`` : sql` and e.at < ${to}`,
  ])
