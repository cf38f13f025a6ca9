import { type SQL, sql } from 'drizzle-orm'
import { alreadySendingSeconds } from '../../core/limits'

const recently = sql`now() - make_interval(secs => ${alreadySendingSeconds})`

/**
 * Whether a message that is never sent would have been begun in the last seconds for the request `r`: the first one of a
 * quiet request, and each that was said to be sent again. Without it, who asks twice would learn that nothing goes out.
 * @param channel by this one; by any when absent
 */
export const claimedQuietly = (channel?: SQL): SQL => {
  const first = channel ? sql` and r.plan -> 0 ->> 'channel' = ${channel}` : sql``
  const later = channel ? sql` and e.detail ->> 'channel' = ${channel}` : sql``
  return sql`((r.quiet and r.created_at > ${recently}${first})
    or exists (select from audit_events e where e.request_id = r.id and e.at > ${recently}
      and e.detail -> 'quiet' = 'true' and (e.type in ('resend_requested', 'next_requested')
        or (e.type = 'repeated' and e.detail ->> 'resend' = 'sent'))${later}))`
}
