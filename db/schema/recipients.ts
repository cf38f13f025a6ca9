import { sql } from 'drizzle-orm'
import {
  bigint,
  check,
  index,
  integer,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  unique,
} from 'drizzle-orm/pg-core'
import { apps } from './apps'
import { bytea, at, channelType, recipientKindType, environmentType } from './types'

/** A phone number or e-mail address as one app knows it: encrypted, found by a keyed index. */
export const recipients = pgTable(
  'recipients',
  {
    id: text().primaryKey(),
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    kind: recipientKindType().notNull(),
    index: bytea().notNull(),
    indexKid: text('index_kid').notNull(),
    /** Null once erased; the index is random bytes then. */
    ciphertext: bytea(),
    kid: text().notNull(),
    createdAt: at('created_at').notNull().defaultNow(),
    erasedAt: at('erased_at'),
  },
  (table) => [
    unique().on(table.appId, table.kind, table.index),
    index('recipients_kid').on(table.kid, table.id),
    index('recipients_index_kid').on(table.indexKid, table.id),
    index('recipients_age')
      .on(table.createdAt, table.id)
      .where(sql`erased_at is null`),
    index('recipients_erased')
      .on(table.erasedAt)
      .where(sql`erased_at is not null`),
    check('recipients_erased', sql`(erased_at is null) = (ciphertext is not null)`),
  ],
)

/** When somebody last came back with a code that was sent to a recipient: a test's is none of a real number. */
export const recipientVerifications = pgTable(
  'recipient_verifications',
  {
    recipientId: text('recipient_id')
      .notNull()
      .references(() => recipients.id),
    environment: environmentType().notNull(),
    verifiedAt: at('verified_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.recipientId, table.environment] })],
)

/** Recipients who withdrew their consent: nothing is sent to them until they give it anew. */
export const optOuts = pgTable(
  'opt_outs',
  {
    recipientId: text('recipient_id')
      .notNull()
      .references(() => recipients.id),
    /** Somebody who tries STOP in a test still wants the codes of production. */
    environment: environmentType().notNull(),
    /** `api`, or `inbound:<provider>` for a STOP. */
    source: text().notNull(),
    /** When it was said: for a STOP, the time that its provider signed. */
    at: at('at').notNull().defaultNow(),
    /** When the consent was given that ended it; kept, so that an old STOP that comes again ends nothing. */
    liftedAt: at('lifted_at'),
  },
  (table) => [primaryKey({ columns: [table.recipientId, table.environment] })],
)

/** Messages of people that were acted upon: one that its provider reports again changes nothing. */
export const inboundMessages = pgTable(
  'inbound_messages',
  {
    /** Of the adapter and the message's id. */
    digest: bytea().primaryKey(),
    /** Whom it was about, by their ids: it is kept as long as their withdrawals. */
    recipients: text()
      .array()
      .notNull()
      .default(sql`'{}'`),
    seenAt: at('seen_at').notNull().defaultNow(),
  },
  (table) => [index('inbound_messages_age').on(table.seenAt)],
)

/** Wrong checks of a recipient across requests. */
export const checkBudgets = pgTable(
  'check_budgets',
  {
    /** No foreign key: its check would lock the recipient after the request, and erasure locks them the other way. */
    recipientId: text('recipient_id').notNull(),
    environment: environmentType().notNull(),
    /** Times of wrong checks in the last 24 hours. */
    wrong: timestamp({ withTimezone: true, precision: 6 }).array().notNull(),
    /** Wrong checks since the last right one, or since an operator reset it. */
    consecutive: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.recipientId, table.environment] })],
)

/** Checks that found no request, spread over many rows so that none is hot. */
export const unknownChecks = pgTable(
  'unknown_checks',
  {
    appId: text('app_id').notNull(),
    environment: environmentType().notNull(),
    bucket: smallint().notNull(),
    count: bigint({ mode: 'bigint' }).notNull(),
    lastAt: at('last_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.appId, table.environment, table.bucket] })],
)

/** Solved challenges: each counts once. */
export const spentChallenges = pgTable(
  'spent_challenges',
  {
    id: text().primaryKey(),
    expiresAt: at('expires_at').notNull(),
  },
  (table) => [index('spent_challenges_expiry').on(table.expiresAt)],
)

/** Calls by publishable keys from one peer address, for sliding limits. */
export const addressWindows = pgTable(
  'address_windows',
  {
    /** Keyed digest of the address: IPv4 as it is, IPv6 by its network. */
    index: bytea().notNull(),
    environment: environmentType().notNull(),
    /** `send`, `verify` or `challenge`. */
    kind: text().notNull(),
    calls: timestamp({ withTimezone: true, precision: 6 }).array().notNull(),
    expiresAt: at('expires_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.index, table.environment, table.kind] }),
    index('address_windows_expiry').on(table.expiresAt),
  ],
)

/** The channel that a recipient prefers, as keys of an environment were told. */
export const preferences = pgTable(
  'preferences',
  {
    recipientId: text('recipient_id')
      .notNull()
      .references(() => recipients.id),
    environment: environmentType().notNull(),
    channel: channelType().notNull(),
    updatedAt: at('updated_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.recipientId, table.environment] })],
)

/** Times of the last sends that something has in common, for the sliding limits. */
export const sendWindows = pgTable(
  'send_windows',
  {
    /** Says what: a recipient, a number over all apps, an end user's network, a name of the caller's. Only digests. */
    name: text().primaryKey(),
    /** Where they are those of one recipient. */
    recipientId: text('recipient_id').references(() => recipients.id),
    /** Tests of an integration must not keep the same person from a real code. */
    environment: environmentType().notNull(),
    sends: timestamp({ withTimezone: true, precision: 6 }).array().notNull(),
    /** By send, the other windows that it was counted in, between spaces; only in the recipient's own. */
    partners: text()
      .array()
      .notNull()
      .default(sql`'{}'`),
    expiresAt: at('expires_at').notNull(),
  },
  (table) => [
    index('send_windows_recipient')
      .on(table.recipientId)
      .where(sql`recipient_id is not null`),
    index('send_windows_expiry').using('brin', table.expiresAt),
  ],
)
