import { addressOf, channels, type Channel, type RecipientKind } from '../channel'
import type { Plan } from '../requests/plan'
import { type CostTable, costOf } from '../routing/cost'
import { byAmount } from '../routing/providers'
import { type Environment, isLive } from '../requests/state'
import type { ProtectionSettings } from '../protection/protection'

/** The most that an app may spend in an hour and in a day by UTC, each a decimal number with a point. */
export type Budget = NonNullable<ProtectionSettings['budget']>

/** Stands for every account that has no price of its own. */
export const anyAccount = '*'

/** What a request's messages cost, as the policy had it at the send, and what its app may spend. */
export interface RequestMoney {
  /** ISO 4217. */
  currency: string
  /** By channel and account, decimal numbers with a point. */
  prices: Readonly<Partial<Record<Channel, Readonly<Record<string, string>>>>>
  budget?: Budget | undefined
}

/** Where an app's spending is counted: with live keys and with test keys apart. */
export interface Purse {
  appId: string
  live: boolean
  currency: string
}

export const purseOf = (
  { appId, environment }: { appId: string; environment: Environment },
  { currency }: Pick<RequestMoney, 'currency'>,
): Purse => ({ appId, live: isLive(environment), currency })

/** At these shares of a budget people are told, in percent. */
export const budgetLevels = [50, 80, 100] as const

/**
 * The prices for one recipient. Under a budget, a route without a price has the dearest one of its channel: what is not
 * known must not be free.
 * @returns undefined where the policy has no prices
 */
export function moneyOf(
  table: CostTable | undefined,
  {
    kind,
    budget,
    ...route
  }: {
    kind: RecipientKind
    country: string | null
    number?: string | undefined
    budget?: Budget | undefined
  },
): RequestMoney | undefined {
  if (!table) return undefined
  const prices: Partial<Record<Channel, Record<string, string>>> = {}
  for (const channel of channels) {
    if (addressOf(channel) !== kind) continue
    const own = table.prices.filter((price) => price.channel === channel)
    const dearest = own
      .map(({ amount }) => amount)
      .toSorted(byAmount)
      .at(-1)
    const priceOf = (provider: string) =>
      costOf(table, { ...route, channel, provider })?.amount ?? (budget && dearest)
    const usual = priceOf(anyAccount)
    const accounts = new Set(own.flatMap(({ provider }) => provider ?? []))
    const differing = [...accounts].flatMap((provider) => {
      const amount = priceOf(provider)
      return amount === undefined || amount === usual ? [] : [[provider, amount] as const]
    })
    if (usual === undefined && differing.length === 0) continue
    prices[channel] = {
      ...(usual !== undefined && { [anyAccount]: usual }),
      ...Object.fromEntries(differing),
    }
  }
  return { currency: table.currency, prices, ...(budget && { budget }) }
}

/** The least that a plan's next message can cost; undefined where nothing of it has a price. */
export function cheapestOf({ prices }: RequestMoney, plan: Plan): string | undefined {
  const amounts = plan.flatMap(({ channel, providers }) =>
    providers.flatMap((name) => prices[channel]?.[name] ?? prices[channel]?.[anyAccount] ?? []),
  )
  return amounts.toSorted(byAmount)[0]
}
