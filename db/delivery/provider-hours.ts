import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { growth, type Histogram } from '../../core/histogram'
import { type Channel, channels } from '../../core/channel'
import type { Fault } from '../../core/delivery/fault'
import type { ReceiptStatus } from '../../core/delivery/receipt'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'

/** The record is this old at most, in seconds, while somebody keeps it. */
const freshSeconds = 60
/** So long after its end an hour is still summed: receipts may come. */
const lateSeconds = 600
/** Until a call counts as one that did not succeed: a receipt may be on its way. */
const patienceSeconds = 60
/** What routing goes by. */
const lately = sql`interval '3 hours'`

const bucketOf = (from: string, to: string) =>
  sql.raw(
    `ceil(ln(greatest(extract(epoch from ${to} - ${from})::float8 * 1000, 1)) / ln(${growth}::float8))::int`,
  )

const mapOf = (kind: string) =>
  sql.raw(`coalesce(jsonb_object_agg(key, n) filter (where kind = '${kind}'), '{}')`)

const sumStatement = statement(
  'sum_provider_hours',
  NoRow,
  () => sql`
    with due as (
      select greatest(date_trunc('hour', now() - interval '2 days'),
        least(date_trunc('hour', now() - make_interval(secs => ${lateSeconds})),
          coalesce((select max(hour) from provider_hours), '-infinity'),
          -- Nobody summed it again once its receipts had come: nobody was there.
          (select min(hour) from provider_hours where hour > now() - interval '2 days'
            and summed_at < hour + interval '1 hour' + make_interval(secs => ${lateSeconds})))) as since
      where not exists (select from provider_hours
        where hour >= date_trunc('hour', now()) and summed_at > now() - make_interval(secs => ${freshSeconds}))
    ), calls as (
      select date_trunc('hour', a.claimed_at) as hour, a.provider, a.channel, coalesce(r.country, '') as country,
        a.state, a.fault, a.status, a.cost_amount, a.cost_currency,
        case when a.state = 'accepted' then ${bucketOf('a.claimed_at', 'a.finished_at')} end as accepted_in,
        case when a.status in ('delivered', 'answered')
          then ${bucketOf('coalesce(a.finished_at, a.claimed_at)', 'a.status_at')} end as reported_in,
        case when a.fault in ('invalid_number', 'blocked') then null
          when a.status in ('delivered', 'answered') or (a.state = 'accepted' and r.state = 'verified') then 'yes'
          when a.claimed_at < now() - make_interval(secs => ${patienceSeconds}) then 'no' end as success
      from due join attempts a on a.claimed_at >= due.since join otp_requests r on r.id = a.request_id
      -- A number below zero is a dial before the step's turn: nobody was called.
      where a.state <> 'open' and a.send_no > 0 and not r.test_number
    -- Most calls are alike: what is taken apart next is far fewer rows.
    ), alike as (
      select hour, provider, channel, country, state, fault, status, success, cost_currency, accepted_in, reported_in,
        count(*) as calls, sum(cost_amount) as cost
      from calls group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    ), counted as (
      select hour, provider, channel, country, kind, key, sum(amount) as n
      from alike cross join lateral (values
        ('state', state::text, calls), ('fault', fault::text, calls), ('receipt', status::text, calls),
        ('success', success, calls), ('cost', cost_currency, cost), ('accept', accepted_in::text, calls),
        ('lag', reported_in::text, calls)
      ) facts (kind, key, amount)
      where key is not null and amount is not null group by 1, 2, 3, 4, 5, 6
    )
    insert into provider_hours as h (hour, provider, channel, country, states, faults, receipts, success, costs,
      accept_ms, receipt_ms, summed_at)
    select hour, provider, channel, country, ${mapOf('state')}, ${mapOf('fault')}, ${mapOf('receipt')},
      ${mapOf('success')}, ${mapOf('cost')}, ${mapOf('accept')}, ${mapOf('lag')}, clock_timestamp()
    from counted group by 1, 2, 3, 4
    order by 1, 2, 3, 4
    on conflict (hour, provider, channel, country) do update set states = excluded.states, faults = excluded.faults,
      receipts = excluded.receipts, success = excluded.success, costs = excluded.costs,
      accept_ms = excluded.accept_ms, receipt_ms = excluded.receipt_ms, summed_at = excluded.summed_at`,
)

/**
 * Sums up the attempts of this hour, and at its beginning of the one before, by account, channel and country, unless
 * that was done within the last minute. After a pause it begins with the hour where it stopped. One statement, and two
 * of these at once write the same.
 */
