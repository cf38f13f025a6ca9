import { type SQL, sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import type { Channel, RecipientKind } from '../../core/channel'
import { lifetime } from '../../core/limits'
import type { State } from '../../core/requests/state'
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

/**
 * Where no index has all that a search asks for, it looks through so many requests at once, more each time since what
 * is asked for is rare then, and goes on for so long, in milliseconds; then the page ends there, however short it is. Else one search for what hardly exists would read
 * everything that an app ever sent.
 */
const spans = { first: 500, grow: 4, most: 20_000 } as const
const patienceMs = 500

/**
 * An app's requests, newest first, page by page; what is overdue is shown as ended, and left to others to close. A page
 * may be shorter than its limit, or empty, though another one follows: `next` says so.
 */
export async function searchRequests(
  db: Queries,
  keyring: Keyring,
  filter: SearchFilter,
): Promise<SearchPage> {
  const { appId, limit } = filter
  const recipient =
    filter.recipient && (await findRecipient(db, keyring, { appId, ...filter.recipient }))
  if (filter.recipient && !recipient) return { rows: [], next: undefined }
  const wanted = { ...filter, recipientId: recipient?.id }
  const end = performance.now() + patienceMs
  const found: FoundRow[] = []
  let after = filter.after
  let span: number = spans.first
  do {
    const last =
      restOf(wanted).length > 0 ? await endOfSpan(db, wanted, { after, span }) : undefined
    found.push(...(await readSpan(db, wanted, { after, last, most: limit + 1 - found.length })))
    const page = found.slice(0, limit)
    const lastRow = page.at(-1)
    if (found.length > limit && lastRow)
      return pageOf(page, { at: lastRow.cursor, id: lastRow.requestId })
    if (!last) return pageOf(page, undefined)
    after = last
    span = Math.min(span * spans.grow, spans.most)
  } while (performance.now() < end)
  return pageOf(found, after)
}

type FoundRow = RequestSummary & { cursor: string }
type Wanted = SearchFilter & { recipientId: string | undefined }

const pageOf = (rows: readonly FoundRow[], next: Position | undefined): SearchPage => ({
  rows: rows.map(({ cursor: _, ...row }) => row),
  next,
})

const cursor = sql`to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
const newestFirst = sql`order by r.created_at desc, r.id desc`

// Neither statement below has a name: the filters make too many combinations for a constant of each, and each is to have
// a plan of its own.

/** The last request of a span; undefined where fewer are left. */
const endOfSpan = (
  db: Queries,
  wanted: Wanted,
  { after, span }: { after: Position | undefined; span: number },
) =>
  db.one<Position>(sql`
    select ${cursor} as at, r.id from otp_requests r
    where ${all([...firstOf(wanted), ...within({ after })])} ${newestFirst} offset ${span - 1} limit 1`)

async function readSpan(
  db: Queries,
  wanted: Wanted,
  { most, ...span }: { after: Position | undefined; last: Position | undefined; most: number },
): Promise<FoundRow[]> {
  const conditions = [...firstOf(wanted), ...restOf(wanted), ...within(span)]
  // Its index holds those that are over; who nobody has closed yet are few, and have an index too.
  const overdue = mayBeOverdue(wanted.state)
    ? sql`union all (select r.id, r.created_at from otp_requests r where ${isOverdue} and ${overdueState} = ${wanted.state}
        and ${all([...firstOf({ ...wanted, state: undefined }), ...restOf({ ...wanted, state: undefined }), ...within(span)])}
        ${newestFirst} limit ${most}) order by created_at desc, id desc limit ${most}`
    : sql``
  return db.many<FoundRow>(sql`
    select r.id as "requestId", r.purpose, r.created_at as "createdAt",
      case when ${isOverdue} then ${overdueState} else r.state end as state,
      case when ${isOverdue} then ${overdueReason} else r.reason end as reason,
      case when ${isOverdue} then r.expires_at else r.ended_at end as "endedAt",
      r.expires_at as "expiresAt", r.delivered_at as "deliveredAt",
      ${channelInProgress} as channel, r.test_number as "isTest", ${verifiedPage} as "verifiedPageId",
      ${cursor} as cursor
    from ((select r.id, r.created_at from otp_requests r where ${all(conditions)} ${newestFirst} limit ${most})
      ${overdue}) found
      join otp_requests r on r.id = found.id ${newestFirst}`)
}

const all = (conditions: readonly SQL[]): SQL => sql.join([...conditions], sql` and `)

const within = ({ after, last }: { after?: Position | undefined; last?: Position | undefined }) => [
  ...(after ? [sql`(r.created_at, r.id) < (${after.at}::timestamptz, ${after.id})`] : []),
  ...(last ? [sql`(r.created_at, r.id) >= (${last.at}::timestamptz, ${last.id})`] : []),
]

/** What has an index that goes from newest to oldest: of state and purpose, one. */
function firstOf(wanted: Wanted): SQL[] {
  const { recipientId, state, createdFrom, createdTo } = wanted
  const by = indexFor(wanted)
  return [
    ownedBy(wanted),
    ...(recipientId === undefined ? [] : [sql`r.recipient_id = ${recipientId}`]),
    ...(createdFrom ? [sql`r.created_at >= ${createdFrom}`] : []),
    ...(createdTo ? [sql`r.created_at < ${createdTo}`] : []),
    ...(state === 'pending' ? [sql`r.created_at > now() - ${longestLife}`] : []),
    ...(by === 'state' ? [sql`r.state = ${state} and r.state <> 'pending'`] : []),
    ...(by === 'purpose' ? [sql`r.purpose = ${wanted.purpose}`] : []),
  ]
}

/** What else is asked for: what is found by the others is held against it. */
function restOf(wanted: Wanted): SQL[] {
  const { state, purpose, channel } = wanted
  const by = indexFor(wanted)
  const ended = state !== undefined && state !== 'pending' && by !== 'state'
  return [
    ...(state === 'pending' ? [sql`r.state = 'pending' and r.expires_at > now()`] : []),
    ...(ended ? [sql`r.state = ${state}`] : []),
    ...(purpose !== undefined && by !== 'purpose' ? [sql`r.purpose = ${purpose}`] : []),
    ...(channel === undefined
      ? []
      : [
          sql`exists (select from attempts a where a.request_id = r.id and a.channel = ${channel})`,
        ]),
  ]
}

/** Most requests have one of these purposes: an index would hold nearly all of them. */
const usualPurposes = ['default', 'publishable']

function indexFor({ recipientId, state, purpose }: Wanted): 'state' | 'purpose' | undefined {
  if (recipientId !== undefined) return undefined
  if (state !== undefined && state !== 'pending') return 'state'
  return purpose !== undefined && !usualPurposes.includes(purpose) ? 'purpose' : undefined
}

/** Longer than any request may live. */
const longestLife = sql`make_interval(secs => ${sql.raw(String(lifetime.max * 2))})`

/** States that a request gets by its time alone. */
const mayBeOverdue = (state: State | undefined): boolean =>
  state === 'failed' || state === 'expired' || state === 'exhausted'
