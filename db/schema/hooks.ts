import { sql } from 'drizzle-orm'
import { check, pgTable, text } from 'drizzle-orm/pg-core'
import { apps } from './apps'
import { at, bytea } from './types'

/** Where an app is asked before each of its sends. */
export const preSendHooks = pgTable(
  'pre_send_hooks',
  {
    appId: text('app_id')
      .primaryKey()
      .references(() => apps.id),
    url: text().notNull(),
    /** What becomes of a send that it gives no answer about. */
    onFailure: text('on_failure').notNull(),
    secretCiphertext: bytea('secret_ciphertext').notNull(),
    secretKid: text('secret_kid').notNull(),
    /** Signs beside the new one until the receiver has changed over. */
    previousSecretCiphertext: bytea('previous_secret_ciphertext'),
    previousSecretKid: text('previous_secret_kid'),
    previousSecretUntil: at('previous_secret_until'),
    changedAt: at('changed_at').notNull().defaultNow(),
  },
  () => [check('pre_send_hooks_on_failure', sql`on_failure in ('allow', 'deny', 'challenge')`)],
)
