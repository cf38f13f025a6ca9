import { sql } from 'drizzle-orm'
import type { Channel } from '../../core/channel'
import type { Environment } from '../../core/requests/state'
import type { Queries } from '..'
import { IdRow, type Named, statement } from '../statement'
import type { Price } from '../spending/prices'
import { raiseAlert } from './alerts'

const freshAlert = statement(
  'fresh_price_alert',
  IdRow,
  ({ environment, provider }: Named<{ environment: Environment; provider: string }>) => sql`
    select id from alerts
    where app_id is null and environment = ${environment}::key_environment and rule = 'price' and subject = ${provider}
      and resolved_at is null and last_seen_at > now() - interval '1 minute'`,
)

/**
 * Raises an alert about a price that was too far above the policy's estimate to be believed, once a minute and account
 * at most: where every price is, each report would queue for the alert's row.
 */
export async function alertPrice(
  db: Queries,
  {
    provider,
    channel,
    environment,
    estimate,
    price,
  }: {
    provider: string
    channel: Channel
    environment: Environment
    estimate: string | null
    price: Price
  },
): Promise<void> {
  if (await db.one(freshAlert({ environment, provider }))) return
  await raiseAlert(db, {
    appId: null,
    environment,
    rule: 'price',
    subject: provider,
    severity: 'warning',
    detail: { provider, channel, price: price.amount, estimate, currency: price.currency },
  })
}
