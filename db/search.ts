import { sql } from 'drizzle-orm'
import type { Keyring } from '../codes/keyring'
import type { Channel, RecipientKind } from '../core/channel'
import type { State } from '../core/state'
import { closeOverdue } from './ending'
import type { Queries } from './index'
import { type Owner, ownedBy } from './owner'
import { findRecipient } from './recipients'
import type { RequestSummary } from './status'

export interface SearchFilter extends Owner {
  recipient?: { kind: RecipientKind; value: string } | undefined
  state?: State | undefined
  channel?: Channel | undefined
  purpose?: string | undefined
  createdFrom?: Date | undefined
  createdTo?: Date | undefined
  limit: number
  /** Where the page before ended. */
  after?: { createdAt: string; requestId: string } | undefined
}

export interface SearchPage {
  rows: RequestSummary[]
  /** Undefined on the last page. `createdAt` keeps the microseconds that a Date would drop. */
  next: { createdAt: string; requestId: string } | undefined
}

/** An app's requests, newest first, page by page. */
export async function searchRequests(
  db: Queries,
  keyring: Keyring,
  filter: SearchFilter,
): Promise<SearchPage> {
  const { appId, after } = filter
  const recipient =
    filter.recipient && (await findRecipient(db, keyring, { appId, ...filter.recipient }))
  if (filter.recipient && !recipient) return { rows: [], next: undefined }
  await closeOverdue(db, ownedBy(filter), 'api')
  const rows = await db.many<RequestSummary & { cursor: string }>(sql`
    select * from (
      select r.id as "requestId", r.state, r.reason, r.purpose, r.created_at as "createdAt",
        r.expires_at as "expiresAt", r.ended_at as "endedAt", r.delivered_at as "deliveredAt",
        coalesce((select channel from attempts a where a.request_id = r.id order by number desc limit 1)::text,
          r.plan -> r.current_step::int ->> 'channel') as channel,
        r.created_at::text as cursor
      from otp_requests r where ${conditions(filter, recipient?.id)}
        ${after ? sql`and (r.created_at, r.id) < (${after.createdAt}::timestamptz, ${after.requestId})` : sql``}
    ) found order by "createdAt" desc, "requestId" desc limit ${filter.limit + 1}`)
  const page = rows.slice(0, filter.limit)
  const last = page.at(-1)
  return {
    rows: page.map(({ cursor: _, ...row }) => row),
    next:
      rows.length > page.length && last
        ? { createdAt: last.cursor, requestId: last.requestId }
        : undefined,
  }
}

function conditions(filter: SearchFilter, recipientId: string | undefined) {
  return sql.join(
    [
      ownedBy(filter),
      recipientId && sql`r.recipient_id = ${recipientId}`,
      filter.state && sql`r.state = ${filter.state}`,
      filter.purpose && sql`r.purpose = ${filter.purpose}`,
      filter.createdFrom && sql`r.created_at >= ${filter.createdFrom}`,
      filter.createdTo && sql`r.created_at < ${filter.createdTo}`,
      filter.channel &&
        sql`exists (select from attempts a where a.request_id = r.id and a.channel = ${filter.channel})`,
    ].filter((condition) => condition !== undefined && condition !== ''),
    sql` and `,
  )
}
