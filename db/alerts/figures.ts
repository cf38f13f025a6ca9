import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { ProviderFigures, RouteFigures } from '../../core/alerts/provider-rules'
import { channels } from '../../core/channel'
import { environments } from '../../core/requests/state'
import type { Queries } from '..'
import { type Named, statement } from '../statement'
import { momentIn } from '../protection/moment'

const routeFigures = statement(
  'read_route_figures',
  z.strictObject({
    provider: z.string(),
    channel: z.enum(channels),
    country: z.string(),
    reached: z.int(),
    due: z.int(),
    accepted: z.int(),
    reported: z.int(),
  }),
  (p: Named<{ at: Date | null }>) => sql`
    select provider, channel, country,
      coalesce(sum(coalesce((success ->> 'yes')::float8, 0)) filter (where age < 3), 0)::int as reached,
      coalesce(sum(coalesce((success ->> 'yes')::float8, 0) + coalesce((success ->> 'no')::float8, 0))
        filter (where age < 3), 0)::int as due,
      coalesce(sum((states ->> 'accepted')::float8), 0)::int as accepted,
      coalesce(sum((select sum(n::float8) from jsonb_each_text(receipts) r (status, n)
        where status in ('delivered', 'answered', 'expired') or status like 'failed%')), 0)::int as reported
    from (select h.*, extract(epoch from date_trunc('hour', now) - hour) / 3600 as age
      from provider_hours h, (select ${momentIn(p.at)} as now) clock
      where hour > now - interval '24 hours' and hour <= now) hours
    group by 1, 2, 3 order by 1, 2, 3`,
)

/** What each route achieved in the last hours, of those that were used in the last day. */
export const readRouteFigures = (db: Queries, at?: Date): Promise<RouteFigures[]> =>
  db.many(routeFigures({ at: at ?? null }))

const providerFigures = statement(
  'read_provider_figures',
  z.strictObject({
    provider: z.string(),
    good: z.int(),
    bad: z.int(),
    acceptMs: z.record(z.string(), z.number()),
    open: z.array(z.enum(channels)),
    openSeconds: z.number(),
  }),
  (p: Named<{ at: Date | null }>) => sql`
    with clock as (select date_trunc('hour', t) as hour, t from (select ${momentIn(p.at)} as t) now), pinged as (
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
    from pinged full join accepted using (provider) full join open using (provider) order by 1`,
)

/** How each account did in the last two hours. */
export const readProviderFigures = (db: Queries, at?: Date): Promise<ProviderFigures[]> =>
  db.many(providerFigures({ at: at ?? null }))

const StandingBlocksRow = z.strictObject({
  appId: z.string(),
  environment: z.enum(environments),
  blocks: z.int(),
  /** Of the newest; the label is a country, or a number's beginning. */
  rule: z.string(),
  scope: z.string(),
  label: z.string().nullable(),
})

/** Blocks that stand now, by app. */
export type StandingBlocks = z.infer<typeof StandingBlocksRow>

const standingBlocks = statement(
  'read_standing_blocks',
  StandingBlocksRow,
  (p: Named<{ at: Date | null }>) => sql`
    select distinct on (app_id, environment) app_id as "appId", environment,
      (count(*) over (partition by app_id, environment))::int as blocks, rule, scope, label
    from send_blocks, (select ${momentIn(p.at)} as t) now
    where since <= t and until > t and lifted_at is null order by app_id, environment, since desc, id`,
)

export const readStandingBlocks = (db: Queries, at?: Date): Promise<StandingBlocks[]> =>
  db.many(standingBlocks({ at: at ?? null }))
