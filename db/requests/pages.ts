import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { endingOf, maxJoinedPages } from '../../core/requests/page-request'
import { type Reason, reasons, type State, states } from '../../core/requests/state'
import type { Database, Queries } from '../index'
import { statement } from '../statement'
import type { CommandOutcome } from './command-outcome'
import { cancelRequest } from './commands'
import type { Owner } from './owner'

const PageId = z.object({ id: z.string() })

const insertPage = statement<{ id: string; requestId: string }, { id: string }>(
  'insert_page',
  PageId,
  ({ id, requestId }) =>
    sql`insert into page_requests (id, request_id) values (${id}, ${requestId}) returning id`,
)

/** Gives a page an id of its own over a request that its send made or repeated. The caller holds the request. */
export const addPage = (tx: Queries, page: { id: string; requestId: string }) =>
  tx.one(insertPage(page))

const moveOpenPages = statement<{ from: string; to: string }, { id: string }>(
  'move_pages',
  PageId,
  ({ from, to }) =>
    sql`update page_requests set request_id = ${to} where request_id = ${from} and ended_at is null returning id`,
)

/** Pages that wait for the code of a request wait for that of the one that supersedes it: a stranger may have sent it. */
export const movePages = (tx: Queries, given: { from: string; to: string }) =>
  tx.many(moveOpenPages(given))

const insertJoinedPage = statement<{ id: string; requestId: string }, { id: string }>(
  'insert_joined_page',
  PageId,
  ({ id, requestId }) => sql`
    insert into page_requests (id, request_id) select ${id}, ${requestId}
    where (select count(*) from page_requests where request_id = ${requestId}) < ${maxJoinedPages}
    returning id`,
)

/**
 * As {@link addPage}, for a page whose send has no message of its own.
 * @returns false when the request has as many pages as it may. The caller holds the request, by a statement before
 * this one: so the count is of all of them.
 */
export const joinPage = async (
  tx: Queries,
  page: { id: string; requestId: string },
): Promise<boolean> => (await tx.one(insertJoinedPage(page))) !== undefined

/** The page that the right code of `otp_requests r` came through; null where a back end checked it. */
export const verifiedPage: SQL = sql`(select v.id from page_requests v
  where v.request_id = r.id and v.verified_at is not null)`

/** The tables that find a request by its own id or by that of a page: `otp_requests r`, and `page_requests p`. */
export const requestOrPage = (id: SQL): SQL => sql`(select ${id}::text as id) asked
  left join page_requests p on p.id = asked.id
  join otp_requests r on r.id = coalesce(p.request_id, asked.id)`

/** What of `page_requests p` says how it ended; all null where the id is the request's own. */
export const pageColumns: SQL = sql`p.id as "pageId", p.checks as "pageChecks", p.verified_at as "pageVerifiedAt",
  p.ended_at as "pageEndedAt"`

export interface PageColumns {
  pageId: string | null
  pageChecks: number | null
  pageVerifiedAt: Date | null
  pageEndedAt: Date | null
}

interface Shared {
  state: State
  reason: Reason | null
  endedAt: Date | null
  maxChecks: number
}

/** The ending of what was found, as a page has it where the id is a page's. */
export const endingFound = (row: PageColumns & Shared) =>
  row.pageId === null
    ? row
    : endingOf(
        {
          checks: row.pageChecks ?? 0,
          maxChecks: row.maxChecks,
          verifiedAt: row.pageVerifiedAt,
          endedAt: row.pageEndedAt,
        },
        row,
      )

const FoundPage = z.object({
  pageId: z.string(),
  requestId: z.string(),
  pageChecks: z.int(),
  pageVerifiedAt: z.date().nullable(),
  pageEndedAt: z.date().nullable(),
  state: z.enum(states),
  reason: z.enum(reasons).nullable(),
  endedAt: z.date().nullable(),
  maxChecks: z.int(),
})

const findPageById = statement<{ id: string } & Owner, z.infer<typeof FoundPage>>(
  'find_page',
  FoundPage,
  ({ id, appId, environment }) => sql`
    select ${pageColumns}, r.id as "requestId", r.state, r.reason, r.ended_at as "endedAt", r.max_checks as "maxChecks"
    from page_requests p join otp_requests r on r.id = p.request_id
    where p.id = ${id} and r.app_id = ${appId} and r.environment = ${environment}::key_environment`,
)

/**
 * What a command about an id is about.
 * @returns undefined where the id is no page's; `endedAs` where the page's request is over, whatever the shared one is
 */
export async function findPage(
  db: Queries,
  { requestId: id, appId, environment }: Owner & { requestId: string },
): Promise<{ requestId: string; endedAs?: State } | undefined> {
  const row = await db.one(findPageById({ id, appId, environment }))
  if (!row) return undefined
  const { state } = endingFound(row)
  return { requestId: row.requestId, ...(state !== 'pending' && { endedAs: state }) }
}

const holdShared = statement<{ requestId: string }, { id: string }>(
  'hold_shared_request',
  PageId,
  ({ requestId }) => sql`select id from otp_requests
    where id = ${requestId} and state = 'pending' and expires_at > now() for no key update`,
)

const endPage = statement<{ id: string }, { id: string }>(
  'end_page',
  PageId,
  ({ id }) => sql`update page_requests set ended_at = clock_timestamp()
    where id = ${id} and ended_at is null returning id`,
)

const findOpenPage = statement<{ requestId: string }, { id: string }>(
  'find_open_page',
  PageId,
  ({ requestId }) => sql`select id from page_requests
    where request_id = ${requestId} and ended_at is null limit 1`,
)

/**
 * Stops what a page began. The shared request goes on for as long as another page waits for its code: else whoever sends
 * to a number could end the code of its owner.
 */
export const cancelPage = (
  db: Database,
  { pageId, ...command }: Owner & { pageId: string; requestId: string; actor: string },
): Promise<CommandOutcome> =>
  db.transaction(async (tx) => {
    const { requestId } = command
    const held = await tx.one(holdShared({ requestId }))
    const ended = held && (await tx.one(endPage({ id: pageId })))
    if (ended && (await tx.one(findOpenPage({ requestId })))) return { outcome: 'done' }
    if (ended || !held) return cancelRequest(tx, command)
    const { appId, environment } = command
    const page = await findPage(tx, { appId, environment, requestId: pageId })
    return { outcome: 'ended', state: page?.endedAs ?? 'cancelled' }
  })
