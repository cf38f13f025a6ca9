import { pgTable, text } from 'drizzle-orm/pg-core'
import { at } from './types'

/** When a callback for a whole account was last refused, so that forgeries do not flood the audit. */
export const providerCallbacks = pgTable('provider_callbacks', {
  provider: text().primaryKey(),
  refusedAt: at('refused_at').notNull(),
})
