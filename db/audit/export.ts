import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'
import { ofServedApps, type Place } from '../requests/region'

const ExportedRow = z.strictObject({
  /** Of the seal: where an export goes on later. */
  number: z.string(),
  id: z.string(),
  chain: z.string(),
  sequence: z.int(),
  type: z.string(),
  actor: z.string(),
  app_id: z.string().nullable(),
  request_id: z.string().nullable(),
  run_id: z.string().nullable(),
  attempt_id: z.string().nullable(),
  detail: z.record(z.string(), z.unknown()),
  at: z.string(),
  /** Hex. */
  hash: z.string(),
  kid: z.string(),
})

/** A sealed row as it leaves the house: with what somebody needs who keeps it elsewhere. */
export type ExportedRow = z.infer<typeof ExportedRow>

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

const boundsStatement = statement(
  'find_export_bounds',
  z.strictObject({ first: z.string(), last: z.string() }),
  (p: Named<{ after: string; from: Date | null }>) => sql`
    select greatest(${p.after}::bigint, (select max(last_seal) from audit_roots
        where at <= coalesce(${p.from}::timestamptz, '-infinity') - interval '1 minute'))::text as first,
      (select coalesce(max(number), 0) from audit_seals)::text as last`,
)

interface PageParams {
  /** The numbers of a page: above the first, up to the second. */
  above: string
  upTo: string
  appId: string | null
  isRegional: boolean
  region: string | null
  from: Date | null
  to: Date | null
}

const pageStatement = statement(
  'export_audit',
  ExportedRow,
  (p: Named<PageParams>) => sql`
      select s.number::text as number, e.id::text as id, e.chain, e.sequence, e.type, e.actor, e.app_id, e.request_id,
        e.run_id, e.attempt_id, e.detail, to_char(e.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
        encode(s.hash, 'hex') as hash, s.kid
      from audit_seals s join audit_events e on e.id = s.event_id
      where s.number > ${p.above}::bigint and s.number <= ${p.upTo}::bigint
        and (${p.appId}::text is null or e.app_id = ${p.appId})
        and (not ${p.isRegional}::boolean or ${ofServedApps(sql`e`, p.region)})
        and (${p.from}::timestamptz is null or e.at >= ${p.from}::timestamptz)
        and (${p.to}::timestamptz is null or e.at < ${p.to}::timestamptz)
      order by s.number`,
)

/**
 * Sealed rows in the order of their seals, page by page, up to the newest at the beginning. As numbers come without
 * gaps and in order of commit, who goes on after the last one misses none; a row has its seal within a minute.
 */
export async function* exportAudit(
  db: Queries,
  filter: ExportFilter,
): AsyncGenerator<ExportedRow[]> {
  const { after = '0', appId = null, servedBy, from = null, to = null } = filter
  // What a root of a minute before covers had been written before that time.
  const bounds = await db.one(boundsStatement({ after, from }))
  const last = BigInt(bounds?.last ?? 0)
  for (let low = BigInt(bounds?.first ?? after); low < last; low += BigInt(span)) {
    const high = low + BigInt(span)
    const rows = await db.many(
      pageStatement({
        above: String(low),
        upTo: String(high < last ? high : last),
        ...{
          appId,
          isRegional: servedBy !== undefined,
          region: servedBy?.region ?? null,
          from,
          to,
        },
      }),
    )
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
