import { sql } from 'drizzle-orm'
import type { Channel } from '../../core/channel'
import type { Fault } from '../../core/fault'
import type { Queries } from '../index'

/** How an account's pings go. */
export interface PingStanding {
  provider: string
  at: Date
  fault: Fault | null
  failures: number
  milliseconds: number
  since: Date
}

/** How a breaker stands. */
export interface BreakerStanding {
  provider: string
  channel: Channel
  state: 'closed' | 'open' | 'half_open'
  fault: Fault | null
  byPing: boolean
  since: Date | null
  probeAt: Date | null
  failedProbes: number
}

export const readPings = (db: Queries): Promise<PingStanding[]> =>
  db.many<PingStanding>(
    sql`select provider, at, fault, failures, milliseconds, since from provider_pings order by provider`,
  )

export const readBreakers = (db: Queries): Promise<BreakerStanding[]> =>
  db.many<BreakerStanding>(sql`
    select provider, channel, fault, by_ping as "byPing", probe_at as "probeAt", failed_probes as "failedProbes",
      case when not open then 'closed' when probe_at <= clock_timestamp() then 'half_open' else 'open' end as state,
      case when open then opened_at else closed_at end as since
    from provider_breakers order by provider, channel`)
