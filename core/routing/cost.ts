import type { Channel } from '../channel'

/** What one message or call costs. */
export interface Price {
  /** The provider account; absent: an estimate for any of them. */
  provider?: string | undefined
  channel: Channel
  /** A country's two letters, or what the number begins with, as in `+23324`; absent: everywhere. */
  to?: string | undefined
  /** A decimal number with a point. */
  amount: string
}

/** Prices in one currency, so that they can be compared. */
export interface CostTable {
  /** ISO 4217. */
  currency: string
  prices: readonly Price[]
}

/** Where a message goes: what is known of it. */
export interface PricedRoute {
  provider: string
  channel: Channel
  /** Two letters. */
  country?: string | null | undefined
  /** E.164 with `+`. */
  number?: string | undefined
}

/**
 * The price of one message. A price of the account counts before an estimate for all; of several, the one with the
 * longest prefix, then the country's, then the one for everywhere.
 * @returns undefined when the table has none
 */
export function costOf(
  table: CostTable | undefined,
  route: PricedRoute,
): { amount: string; currency: string } | undefined {
  if (!table) return undefined
  let best: { amount: string; rank: number } | undefined
  for (const price of table.prices) {
    const rank = rankOf(price, route)
    if (rank !== undefined && rank > (best?.rank ?? -1)) best = { amount: price.amount, rank }
  }
  return best && { amount: best.amount, currency: table.currency }
}

/** An E.164 number has 15 digits at most, so whatever an account's own price is for outranks every estimate. */
const ownPrice = 100

/** How closely a price fits a route; undefined when it is for another one. */
function rankOf(
  { provider, channel, to }: Price,
  { provider: account, channel: wanted, country, number }: PricedRoute,
): number | undefined {
  if (channel !== wanted || (provider !== undefined && provider !== account)) return undefined
  const owned = provider === undefined ? 0 : ownPrice
  if (to === undefined) return owned
  if (!to.startsWith('+')) return to === country ? owned + 1 : undefined
  return number?.startsWith(to) ? owned + to.length : undefined
}
