import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { channels } from '../../core/channel'
import { rankOf } from '../../core/delivery/receipt'
import type { Queries } from '..'
import { servedIn } from '../requests/region'
import { type Named, NoRow, statement } from '../statement'
import type { ReportedAttempt } from './receipts'

/** A provider that may not report is asked after this, and again after each pause, in seconds. */
export const firstPollSeconds = 2
const pollEverySeconds = 5
/** Also after the end: a late report is of use to the record of what the provider achieved. */
const pollAfterEndSeconds = 60

const PolledRow = z.strictObject({
  attemptId: z.string(),
  provider: z.string(),
  channel: z.enum(channels),
  providerMessageId: z.string(),
})

/** A message whose provider has to be asked what became of it. */
export type PolledMessage = z.infer<typeof PolledRow>

const takeStatement = statement(
  'take_polls',
  PolledRow,
  (p: Named<{ limit: number; region: string | null }>) => sql`
  with due as (
    select a.id, a.status_rank < ${rankOf['failed.retryable']} and a.provider_message_id is not null
        and (otp_requests.state = 'pending' or ended_at > now() - make_interval(secs => ${pollAfterEndSeconds})) as asks
    from attempts a join otp_requests on otp_requests.id = a.request_id
    where a.poll_due_at <= now() and ${servedIn(p.region)}
    order by a.poll_due_at limit ${p.limit} for no key update of a skip locked
  ), taken as (
    update attempts a set poll_due_at =
      case when due.asks then clock_timestamp() + make_interval(secs => ${pollEverySeconds}) end
    from due where a.id = due.id
    returning a.id, a.provider, a.channel, a.provider_message_id, due.asks
  )
  select id as "attemptId", provider, channel, provider_message_id as "providerMessageId" from taken where asks`,
)

const soonStatement = statement(
  'poll_soon',
  NoRow,
  (p: Named<{ id: string }>) =>
    sql`update attempts set poll_due_at = now() where id = ${p.id} and poll_due_at > now()`,
)

/**
 * Takes messages whose turn it is to be asked about, so that no other process asks at the same time. What has come to
 * its end is not asked about again, nor what is over for a while.
 * @param region of this process; undefined: of none
 */
export const takePolls = (
  db: Queries,
  limit: number,
  region: string | undefined,
): Promise<PolledMessage[]> => db.many(takeStatement({ limit, region: region ?? null }))

/** Has a message's turn come at once: somebody who may not be its provider says that there is news of it. */
export async function pollSoon(db: Queries, { id }: Pick<ReportedAttempt, 'id'>): Promise<void> {
  await db.many(soonStatement({ id }))
}
