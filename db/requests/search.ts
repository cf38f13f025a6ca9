import { sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import type { Channel, RecipientKind } from '../../core/channel'
import type { State } from '../../core/state'
import { overdueReason, overdueState } from './ending'
import { channelInProgress } from './channel-in-progress'
import type { Queries } from '../index'
import { type Owner, ownedBy } from './owner'
import { findRecipient } from '../recipients/recipients'
import { verifiedPage } from './pages'
import type { RequestSummary } from './status'

/** Where a page ends: when its last request was made, in UTC with the microseconds that a Date would drop, and its id. */
interface Position {
  at: string
  id: string
}

export interface SearchFilter extends Owner {
  recipient?: { kind: RecipientKind; value: string } | undefined
  state?: State | undefined
  channel?: Channel | undefined
  purpose?: string | undefined
  createdFrom?: Date | undefined
  createdTo?: Date | undefined
  limit: number
  /** Where the page before ended. */
  after?: Position | undefined
}

export interface SearchPage {
  rows: RequestSummary[]
  /** Undefined on the last page. */
  next: Position | undefined
}

const isOverdue = sql`(r.state = 'pending' and r.expires_at <= now())`

/** An app's requests, newest first, page by page; what is overdue is shown as ended, and left to others to close. */
export async function searchRequests(
  db: Queries,
  keyring: Keyring,
  filter: SearchFilter,
): Promise<SearchPage> {
  const { appId, after } = filter
  const recipient =
    filter.recipient && (await findRecipient(db, keyring, { appId, ...filter.recipient }))
  if (filter.recipient && !recipient) return { rows: [], next: undefined }
  const rows = await db.many<RequestSummary & { cursor: string }>(sql`
    select * from (
      select r.id as "requestId", r.purpose, r.created_at as "createdAt",
        case when ${isOverdue} then ${overdueState} else r.state end as state,
        case when ${isOverdue} then ${overdueReason} else r.reason end as reason,
        case when ${isOverdue} then r.expires_at else r.ended_at end as "endedAt",
        r.expires_at as "expiresAt", r.delivered_at as "deliveredAt",
        ${channelInProgress} as channel, r.test_number as "isTest", ${verifiedPage} as "verifiedPageId",
        to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as cursor
      from otp_requests r where ${conditions(filter, recipient?.id)}
        ${after ? sql`and (r.created_at, r.id) < (${after.at}::timestamptz, ${after.id})` : sql``}
    ) found order by "createdAt" desc, "requestId" desc limit ${filter.limit + 1}`)
  const page = rows.slice(0, filter.limit)
  const last = page.at(-1)
  return {
    rows: page.map(({ cursor: _, ...row }) => row),
    next: rows.length > page.length && last ? { at: last.cursor, id: last.requestId } : undefined,
  }
}

function conditions(filter: SearchFilter, recipientId: string | undefined) {
  return sql.join(
    [
      ownedBy(filter),
      recipientId && sql`r.recipient_id = ${recipientId}`,
      filter.state && stateIs(filter.state),
      filter.purpose && sql`r.purpose = ${filter.purpose}`,
      filter.createdFrom && sql`r.created_at >= ${filter.createdFrom}`,
      filter.createdTo && sql`r.created_at < ${filter.createdTo}`,
      filter.channel &&
        sql`exists (select from attempts a where a.request_id = r.id and a.channel = ${filter.channel})`,
    ].filter((condition) => condition !== undefined && condition !== ''),
    sql` and `,
  )
}

/** Written so that a search for live requests can use their index. */
const stateIs = (state: State) =>
  state === 'pending'
    ? sql`r.state = 'pending' and r.expires_at > now()`
    : sql`(r.state = ${state} or (${isOverdue} and ${overdueState} = ${state}))`
