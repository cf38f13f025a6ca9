import { asc, sql } from 'drizzle-orm'
import { z } from 'zod'
import { channels } from '../../core/channel'
import { faults } from '../../core/delivery/fault'
import type { Queries } from '..'
import { providerPings } from '../schema/providers'
import { columns, query, statement } from '../statement'

/** How an account's pings go. */
export type PingStanding = Awaited<ReturnType<typeof readPings>>[number]

const pingsStatement = query('read_pings', (_, db) =>
  db
    .select(
      columns({
        provider: providerPings.provider,
        at: providerPings.at,
        fault: providerPings.fault,
        failures: providerPings.failures,
        milliseconds: providerPings.milliseconds,
        since: providerPings.since,
      }),
    )
    .from(providerPings)
    .orderBy(asc(providerPings.provider)),
)

export const readPings = (db: Queries) => db.many(pingsStatement({}))

const BreakerRow = z.strictObject({
  provider: z.string(),
  channel: z.enum(channels),
  fault: z.enum(faults).nullable(),
  byPing: z.boolean(),
  probeAt: z.date().nullable(),
  failedProbes: z.int(),
  state: z.enum(['closed', 'open', 'half_open']),
  since: z.date().nullable(),
})

/** How a breaker stands. */
export type BreakerStanding = z.infer<typeof BreakerRow>

const breakersStatement = statement(
  'read_breakers',
  BreakerRow,
  () => sql`
    select provider, channel, fault, by_ping as "byPing", probe_at as "probeAt", failed_probes as "failedProbes",
      case when not open then 'closed' when probe_at <= clock_timestamp() then 'half_open' else 'open' end as state,
      case when open then opened_at else closed_at end as since
    from provider_breakers order by provider, channel`,
)

export const readBreakers = (db: Queries): Promise<BreakerStanding[]> =>
  db.many(breakersStatement({}))