export async function sumProviderHours(db: Queries): Promise<void> {
  await db.many(sumStatement({}))
}

/** Where messages go: what is recorded, and what routing chooses among. */
export interface RouteKey {
  provider: string
  channel: Channel
  /** Two letters; null where there is none. */
  country: string | null
}

/** What a route achieved in a window. */
export interface RouteRecord extends RouteKey {
  states: Partial<Record<'accepted' | 'refused' | 'in_doubt', number>>
  faults: Partial<Record<Fault, number>>
  receipts: Partial<Record<ReceiptStatus, number>>
  success: { yes?: number; no?: number }
  /** Sums by currency, as decimal numbers with a point. */
  costs: Record<string, string>
  acceptMs: Histogram
  receiptMs: Histogram
}

const columns = ['states', 'faults', 'receipts', 'success', 'costs', 'accept_ms', 'receipt_ms']

const mapFrom = (column: string) =>
  sql.raw(`coalesce(jsonb_object_agg(key, ${column === 'costs' ? 'n::text' : 'n'})
      filter (where kind = '${column}'), '{}')`)

const counts = z.record(z.string(), z.number())

const hoursStatement = statement(
  'read_provider_hours',
  z.strictObject({
    provider: z.string(),
    channel: z.enum(channels),
    country: z.string().nullable(),
    states: counts,
    faults: counts,
    receipts: counts,
    success: counts,
    costs: z.record(z.string(), z.string()),
    acceptMs: counts,
    receiptMs: counts,
  }),
  (p: Named<{ hours: number }>) => sql`
    with counted as (
      select provider, channel, country, kind, key, sum(value::numeric) as n
      from provider_hours cross join lateral (${sql.raw(
        columns
          .map((column) => `select '${column}' as kind, key, value from jsonb_each_text(${column})`)
          .join(' union all '),
      )}) facts
      where hour > date_trunc('hour', now()) - make_interval(hours => ${p.hours}::int) group by 1, 2, 3, 4, 5
    )
    select provider, channel, nullif(country, '') as country, ${mapFrom('states')} as states,
      ${mapFrom('faults')} as faults, ${mapFrom('receipts')} as receipts, ${mapFrom('success')} as success,
      ${mapFrom('costs')} as costs, ${mapFrom('accept_ms')} as "acceptMs", ${mapFrom('receipt_ms')} as "receiptMs"
    from counted group by 1, 2, 3 order by 1, 2, 3`,
)

/** The record of the last hours, this one included, by account, channel and country. */
export const readProviderHours = (db: Queries, hours: number): Promise<RouteRecord[]> =>
  db.many(hoursStatement({ hours }))

/** How calls of a route went of late. */
export interface RouteSuccess extends RouteKey {
  /** Calls that have had the time to succeed. */
  calls: number
  /** The share of them, 0 to 1, that was delivered, or whose code came back. */
  rate: number
}

const successStatement = statement(
  'read_route_success',
  z.strictObject({
    provider: z.string(),
    channel: z.enum(channels),
    country: z.string().nullable(),
    calls: z.int(),
    rate: z.number(),
  }),
  () => sql`
  select provider, channel, nullif(country, '') as country, calls::int, good / calls as rate from (
    select provider, channel, country, sum(coalesce((success->>'yes')::float8, 0)) as good,
      sum(coalesce((success->>'yes')::float8, 0) + coalesce((success->>'no')::float8, 0)) as calls
    from provider_hours where hour > now() - ${lately} group by 1, 2, 3) sums
  where calls > 0 order by 1, 2, 3`,
)

/** How each route did in the last hours: a few rows, for routing. */
export const readRouteSuccess = (db: Queries): Promise<RouteSuccess[]> =>
  db.many(successStatement({}))

const UptimeRow = z.strictObject({ provider: z.string(), good: z.int(), bad: z.int() })

/** Shares of good pings, by account. */
export type Uptime = z.infer<typeof UptimeRow>

const uptimeStatement = statement(
  'read_uptime',
  UptimeRow,
  (p: Named<{ hours: number }>) => sql`
    select provider, sum(good)::int as good, sum(bad)::int as bad from provider_ping_hours
    where hour > date_trunc('hour', now()) - make_interval(hours => ${p.hours}::int) group by 1`,
)

/** The pings of the last hours, this one included. */
export const readUptime = (db: Queries, hours: number): Promise<Uptime[]> =>
  db.many(uptimeStatement({ hours }))
