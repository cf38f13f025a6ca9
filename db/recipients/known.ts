import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { knownRecipient } from '../../core/protection/known'
import type { Environment } from '../../core/requests/state'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'

interface RecipientThere {
  recipientId: string
  environment: Environment
}

const { days, unconverted, unconvertedWithin } = knownRecipient
const constant = (value: number) => sql.raw(String(value))

/**
 * Whether a recipient is known in an environment, as a value for a statement: a code came back from it of late, and since
 * then there was no day with so many messages to it that brought none back. Those that are still out count too: whoever
 * completes one code must not have a burst of others pass before the first of them has had its time.
 * For a statement that comes after the one that took the limits, so that it sees every send that was let through before.
 */
export const knownOf = ({
  recipientId,
  environment,
  moment,
}: {
  recipientId: string | SQL
  environment: Environment | SQL
  moment: SQL
}): SQL => sql`exists (
  select from recipient_verifications v where v.recipient_id = ${recipientId}
    and v.environment = ${environment}::key_environment
    and v.verified_at > ${moment} - make_interval(days => ${constant(days)})
    and not exists (
      select from (
        select d.at, lag(d.at, ${constant(unconverted - 1)}) over (order by d.at) as first
        from send_decisions d where d.recipient_id = v.recipient_id and d.environment = v.environment
          and d.at > v.verified_at and d.verdict = 'allowed' and d.outcome is distinct from 'converted') burst
      where burst.at - burst.first <= make_interval(secs => ${constant(unconvertedWithin)})))`

const Row = z.strictObject({ known: z.boolean() })

const readKnown = statement(
  'read_known_recipient',
  Row,
  ({ recipientId, environment, at }: Named<RecipientThere & { at: string | null }>) =>
    sql`select ${knownOf({
      recipientId,
      environment,
      moment: sql`coalesce(${at}::timestamptz, clock_timestamp())`,
    })} as known`,
)

/**
 * Whether a recipient is known in an environment.
 * @param at the time to go by; the database's when absent
 */
export async function isKnown(db: Queries, there: RecipientThere, at?: Date): Promise<boolean> {
  const { recipientId, environment } = there
  const row = await db.one(readKnown({ recipientId, environment, at: at?.toISOString() ?? null }))
  return row?.known === true
}
