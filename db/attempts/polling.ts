import { sql } from 'drizzle-orm'
import type { Channel } from '../../core/channel'
import { rankOf } from '../../core/receipt'
import type { Queries } from '../index'
import { servedIn } from '../requests/region'
import type { ReportedAttempt } from './receipts'

/** A provider that may not report is asked after this, and again after each pause, in seconds. */
export const firstPollSeconds = 2
const pollEverySeconds = 5
/** Also after the end: a late report is of use to the record of what the provider achieved. */
const pollAfterEndSeconds = 60

/** A message whose provider has to be asked what became of it. */
export interface PolledMessage {
  attemptId: string
  provider: string
  channel: Channel
  providerMessageId: string
}

/**
 * Takes messages whose turn it is to be asked about, so that no other process asks at the same time. What has come to
 * its end is not asked about again, nor what is over for a while.
 * @param region of this process; undefined: of none
 */
export async function takePolls(
  db: Queries,
  limit: number,
  region: string | undefined,
): Promise<PolledMessage[]> {
  return db.many<PolledMessage>(sql`
    with due as (
      select a.id, a.status_rank < ${rankOf['failed.retryable']} and a.provider_message_id is not null
          and (otp_requests.state = 'pending' or ended_at > now() - make_interval(secs => ${pollAfterEndSeconds})) as asks
      from attempts a join otp_requests on otp_requests.id = a.request_id
      where a.poll_due_at <= now() and ${servedIn(region)} order by a.poll_due_at limit ${limit} for no key update of a skip locked
    ), taken as (
      update attempts a set poll_due_at =
        case when due.asks then clock_timestamp() + make_interval(secs => ${pollEverySeconds}) end
      from due where a.id = due.id
      returning a.id, a.provider, a.channel, a.provider_message_id, due.asks
    )
    select id as "attemptId", provider, channel, provider_message_id as "providerMessageId" from taken where asks`)
}

/** Has a message's turn come at once: somebody who may not be its provider says that there is news of it. */
export async function pollSoon(db: Queries, { id }: Pick<ReportedAttempt, 'id'>): Promise<void> {
  await db.many(
    sql`update attempts set poll_due_at = now() where id = ${id} and poll_due_at > now()`,
  )
}
