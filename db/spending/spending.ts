import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import {
  anyAccount,
  type Budget,
  cheapestOf,
  type Purse,
  purseOf,
  type RequestMoney,
} from '../../core/spending/money'
import { channels } from '../../core/channel'
import type { Plan } from '../../core/requests/plan'
import type { Queries } from '..'
import { type Named, statement } from '../statement'
import { momentIn } from '../protection/moment'

const BudgetWindowRow = z.strictObject({
  window: z.enum(['hour', 'day']),
  /** Null: none. */
  limit: z.string().nullable(),
  spent: z.string(),
  /** Of calls under way. */
  reserved: z.string(),
  /** Null: without a limit. Never below 0. */
  remaining: z.string().nullable(),
  resetsAt: z.date(),
})

/** One window of an app's budget, as it is now; decimal numbers with a point. */
export type BudgetWindow = z.infer<typeof BudgetWindowRow>

/** What a message is to cost, and what its app may spend. */
export interface Charge extends Purse {
  /** A decimal number with a point; undefined: not known, which no budget lets pass. */
  price: string | undefined
  budget: Budget | undefined
}

/** A budget that has no room. */
export interface Shortage {
  window: 'hour' | 'day'
  /** Until the window is over; at least 1. */
  retryAfterSeconds: number
}

/**
 * The CTE `paid` of a claim: it reserves the price of a call for the request that `from` names, and says in `is_paid`
 * whether the budgets had room for it.
 */
export const payFor = (
  from: SQL,
  { channel, provider }: { channel: SQL; provider: SQL },
): SQL => sql`
    priced as (
      select id, app_id, environment, clock_timestamp() as priced_at, money ->> 'currency' as currency,
        coalesce(money #>> array['prices', ${channel}, ${provider}],
          money #>> array['prices', ${channel}, ${anyAccount}])::numeric as price,
        (money #>> '{budget,hour}')::numeric as hour_limit, (money #>> '{budget,day}')::numeric as day_limit
      from ${from} payable
    ), paid as materialized (
      select id, currency, price, priced_at, take_money(app_id, environment = 'production', currency, price,
        hour_limit, day_limit, priced_at) as is_paid from priced
    )`

/** Of a window; a day by UTC has 24 hours whatever the session's time zone. */
const lengthOf = (window: SQL): SQL =>
  sql`case ${window} when 'day' then interval '24 hours' else interval '1 hour' end`

interface TakeParams extends Purse {
  price: string | null
  hour: string | null
  day: string | null
  at: Date | null
}

const takeStatement = statement(
  'take_money',
  z.strictObject({ taken: z.boolean() }),
  (p: Named<TakeParams>) => sql`
  select take_money(${p.appId}, ${p.live}, ${p.currency}, ${p.price}::numeric, ${p.hour}::numeric, ${p.day}::numeric,
    ${momentIn(p.at)}) as taken`,
)

/**
 * Reserves the price of one message, exactly: of any number that ask at the same time, those get it that both budgets have room for.
 * In the service it is the claim of a call that does this (`claimAttempt`); this is for traffic that is replayed.
 * @param at the time to go by; the database's when absent
 * @returns whether it may be sent
 */
export async function takeBudget(
  db: Queries,
  { appId, live, currency, price, budget }: Charge,
  at?: Date,
): Promise<boolean> {
  const { hour = null, day = null } = budget ?? {}
  const row = await db.one(
    takeStatement({ appId, live, currency, price: price ?? null, hour, day, at: at ?? null }),
  )
  return row?.taken === true
}

const spend = statement(
  'spend_money',
  z.strictObject({ spent: z.boolean() }),
  ({ appId, live, currency, price, hour, day }: Named<SpendParams>) => sql`
    select spend_money(${appId}, ${live}, ${currency}, ${price}::numeric, ${hour}::numeric, ${day}::numeric,
      clock_timestamp()) as spent`,
)
interface SpendParams extends Purse {
  price: string
  hour: string | null
  day: string | null
}

/**
 * Spends the price of something that is had at once, exactly as {@link takeBudget} reserves that of a message.
 * @returns whether there was room for it
 */
export async function spendMoney(
  db: Queries,
  { appId, live, currency, price, budget }: Charge & { price: string },
): Promise<boolean> {
  const { hour = null, day = null } = budget ?? {}
  const row = await db.one(spend({ appId, live, currency, price, hour, day }))
  return row?.spent === true
}

const shortageStatement = statement(
  'find_shortage',
  z.strictObject({ window: z.enum(['hour', 'day']), retryAfterSeconds: z.int() }),
  (p: Named<TakeParams>) => sql`
  with asked as (
    select ${momentIn(p.at)} as moment, ${p.price}::numeric as price
  ), held as (
    select moment, price, coalesce(reserved[hour_of(moment)] + spent[hour_of(moment)], 0) as of_hour,
      coalesce(sum_of(reserved) + sum_of(spent), 0) as of_day
    from asked left join spending on app_id = ${p.appId} and live = ${p.live} and currency = ${p.currency}
      and day = day_of(moment)
  ), short as (
    select moment, case when price is null or of_day + price > ${p.day}::numeric then 'day'
      when of_hour + price > ${p.hour}::numeric then 'hour' end as "window"
    from held
  )
  select "window", greatest(1, ceil(extract(epoch from
    date_trunc("window", moment, 'UTC') + ${lengthOf(sql`"window"`)} - moment)))::int as "retryAfterSeconds"
  from short where "window" is not null`,
)

