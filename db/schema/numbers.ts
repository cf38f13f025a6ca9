import { sql } from 'drizzle-orm'
import { boolean, check, index, pgTable, smallint, text, uniqueIndex } from 'drizzle-orm/pg-core'
import { apps } from './apps'
import { at, bytea } from './types'

/** Numbers, addresses and places that sends are always, or never, made to or for. */
export const listEntries = pgTable(
  'list_entries',
  {
    id: text().primaryKey(),
    /** Null: of every app, by operators. */
    appId: text('app_id').references(() => apps.id),
    verdict: text().notNull(),
    kind: text().notNull(),
    /** Digits of a prefix, bits of a network: the longer one is the more exact. 0 where there is nothing to compare. */
    length: smallint().notNull(),
    /** Keyed digest of app, kind and value. */
    index: bytea().notNull(),
    indexKid: text('index_kid').notNull(),
    /** The value and the note, encrypted. */
    ciphertext: bytea().notNull(),
    kid: text().notNull(),
    expiresAt: at('expires_at'),
    createdAt: at('created_at').notNull().defaultNow(),
  },
  (table) => [
    uniqueIndex('list_entries_index').on(table.index),
    index('list_entries_app').on(table.appId, table.id),
    index('list_entries_kid').on(table.kid, table.id),
    index('list_entries_index_kid').on(table.indexKid, table.id),
    check('list_entries_verdict', sql`verdict in ('allow', 'block')`),
    check(
      'list_entries_kind',
      sql`kind in ('phone_number', 'prefix', 'country', 'network', 'email', 'domain')`,
    ),
  ],
)

/** Numbers of an app that get a fixed code, and no message. */
export const testNumbers = pgTable(
  'test_numbers',
  {
    id: text().primaryKey(),
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    index: bytea().notNull(),
    indexKid: text('index_kid').notNull(),
    /** The number and its code, encrypted. */
    ciphertext: bytea().notNull(),
    kid: text().notNull(),
    createdAt: at('created_at').notNull().defaultNow(),
  },
  (table) => [
    uniqueIndex('test_numbers_index').on(table.index),
    index('test_numbers_app').on(table.appId, table.id),
  ],
)

/** What an app's look-up account said about a number, for a while; found by a keyed digest alone. */
export const numberLookups = pgTable(
  'number_lookups',
  {
    index: bytea().primaryKey(),
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    /** The account that said it. */
    provider: text().notNull(),
    valid: boolean().notNull(),
    lineType: text('line_type').notNull(),
    /** 0 to 100; null where the account does not say it. */
    riskScore: smallint('risk_score'),
    lookedUpAt: at('looked_up_at').notNull().defaultNow(),
    expiresAt: at('expires_at').notNull(),
  },
  (table) => [index('number_lookups_expiry').on(table.expiresAt)],
)
