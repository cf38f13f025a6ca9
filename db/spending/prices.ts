import { type SQL, sql } from 'drizzle-orm'

/** What a provider says that one message cost. */
export interface Price {
  /** A decimal number with a point. */
  amount: string
  /** ISO 4217. */
  currency: string
}

/** A price in a statement: both null where none was told. */
export interface PriceParams {
  amount: SQL
  currency: SQL
}

/** A provider's price counts up to so many times the policy's estimate: what is beyond is a fault of one of the two. */
const mostTimesEstimate = 10

/**
 * What becomes of a price: `counted` instead of the estimate; `other_currency`: kept for the record beside the estimate,
 * which goes on counting; all others change nothing.
 */
export const priceVerdicts = [
  'counted',
  'other_currency',
  'settled',
  'above_estimate',
  'out_of_range',
] as const

/**
 * The verdict on a price, as an SQL value (null without a price), over the row `a` of `attempts`. It must be read under
 * that row's lock: the first price counts, and no later one.
 */
export function verdictOn(a: SQL, price: PriceParams): SQL {
  const amount = sql`${price.amount}::numeric`
  const isOther = sql`${price.currency}::text <> ${a}.estimate_currency`
  return sql`case
    when ${amount} is null then null
    when ${a}.cost_amount is not null and (coalesce(${a}.cost_currency = ${a}.estimate_currency, true) or ${isOther})
      then 'settled'
    -- For Postgres, what is not a number is above infinity.
    when ${amount} < 0 or ${amount} >= 'Infinity' then 'out_of_range'
    when ${a}.estimate_currency is null then 'counted'
    when ${isOther} then 'other_currency'
    when ${amount} > ${a}.estimate_amount * ${sql.raw(String(mostTimesEstimate))} then 'above_estimate'
    else 'counted' end`
}

/** Assigns a price to its attempt, where the {@link verdictOn} it keeps it. */
export const keepPrice = (verdict: SQL, { amount, currency }: PriceParams): SQL => sql`
  cost_amount = case when ${isKept(verdict)} then ${amount}::numeric else cost_amount end,
  cost_currency = case when ${isKept(verdict)} then ${currency}::text else cost_currency end`

/** Whether a {@link verdictOn} price is written into its attempt. */
export const isKept = (verdict: SQL): SQL =>
  sql`coalesce(${verdict} in ('counted', 'other_currency'), false)`

/** What an audit row says of a price, to be added to its detail. */
export const priceInDetail = (verdict: SQL, { amount, currency }: PriceParams): SQL => sql`
  case when ${amount}::text is null then '{}'::jsonb else jsonb_build_object(
    'price', ${amount}::text, 'currency', ${currency}::text, 'price_verdict', ${verdict}) end`
