import { type Histogram, percentile } from '../histogram'
import type { Channel } from '../channel'
import type { Environment } from '../requests/state'
import { assessmentOf, judgeDelivery, rounded } from './app-rules'
import type { Assessment } from './rule'

/** What provider accounts must do, where the policy file says nothing. */
export const usualSla = { uptime: 0.99, acceptMs: 5_000 } as const
export interface Sla {
  /** The share of health pings that are good, 0 to 1. */
  uptime: number
  /** From a call to its acceptance, in milliseconds, for 95 of 100. */
  acceptMs: number
}

/** What calls of an account on one channel to one country came to. */
export interface RouteFigures {
  provider: string
  channel: Channel
  /** Two letters; empty where there is none. */
  country: string
  /** Of the last three hours, of calls that were not refused for the number's own fault: those that succeeded, and all. */
  reached: number
  due: number
  /** Of the last day: calls that were accepted, and of those the ones with a final report. */
  accepted: number
  reported: number
}

/** A route whose provider reports on fewer messages than this says nothing by not reporting. */
const reportingShare = 0.5

/** Whether messages by a route arrive; of routes without reports only those can tell whose codes came back, so not at all. */
export function judgeRoute(
  figures: RouteFigures,
  environment: Environment,
): Assessment | undefined {
  const { provider, channel, country, reached, due, accepted, reported } = figures
  const judged = judgeDelivery(reached, due)
  if (!judged || reported < reportingShare * accepted) return undefined
  const place = { provider, channel, ...(country !== '' && { country }) }
  return assessmentOf(
    {
      appId: null,
      environment,
      rule: 'delivery_rate',
      subject: [provider, channel, country].filter((part) => part !== '').join(' '),
    },
    { ...judged, detail: { ...judged.detail, ...place } },
  )
}

/** How an account did in the last two hours. */
export interface ProviderFigures {
  provider: string
  /** Health pings. */
  good: number
  bad: number
  /** From the call to the acceptance. */
  acceptMs: Histogram
  /** Channels whose breaker is open, and for how many seconds the longest of them is. */
  open: readonly Channel[]
  openSeconds: number
}

const provider = {
  pings: 20,
  calls: 30,
  /** A breaker that closes at once again is the service's daily work. */
  openSeconds: 120,
  recoverUptime: 0.5,
  criticalUptime: 0.9,
} as const

/** Whether an account keeps to what it should do. */
export function judgeProvider(
  figures: ProviderFigures,
  { environment, sla }: { environment: Environment; sla: Sla },
): Assessment {
  const { good, bad, acceptMs, open, openSeconds } = figures
  const pings = good + bad
  const uptime = pings >= provider.pings ? good / pings : undefined
  const calls = Object.values(acceptMs).reduce((sum, count) => sum + count, 0)
  const p95 = calls >= provider.calls ? percentile(acceptMs, 0.95) : undefined
  const isDown = open.length > 0 && openSeconds >= provider.openSeconds
  const isOut = (uptime ?? 1) < sla.uptime
  const isSlow = (p95 ?? 0) > sla.acceptMs
  // Half of what the setting leaves for being down, so that it does not come and go.
  const isWell = (uptime ?? 1) >= 1 - (1 - sla.uptime) * provider.recoverUptime
  return assessmentOf(
    { appId: null, environment, rule: 'provider_sla', subject: figures.provider },
    {
      fires: isDown || isOut || isSlow,
      recovers: open.length === 0 && isWell && !isSlow,
      severity: isDown || (uptime ?? 1) < provider.criticalUptime ? 'critical' : 'warning',
      detail: {
        provider: figures.provider,
        uptime: uptime === undefined ? null : rounded(uptime),
        uptime_limit: sla.uptime,
        accept_p95_ms: p95 ?? null,
        accept_limit_ms: sla.acceptMs,
        open_channels: open.join(', ') || null,
      },
    },
  )
}

/** The newest answers and reports of an account, as far back as they agree. */
export interface RefusalFigures {
  provider: string
  /** Refusals and reported failures in a row, all with the newest one's code; none where a message was taken since. */
  refusals: number
  /** The provider's; null where the newest refusal has none. */
  code: string | null
  /** All of them are about the account itself, by the provider's own words. */
  isAccounts: boolean
}

const refusing = {
  least: 10,
  /** Where the provider itself says that it is the account's fault: an open breaker lets few calls through. */
  leastOfAccount: 3,
} as const

/** Whether an account refuses all that it is given with one code: mostly its set-up, which the code names. */
export function judgeRefusals(
  { provider: account, refusals, code, isAccounts }: RefusalFigures,
  environment: Environment,
): Assessment {
  const least = isAccounts ? refusing.leastOfAccount : refusing.least
  return assessmentOf(
    { appId: null, environment, rule: 'account_refused', subject: account },
    {
      fires: code !== null && refusals >= least,
      recovers: refusals === 0,
      severity: isAccounts ? 'critical' : 'warning',
      detail: { provider: account, code, refusals },
    },
  )
}
