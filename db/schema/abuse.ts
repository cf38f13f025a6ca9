import { sql } from 'drizzle-orm'
import {
  bigint,
  check,
  doublePrecision,
  index,
  integer,
  jsonb,
  pgTable,
  smallint,
  text,
} from 'drizzle-orm/pg-core'
import type { Finding } from '../../core/protection/rules'
import { apps } from './apps'
import { at, environmentType } from './types'

/** Fading counts of sends by scope (`core/protection/scopes.ts`), as of `at`, in seconds since 1970. */
export const sendStandings = pgTable(
  'send_standings',
  {
    name: text().primaryKey(),
    at: doublePrecision().notNull(),
    pending: doublePrecision().notNull().default(0),
    passed: doublePrecision().notNull().default(0),
    passedHour: doublePrecision('passed_hour').notNull().default(0),
    failed: doublePrecision().notNull().default(0),
    passedDay: doublePrecision('passed_day').notNull().default(0),
    passedEver: doublePrecision('passed_ever').notNull().default(0),
    failedEver: doublePrecision('failed_ever').notNull().default(0),
    failedHour: doublePrecision('failed_hour').notNull().default(0),
    places: integer()
      .array()
      .notNull()
      .default(sql`'{}'`),
  },
  (table) => [index('send_standings_age').using('brin', table.at)],
)

/** The last block of each scope that ever had one; it stands until `until`, infinity: until an operator lifts it. */
export const sendBlocks = pgTable(
  'send_blocks',
  {
    id: text().primaryKey(),
    name: text().notNull().unique(),
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    environment: environmentType().notNull(),
    scope: text().notNull(),
    /** A country or the beginning of a number; null where it would be somebody's address. */
    label: text(),
    rule: text().notNull(),
    asks: text().notNull(),
    /** How often in a row. */
    level: smallint().notNull(),
    since: at('since').notNull(),
    until: at('until').notNull(),
    liftedAt: at('lifted_at'),
    refused: integer().notNull().default(0),
    /** Sends that passed it by a solved challenge. */
    solved: integer().notNull().default(0),
    lastRefusedAt: at('last_refused_at'),
  },
  (table) => [
    index('send_blocks_app').on(table.appId, table.since),
    check('send_blocks_asks', sql`asks in ('block', 'challenge')`),
  ],
)

/** What was decided about each send, and which rule said what. A refused send has no request of its id. */
export const sendDecisions = pgTable(
  'send_decisions',
  {
    id: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    requestId: text('request_id').notNull(),
    recipientId: text('recipient_id'),
    appId: text('app_id').notNull(),
    environment: environmentType().notNull(),
    country: text(),
    at: at('at').notNull(),
    verdict: text().notNull(),
    mode: text().notNull(),
    findings: jsonb().$type<Finding[]>().notNull().default([]),
    /** The rows it was counted in, and its place in its block, until it is known how it ended. */
    scopes: text().array(),
    place: integer(),
    maturesAt: at('matures_at'),
    outcome: text(),
  },
  (table) => [
    index('send_decisions_request').on(table.requestId),
    index('send_decisions_due')
      .on(table.maturesAt)
      .where(sql`matures_at is not null`),
    index('send_decisions_app').on(table.appId, table.at),
    index('send_decisions_verdict').on(table.appId, table.environment, table.verdict, table.id),
    index('send_decisions_recipient')
      .on(table.recipientId, table.environment, table.at)
      .where(sql`recipient_id is not null`),
    index('send_decisions_age').using('brin', table.at),
  ],
)

/** E-mail domains that a code came back from: mails there are not taken for a flood. */
export const emailDomains = pgTable(
  'email_domains',
  {
    /** As the window of mails to it is called, with its digest. */
    name: text().primaryKey(),
    /** Within an hour, the last time. */
    verifiedAt: at('verified_at').notNull(),
  },
  (table) => [index('email_domains_age').on(table.verifiedAt)],
)
