import { sql } from 'drizzle-orm'
import { boolean, date, numeric, pgTable, primaryKey, text } from 'drizzle-orm/pg-core'
import { apps } from './apps'

const hours = (name: string) =>
  numeric(name)
    .array()
    .notNull()
    .default(sql`array_fill(0::numeric, array[24])`)

/**
 * What an app spends in a day by UTC, in 24 hours; with live keys and with test keys apart. A trigger on `attempts` moves
 * what was reserved at a call's claim to what was spent (`migrations/0014_money.sql`).
 */
export const spending = pgTable(
  'spending',
  {
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    live: boolean().notNull(),
    /** ISO 4217. */
    currency: text().notNull(),
    day: date().notNull(),
    /** Of calls under way. */
    reserved: hours('reserved'),
    /** Of all others: by the provider's price where it gave one, else by the estimate. */
    spent: hours('spent'),
    /** What the last call was held to, and the least that one cost: alerts go by them. */
    hourLimit: numeric('hour_limit'),
    dayLimit: numeric('day_limit'),
    leastPrice: numeric('least_price'),
  },
  (table) => [
    primaryKey({
      name: 'spending_pk',
      columns: [table.appId, table.live, table.currency, table.day],
    }),
  ],
)
