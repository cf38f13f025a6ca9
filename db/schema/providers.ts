import { sql } from 'drizzle-orm'
import {
  boolean,
  check,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
} from 'drizzle-orm/pg-core'
import { at, channelType, faultType } from './types'

/** When a callback for a whole account was last refused, so that forgeries do not flood the audit. */
export const providerCallbacks = pgTable('provider_callbacks', {
  provider: text().primaryKey(),
  refusedAt: at('refused_at').notNull(),
})

/** What keeps a failing account from being asked; a row where something failed once. */
export const providerBreakers = pgTable(
  'provider_breakers',
  {
    provider: text().notNull(),
    channel: channelType().notNull(),
    open: boolean().notNull().default(false),
    /** Times of the faults that count, while it is closed; emptied when it opens or closes. */
    faults: timestamp({ withTimezone: true, precision: 6 })
      .array()
      .notNull()
      .default(sql`'{}'`),
    /** What opened it, or failed its last probe. */
    fault: faultType(),
    /** Opened by a health ping, so a good ping is proof enough to close it. */
    byPing: boolean('by_ping').notNull().default(false),
    openedAt: at('opened_at'),
    closedAt: at('closed_at'),
    /** While it is open: from when on one call may try whether the account works again. */
    probeAt: at('probe_at'),
    /** The one that tries has until then to say how it went; who finds that over tries in its place. */
    leasedUntil: at('leased_until'),
    /** Names the lease: a probe that comes back after its time decides nothing about the next one. */
    probeNo: integer('probe_no').notNull().default(0),
    /** Probes in a row that failed; the pause grows with them. */
    failedProbes: integer('failed_probes').notNull().default(0),
  },
  (table) => [
    primaryKey({ columns: [table.provider, table.channel] }),
    index('provider_breakers_open')
      .on(table.provider)
      .where(sql`open`),
    check(
      'provider_breakers_times',
      sql`not open or (opened_at is not null and probe_at is not null)`,
    ),
  ],
)

/** The last health ping of an account. */
export const providerPings = pgTable('provider_pings', {
  provider: text().primaryKey(),
  at: at('at').notNull(),
  fault: faultType(),
  /** Pings in a row that failed. */
  failures: integer().notNull(),
  milliseconds: integer().notNull(),
  /** Since when pings have gone as the last one did. */
  since: at('since').notNull(),
})

/** Health pings by hour: what uptime is summed from. */
export const providerPingHours = pgTable(
  'provider_ping_hours',
  {
    hour: at('hour').notNull(),
    provider: text().notNull(),
    good: integer().notNull(),
    bad: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.hour, table.provider] })],
)

/** Counts of something by its name. */
type Counts = Record<string, number>

/** What each account achieved by hour, channel and country, summed from the attempts. */
export const providerHours = pgTable(
  'provider_hours',
  {
    hour: at('hour').notNull(),
    provider: text().notNull(),
    channel: channelType().notNull(),
    /** Two letters; empty where there is none. */
    country: text().notNull(),
    states: jsonb().$type<Counts>().notNull(),
    faults: jsonb().$type<Counts>().notNull(),
    receipts: jsonb().$type<Counts>().notNull(),
    /** `yes` and `no`, of calls that were not refused for the number's own fault. */
    success: jsonb().$type<Counts>().notNull(),
    /** Sums by currency. */
    costs: jsonb().$type<Counts>().notNull(),
    /** Histograms (core/histogram.ts): from the claim to the acceptance, from there to the receipt. */
    acceptMs: jsonb('accept_ms').$type<Counts>().notNull(),
    receiptMs: jsonb('receipt_ms').$type<Counts>().notNull(),
    summedAt: at('summed_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.hour, table.provider, table.channel, table.country] })],
)
