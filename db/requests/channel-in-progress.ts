import { sql } from 'drizzle-orm'

/** The latest attempt's channel, or that of the step which is next to be claimed; for `otp_requests r`. */
export const channelInProgress = sql`coalesce(
  (select channel from attempts a where a.request_id = r.id order by number desc limit 1)::text,
  r.plan -> r.current_step::int ->> 'channel')`
