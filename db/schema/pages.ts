import { index, pgTable, smallint, text } from 'drizzle-orm/pg-core'
import { otpRequests } from './requests'
import { at } from './types'

/** What each page holds of a live request that its publishable send made or joined: an id, and checks of its own. */
export const pageRequests = pgTable(
  'page_requests',
  {
    /** `otp_…`, as a request's. */
    id: text().primaryKey(),
    requestId: text('request_id')
      .notNull()
      .references(() => otpRequests.id),
    /** Those that counted, the right one included. */
    checks: smallint().notNull().default(0),
    unanswered: smallint().notNull().default(0),
    /** The right code came through it. */
    verifiedAt: at('verified_at'),
    /** It ended by itself: verified, out of checks, or cancelled. */
    endedAt: at('ended_at'),
    createdAt: at('created_at').notNull().defaultNow(),
  },
  (table) => [index('page_requests_request').on(table.requestId)],
)
