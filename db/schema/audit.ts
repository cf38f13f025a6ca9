import { sql } from 'drizzle-orm'
import { bigint, check, index, integer, jsonb, pgTable, text, unique } from 'drizzle-orm/pg-core'
import { otpRequests } from './requests'
import { bytea, at, auditType } from './types'

/** What happened to a request, an app or the installation, in order; rows are only ever added (a trigger holds that). */
export const auditEvents = pgTable(
  'audit_events',
  {
    id: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    /** Null for what was done to an app or to the installation. */
    requestId: text('request_id').references(() => otpRequests.id),
    appId: text('app_id'),
    /** What the row is chained with: its request, else its app, else the installation. */
    chain: text()
      .notNull()
      .generatedAlwaysAs(
        sql`coalesce(request_id, case when app_id is null then 'admin' else 'app:' || app_id end)`,
      ),
    /** From the deciding statement: no gaps, no two alike. */
    sequence: integer().notNull(),
    type: auditType().notNull(),
    actor: text().notNull(),
    runId: text('run_id'),
    attemptId: text('attempt_id'),
    /** Channel, provider, status, error code: never personal data. */
    detail: jsonb().$type<Record<string, string | number | boolean | null>>().notNull(),
    at: at('at')
      .notNull()
      .default(sql`clock_timestamp()`),
  },
  (table) => [
    unique('audit_events_chain_sequence').on(table.chain, table.sequence),
    // For the foreign key: without it, each request that is removed looks through the whole table.
    index('audit_events_request')
      .on(table.requestId)
      .where(sql`request_id is not null`),
    check('audit_events_sequence', sql`sequence > 0`),
    index('audit_events_guesses')
      .on(table.appId, table.at)
      .where(
        sql`type in ('check_rejected', 'locked') and detail ->> 'error_code' = 'INVALID_CODE'`,
      ),
  ],
)

/** The last number given out in the chains of apps and of the installation; a request's own is `audit_seq`. */
export const auditChains = pgTable('audit_chains', {
  chain: text().primaryKey(),
  sequence: integer().notNull(),
})

/** The keyed chain over audit rows: each hash covers the one before it in its chain. */
export const auditSeals = pgTable(
  'audit_seals',
  {
    /** Given out without gaps by the sealer, one at a time. */
    number: bigint({ mode: 'bigint' }).primaryKey(),
    eventId: bigint('event_id', { mode: 'bigint' }).notNull().unique(),
    chain: text().notNull(),
    sequence: integer().notNull(),
    hash: bytea().notNull(),
    kid: text().notNull(),
    sealedAt: at('sealed_at').notNull().defaultNow(),
  },
  (table) => [
    unique().on(table.chain, table.sequence),
    // Rows come in the order of keys: tiny, and enough to tell whether a key is needed.
    index('audit_seals_kid').using('brin', table.kid),
    check('audit_seals_place', sql`number > 0 and sequence > 0`),
  ],
)

/** Rows that wait for their seal: a trigger adds each in its own transaction, so that none is missed, whenever it commits. */
export const auditUnsealed = pgTable('audit_unsealed', {
  eventId: bigint('event_id', { mode: 'bigint' }).primaryKey(),
})

/** How far the signed roots outside of Postgres reach. */
export const auditRoots = pgTable('audit_roots', {
  number: integer().primaryKey(),
  lastSeal: bigint('last_seal', { mode: 'bigint' }).notNull(),
  digest: bytea().notNull(),
  at: at('at').notNull().defaultNow(),
})
