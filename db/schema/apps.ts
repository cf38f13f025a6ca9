import { sql } from 'drizzle-orm'
import {
  boolean,
  check,
  index,
  integer,
  pgTable,
  primaryKey,
  smallint,
  text,
} from 'drizzle-orm/pg-core'
import type { Channel } from '../../core/channel'
import { defaultRequestsPerMinute } from '../../core/limits'
import { bytea, at, environmentType, alphabetType } from './types'

/** Tenants: the internal services that start verifications. */
export const apps = pgTable(
  'apps',
  {
    id: text().primaryKey(),
    name: text().notNull(),
    brand: text().notNull(),
    /** Two letters; numbers in national form are accepted only when set. */
    defaultCountry: text('default_country'),
    /** Lifetimes of codes, in seconds. */
    maxExpirySeconds: integer('max_expiry_seconds').notNull().default(300),
    highRiskExpirySeconds: integer('high_risk_expiry_seconds').notNull().default(180),
    codeLength: smallint('code_length').notNull().default(6),
    codeAlphabet: alphabetType('code_alphabet').notNull().default('digits'),
    /** Accept sends as `queued` while Temporal is down, instead of refusing them. */
    queueWhenDown: boolean('queue_when_down').notNull().default(false),
    /** A send without a consent record is refused. */
    consentRequired: boolean('consent_required').notNull().default(false),
    /** New codes get more characters while too many wrong ones are tried across the app. */
    lengthenUnderGuessing: boolean('lengthen_under_guessing').notNull().default(true),
    /** Only processes of this region serve the app; null: any. */
    region: text(),
    /** Counts the changes of its templates. */
    templateRevision: integer('template_revision').notNull().default(0),
    /** Host of the web site that may read codes out of its SMS. */
    autofillDomain: text('autofill_domain'),
    /** Eleven characters by which Android knows the app that may. */
    androidAppHash: text('android_app_hash'),
    /** Channels that a send with a publishable key may name; null: all. */
    pageChannels: text('page_channels').array().$type<Channel[]>(),
    createdAt: at('created_at').notNull().defaultNow(),
  },
  () => [
    check('apps_code_length', sql`code_length between 6 and 10`),
    check(
      'apps_lifetimes',
      sql`max_expiry_seconds between 30 and 600 and high_risk_expiry_seconds between 30 and 600`,
    ),
  ],
)

export const apiKeys = pgTable(
  'api_keys',
  {
    /** The public part of the key. */
    id: text().primaryKey(),
    /** Null: an operator's key, which administers every app and can do nothing else. */
    appId: text('app_id').references(() => apps.id),
    name: text().notNull().default(''),
    digest: bytea().notNull(),
    environment: environmentType().notNull(),
    scopes: text().array().notNull(),
    publishable: boolean().notNull().default(false),
    /** Calls a minute, over all processes. */
    requestsPerMinute: integer('requests_per_minute').notNull().default(defaultRequestsPerMinute),
    /** The key that this one was made to replace. */
    replaces: text(),
    expiresAt: at('expires_at'),
    revokedAt: at('revoked_at'),
    lastUsedAt: at('last_used_at'),
    createdAt: at('created_at').notNull().defaultNow(),
  },
  (table) => [
    index('api_keys_app').on(table.appId, table.createdAt),
    check('api_keys_operator', sql`app_id is not null or scopes = '{admin}'`),
    check('api_keys_publishable', sql`not publishable or scopes <@ '{send,verify}'`),
  ],
)

/** Calls that processes have set aside for a key in one minute; each takes many at a time. */
export const keyQuotas = pgTable(
  'key_quotas',
  {
    keyId: text('key_id').notNull(),
    minute: at('minute').notNull(),
    taken: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.keyId, table.minute] })],
)
