import { sql } from 'drizzle-orm'
import {
  bigint,
  check,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  uniqueIndex,
} from 'drizzle-orm/pg-core'
import type { AlertDetail } from '../../core/alerts/rule'
import { apps } from './apps'
import { at, environmentType } from './types'

/** What each app's sends came to by hour and country: what alerts are judged by. */
export const appHours = pgTable(
  'app_hours',
  {
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    environment: environmentType().notNull(),
    /** Two letters; empty where there is none. */
    country: text().notNull(),
    hour: at('hour').notNull(),
    /** Decisions by verdict. */
    sends: integer().notNull(),
    challenged: integer().notNull(),
    blocked: integer().notNull(),
    /** Requests that had the time for a message to arrive, and those whose message did. */
    due: integer().notNull(),
    reached: integer().notNull(),
    /** Requests whose code had its time, and those whose code came back. */
    matured: integer().notNull(),
    converted: integer().notNull(),
    locked: integer().notNull(),
    summedAt: at('summed_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.appId, table.environment, table.country, table.hour] }),
    index('app_hours_hour').on(table.hour),
  ],
)

/** What people are to know of; of each (app, environment, rule, subject) one is open at a time. */
export const alerts = pgTable(
  'alerts',
  {
    id: text().primaryKey(),
    /** Null: the installation. */
    appId: text('app_id').references(() => apps.id),
    environment: environmentType().notNull(),
    rule: text().notNull(),
    subject: text().notNull(),
    severity: text().notNull(),
    detail: jsonb().$type<AlertDetail>().notNull(),
    /** How often it was found. */
    count: integer().notNull().default(1),
    openedAt: at('opened_at').notNull(),
    lastSeenAt: at('last_seen_at').notNull(),
    /** Evaluations in a row that found it over, and the last of them. */
    noFinding: smallint('no_finding').notNull().default(0),
    noFindingAt: at('no_finding_at'),
    remindedAt: at('reminded_at').notNull(),
    acknowledgedAt: at('acknowledged_at'),
    acknowledgedBy: text('acknowledged_by'),
    resolvedAt: at('resolved_at'),
  },
  (table) => [
    uniqueIndex('alerts_open')
      .on(sql`coalesce(app_id, '')`, table.environment, table.rule, table.subject)
      .where(sql`resolved_at is null`),
    index('alerts_age').on(table.openedAt, table.id),
    index('alerts_app').on(table.appId, table.openedAt, table.id),
    check('alerts_severity', sql`severity in ('warning', 'critical')`),
  ],
)

/** Messages to people about alerts, until they went out or were given up. */
export const alertNotices = pgTable(
  'alert_notices',
  {
    id: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    alertId: text('alert_id')
      .notNull()
      .references(() => alerts.id, { onDelete: 'cascade' }),
    kind: text().notNull(),
    at: at('at').notNull(),
    /** Null: done. */
    dueAt: at('due_at'),
    tries: smallint().notNull().default(0),
    /** Receivers, by name, that have it. */
    toldTo: text('told_to')
      .array()
      .notNull()
      .default(sql`'{}'`),
    /** Why the last try failed, in our own words. */
    fault: text(),
  },
  (table) => [
    index('alert_notices_alert').on(table.alertId),
    index('alert_notices_due')
      .on(table.dueAt)
      .where(sql`due_at is not null`),
  ],
)
