import { sql } from 'drizzle-orm'
import {
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  unique,
} from 'drizzle-orm/pg-core'
import { apps } from './apps'
import { otpRequests } from './requests'
import { bytea, at, environmentType, eventType, deliveryStateType } from './types'

/** Where an app wants to be told of events. */
export const eventEndpoints = pgTable(
  'event_endpoints',
  {
    id: text().primaryKey(),
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    environment: environmentType().notNull(),
    url: text().notNull(),
    description: text().notNull().default(''),
    /** Null: all of them. */
    types: eventType().array(),
    secretCiphertext: bytea('secret_ciphertext').notNull(),
    secretKid: text('secret_kid').notNull(),
    /** Signs beside the new one until the receiver has changed over. */
    previousSecretCiphertext: bytea('previous_secret_ciphertext'),
    previousSecretKid: text('previous_secret_kid'),
    previousSecretUntil: at('previous_secret_until'),
    disabledAt: at('disabled_at'),
    disabledReason: text('disabled_reason'),
    /** The first failed call since the last one that succeeded. */
    failingSince: at('failing_since'),
    createdAt: at('created_at').notNull().defaultNow(),
    deletedAt: at('deleted_at'),
  },
  (table) => [
    index('event_endpoints_app')
      .on(table.appId, table.environment)
      .where(sql`deleted_at is null`),
  ],
)

/** What apps are told, written by the statement that decided it; no personal data. */
export const events = pgTable(
  'events',
  {
    id: text().primaryKey(),
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    environment: environmentType().notNull(),
    requestId: text('request_id').references(() => otpRequests.id),
    type: eventType().notNull(),
    detail: jsonb().$type<Record<string, string | number | boolean | null>>().notNull(),
    at: at('at').notNull(),
  },
  (table) => [
    unique().on(table.requestId, table.type),
    index('events_app').on(table.appId, table.at, table.id),
    index('events_age').on(table.at),
  ],
)

/** One event on its way to one endpoint. */
export const eventDeliveries = pgTable(
  'event_deliveries',
  {
    id: text().primaryKey(),
    eventId: text('event_id')
      .notNull()
      .references(() => events.id, { onDelete: 'cascade' }),
    endpointId: text('endpoint_id')
      .notNull()
      .references(() => eventEndpoints.id),
    state: deliveryStateType().notNull().default('due'),
    /** How often it was started again; part of the id of the workflow that retries. */
    replays: integer().notNull().default(0),
    tries: integer().notNull().default(0),
    /** The event's own time. */
    createdAt: at('created_at').notNull(),
    dueAt: at('due_at').notNull().defaultNow(),
    /** Being called now. A sender that took it and died leaves it to others after a while. */
    claimedAt: at('claimed_at'),
    deliveredAt: at('delivered_at'),
  },
  (table) => [
    unique().on(table.eventId, table.endpointId),
    index('event_deliveries_due')
      .on(table.endpointId, table.dueAt)
      .where(sql`state = 'due'`),
    index('event_deliveries_retrying')
      .on(table.endpointId, table.dueAt)
      .where(sql`state = 'retrying'`),
    index('event_deliveries_claimed')
      .on(table.endpointId, table.claimedAt)
      .where(sql`claimed_at is not null`),
    index('event_deliveries_endpoint').on(table.endpointId, table.createdAt, table.id),
  ],
)

/** The delivery log: every call made to an endpoint. */
export const eventTries = pgTable(
  'event_tries',
  {
    deliveryId: text('delivery_id')
      .notNull()
      .references(() => eventDeliveries.id, { onDelete: 'cascade' }),
    number: integer().notNull(),
    at: at('at').notNull().defaultNow(),
    milliseconds: integer().notNull(),
    httpStatus: smallint('http_status'),
    /** Why there was no answer, in our own words. */
    fault: text(),
  },
  (table) => [primaryKey({ columns: [table.deliveryId, table.number] })],
)
