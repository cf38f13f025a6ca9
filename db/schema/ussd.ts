import { index, pgTable, primaryKey, smallint, text, timestamp } from 'drizzle-orm/pg-core'
import { attempts } from './requests'
import { at, bytea, successRuleType } from './types'

/** Codes waiting to be dialled for, found by the number's global index for as long as they live. */
export const ussdWindows = pgTable(
  'ussd_windows',
  {
    requestId: text('request_id').notNull(),
    /** The account whose service code shows it. */
    provider: text().notNull(),
    /** The step that a dial counts for, and what that step needs. */
    step: smallint().notNull(),
    success: successRuleType().notNull(),
    /** The attempt that a dial is a receipt of: the last one by this account. Null until there is one. */
    attemptId: text('attempt_id')
      .unique()
      .references(() => attempts.id),
    /** What the user was told to dial; null where an older version opened it. */
    serviceCode: text('service_code'),
    globalIndex: bytea('global_index').notNull(),
    /** How often the code was shown since the last send by this channel. */
    views: smallint().notNull().default(0),
    openedAt: at('opened_at').notNull().defaultNow(),
    expiresAt: at('expires_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.requestId, table.provider] }),
    index('ussd_windows_index').on(table.globalIndex, table.expiresAt),
    index('ussd_windows_expiry').on(table.expiresAt),
  ],
)

/** When a number dialled of late, whatever it dialled. */
export const ussdDials = pgTable(
  'ussd_dials',
  {
    globalIndex: bytea('global_index').primaryKey(),
    dials: timestamp({ withTimezone: true, precision: 6 }).array().notNull(),
    expiresAt: at('expires_at').notNull(),
  },
  (table) => [index('ussd_dials_expiry').on(table.expiresAt)],
)
