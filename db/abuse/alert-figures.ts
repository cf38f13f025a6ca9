import { sql } from 'drizzle-orm'
import type { ProviderFigures, RouteFigures } from '../../core/alerts/provider-rules'
import type { Environment } from '../../core/state'
import type { Queries } from '../index'
import { momentOf } from './moment'

/** What each route achieved in the last hours, of those that were used in the last day. */
export const readRouteFigures = (db: Queries, at?: Date): Promise<RouteFigures[]> =>
  db.many<RouteFigures>(sql`
    select provider, channel, country,
      coalesce(sum(coalesce((success ->> 'yes')::float8, 0)) filter (where age < 3), 0)::int as reached,
      coalesce(sum(coalesce((success ->> 'yes')::float8, 0) + coalesce((success ->> 'no')::float8, 0))
        filter (where age < 3), 0)::int as due,
      coalesce(sum((states ->> 'accepted')::float8), 0)::int as accepted,
      coalesce(sum((select sum(n::float8) from jsonb_each_text(receipts) r (status, n)
        where status in ('delivered', 'answered', 'expired') or status like 'failed%')), 0)::int as reported
    from (select h.*, extract(epoch from date_trunc('hour', now) - hour) / 3600 as age
      from provider_hours h, (select ${momentOf(at)} as now) clock
      where hour > now - interval '24 hours' and hour <= now) hours
    group by 1, 2, 3 order by 1, 2, 3`)

/** How each account did in the last two hours. */
export const readProviderFigures = (db: Queries, at?: Date): Promise<ProviderFigures[]> =>
  db.many<ProviderFigures>(sql`
    with clock as (select date_trunc('hour', t) as hour, t from (select ${momentOf(at)} as t) now), pinged as (
      select provider, sum(good) as good, sum(bad) as bad from provider_ping_hours p, clock
      where p.hour >= clock.hour - interval '1 hour' and p.hour <= clock.hour group by 1
    ), accepted as (
      select provider, jsonb_object_agg(bucket, n) as buckets from (
        select provider, bucket, sum(n::float8) as n from clock, provider_hours p, jsonb_each_text(p.accept_ms) b (bucket, n)
        where p.hour >= clock.hour - interval '1 hour' and p.hour <= clock.hour group by 1, 2) sums
      group by 1
    ), open as (
      -- Closed ones too: of an account that nobody uses they are all that says that it is well again.
      select provider, array_agg(channel::text order by channel) filter (where open) as channels,
        extract(epoch from max(clock.t - opened_at) filter (where open)) as seconds
      from provider_breakers, clock group by 1
    )
    select provider, coalesce(good, 0)::int as good, coalesce(bad, 0)::int as bad, coalesce(buckets, '{}') as "acceptMs",
      coalesce(channels, '{}') as open, coalesce(seconds, 0)::float8 as "openSeconds"
    from pinged full join accepted using (provider) full join open using (provider) order by 1`)

/** Blocks that stand now, by app. */
export interface StandingBlocks {
  appId: string
  environment: Environment
  blocks: number
  /** Of the newest; the label is a country, or a number's beginning. */
  rule: string
  scope: string
  label: string | null
}

export const readStandingBlocks = (db: Queries, at?: Date): Promise<StandingBlocks[]> =>
  db.many<StandingBlocks>(sql`
    select distinct on (app_id, environment) app_id as "appId", environment,
      (count(*) over (partition by app_id, environment))::int as blocks, rule, scope, label
    from send_blocks, (select ${momentOf(at)} as t) now
    where since <= t and until > t and lifted_at is null order by app_id, environment, since desc, id`)
