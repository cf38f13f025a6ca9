import { blameOf } from '../core/delivery/breaker'
import { faults } from '../core/delivery/fault'
import { percentile } from '../core/histogram'
import {
  readProviderHours,
  readUptime,
  type RouteRecord,
  type Uptime,
} from '../db/delivery/provider-hours'
import {
  type BreakerStanding,
  type PingStanding,
  readBreakers,
  readPings,
} from '../db/delivery/provider-standing'
import type { Queries } from '../db/index'
import type { ProviderAccount } from '../providers/provider'
import type { ProvidersAnswer } from './contract/providers'

type Provider = ProvidersAnswer['providers'][number]
type Account = Pick<ProviderAccount, 'name' | 'adapter' | 'channels' | 'test' | 'region'>

const hourMs = 3_600_000

interface Seen {
  pings: PingStanding[]
  breakers: BreakerStanding[]
  routes: RouteRecord[]
  uptimes: Uptime[]
}

/**
 * How each account does now and did in the last hours: those that are set up first, then those that only the record
 * or a ping knows of, as a process with other variables has them.
 */
export async function reportProviders(
  db: Queries,
  accounts: Iterable<Account>,
  hours: number,
): Promise<ProvidersAnswer> {
  const [pings, breakers, routes, uptimes] = await Promise.all([
    readPings(db),
    readBreakers(db),
    readProviderHours(db, hours),
    readUptime(db, hours),
  ])
  const seen = { pings, breakers, routes, uptimes }
  const byName = new Map([...accounts].map((account) => [account.name, account]))
  const begin = Date.now() - hours * hourMs
  const pinged = pings.filter(({ at }) => at.getTime() > begin)
  const names = new Set([
    ...byName.keys(),
    ...[...routes, ...pinged].map(({ provider }) => provider),
  ])
  return {
    window_hours: hours,
    providers: [...names].map((name) => providerOf(name, byName.get(name), seen)),
  }
}

function providerOf(name: string, account: Account | undefined, seen: Seen): Provider {
  const isIts = ({ provider }: { provider: string }) => provider === name
  const ping = seen.pings.find(isIts)
  const uptime = seen.uptimes.find(isIts)
  return {
    provider: name,
    adapter: account?.adapter ?? null,
    test: account?.test ?? null,
    region: account?.region ?? null,
    channels: [...(account?.channels ?? [])],
    ping: ping ? pingOf(ping) : null,
    uptime: uptime ? shareOf(uptime.good, uptime.bad) : null,
    breakers: breakersOf(account, seen.breakers.filter(isIts)),
    record: seen.routes.filter(isIts).map(recordOf),
  }
}

const pingOf = ({ provider: _, at, since, fault, ...rest }: PingStanding): Provider['ping'] => ({
  at: at.toISOString(),
  ok: fault === null,
  fault,
  ...rest,
  since: since.toISOString(),
})

/** One for each channel of the account, and those that are still known of others. */
function breakersOf(account: Account | undefined, known: BreakerStanding[]): Provider['breakers'] {
  const untouched = (account?.channels ?? [])
    .filter((channel) => known.every((breaker) => breaker.channel !== channel))
    .map((channel) => ({
      channel,
      state: 'closed' as const,
      fault: null,
      opened_by: null,
      since: null,
      probe_at: null,
      failed_probes: 0,
    }))
  return [...known.map(breakerOf), ...untouched]
}

const breakerOf = (breaker: BreakerStanding): Provider['breakers'][number] => ({
  channel: breaker.channel,
  state: breaker.state,
  fault: breaker.fault,
  opened_by: breaker.state === 'closed' ? null : breaker.byPing ? 'ping' : 'calls',
  since: breaker.since?.toISOString() ?? null,
  probe_at: breaker.probeAt?.toISOString() ?? null,
  failed_probes: breaker.failedProbes,
})

function recordOf(route: RouteRecord): Provider['record'][number] {
  const { accepted = 0, refused = 0, in_doubt = 0 } = route.states
  const { delivered = 0, answered = 0 } = route.receipts
  const failed = faults.reduce(
    (sum, fault) => sum + (blameOf[fault] === 'none' ? 0 : (route.faults[fault] ?? 0)),
    0,
  )
  const at = (histogram: RouteRecord['acceptMs'], share: number) =>
    percentile(histogram, share) ?? null
  return {
    channel: route.channel,
    country: route.country,
    calls: accepted + refused + in_doubt,
    accepted,
    refused,
    in_doubt,
    faults: route.faults,
    receipts: route.receipts,
    uptime: shareOf(accepted + refused + in_doubt - failed, failed),
    accept_ms: {
      p50: at(route.acceptMs, 0.5),
      p95: at(route.acceptMs, 0.95),
      p99: at(route.acceptMs, 0.99),
    },
    // A call in doubt may be delivered too.
    receipt_rate: shareOf(
      delivered + answered,
      Math.max(accepted + in_doubt - delivered - answered, 0),
    ),
    receipt_ms: { p50: at(route.receiptMs, 0.5), p95: at(route.receiptMs, 0.95) },
    success_rate: shareOf(route.success.yes ?? 0, route.success.no ?? 0),
    costs: Object.entries(route.costs).map(([currency, amount]) => ({ amount, currency })),
  }
}

/** Null without anything to go by. */
const shareOf = (good: number, bad: number): number | null =>
  good + bad === 0 ? null : good / (good + bad)