/**
 * Whether a budget has no room for a message, so that a send is refused before its request is made. Nothing is taken: the claim of its call asks again.
 * @param at the time to go by; the database's when absent
 */
export async function findShortage(
  db: Queries,
  { appId, live, currency, price, budget }: Charge,
  at?: Date,
): Promise<Shortage | undefined> {
  if (budget?.hour === undefined && budget?.day === undefined) return undefined
  const { hour = null, day = null } = budget
  return db.one(
    shortageStatement({ appId, live, currency, price: price ?? null, hour, day, at: at ?? null }),
  )
}

/** Which budget has no room even for the cheapest message of a plan. The claim of each call asks again, for its own price. */
export async function shortageOf(
  tx: Queries,
  {
    owner,
    money,
    plan,
  }: {
    owner: Parameters<typeof purseOf>[0]
    money?: RequestMoney | null | undefined
    plan: Plan
  },
): Promise<Shortage | undefined> {
  if (!money?.budget) return undefined
  const price = cheapestOf(money, plan)
  return findShortage(tx, { ...purseOf(owner, money), price, budget: money.budget })
}

const budgetsStatement = statement(
  'read_budgets',
  BudgetWindowRow,
  (p: Named<Omit<TakeParams, 'price'>>) => sql`
    select w."window", w.most::text as "limit", trim_scale(w.spent)::text as spent,
      trim_scale(w.reserved)::text as reserved,
      case when w.most is not null then trim_scale(greatest(w.most - w.spent - w.reserved, 0))::text end as remaining,
      date_trunc(w."window", moment, 'UTC') + ${lengthOf(sql`w."window"`)} as "resetsAt"
    from (select ${momentIn(p.at)} as moment) clock
      left join spending s on s.app_id = ${p.appId} and s.live = ${p.live} and s.currency = ${p.currency}
        and s.day = day_of(moment)
      cross join lateral (values
        ('hour', coalesce(s.spent[hour_of(moment)], 0), coalesce(s.reserved[hour_of(moment)], 0), ${p.hour}::numeric),
        ('day', sum_of(s.spent), sum_of(s.reserved), ${p.day}::numeric)) w ("window", spent, reserved, most)
    order by w."window" desc`,
)

/**
 * What is spent and left of the hour and of the day under way.
 * @param at the time to go by; the database's when absent
 */
export function readBudgets(
  db: Queries,
  { appId, live, currency, budget }: Purse & { budget: Budget | undefined },
  at?: Date,
): Promise<BudgetWindow[]> {
  const { hour = null, day = null } = budget ?? {}
  return db.many(budgetsStatement({ appId, live, currency, hour, day, at: at ?? null }))
}

const SpendingRow = z.strictObject({
  channel: z.enum(channels),
  provider: z.string(),
  country: z.string().nullable(),
  /** Calls that cost something, or may. */
  calls: z.int(),
  /** Of them, those of which neither the provider nor the policy says the price. */
  unpriced: z.int(),
  amount: z.string(),
  /** Of the amount: by the policy's prices, since the provider has not said its own. */
  estimated: z.string(),
  currency: z.string().nullable(),
})

/** Where the money of a day went. */
export type SpendingPart = z.infer<typeof SpendingRow>

const currency = sql`coalesce(a.estimate_currency, a.cost_currency)`

const partsStatement = statement(
  'read_spending_parts',
  SpendingRow,
  (p: Named<Pick<Purse, 'appId' | 'live'> & { limit: number }>) => sql`
    select a.channel, a.provider, r.country, count(*)::int as calls,
      (count(*) filter (where a.counted_amount is null))::int as unpriced,
      trim_scale(coalesce(sum(a.counted_amount), 0))::text as amount,
      trim_scale(coalesce(sum(a.counted_amount) filter (where a.cost_currency is distinct from ${currency}), 0))::text as estimated,
      ${currency} as currency
    from attempts a join otp_requests r on r.id = a.request_id
    where a.claimed_at >= date_trunc('day', clock_timestamp(), 'UTC') and r.app_id = ${p.appId}
      and (r.environment = 'production') = ${p.live} and a.state <> 'refused' and a.send_no > 0 and not r.test_number
    group by a.channel, a.provider, r.country, ${currency}
    order by sum(a.counted_amount) desc nulls last, a.channel, a.provider, r.country limit ${p.limit}`,
)

/** Where an app's money of the day under way went, most first. */
export const readSpendingParts = (
  db: Queries,
  { appId, live }: Pick<Purse, 'appId' | 'live'>,
  limit: number,
): Promise<SpendingPart[]> => db.many(partsStatement({ appId, live, limit }))
