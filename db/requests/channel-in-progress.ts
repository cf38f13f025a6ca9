import { sql } from 'drizzle-orm'

/**
 * The latest call's channel, or that of the step which is next to be claimed; for `otp_requests r`. A dial before its
 * step's turn (a number below zero) is no call: what is sent again is what was sent.
 */
export const channelInProgress = sql`coalesce(
  (select channel from attempts a where a.request_id = r.id and a.send_no > 0 order by number desc limit 1)::text,
  r.plan -> r.current_step::int ->> 'channel')`
