import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { blameOf, breaker } from '../../core/delivery/breaker'
import { type Channel, channels } from '../../core/channel'
import type { Fault } from '../../core/delivery/fault'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'

/** What a breaker guards: an account on one channel. */
export interface Guarded {
  provider: string
  channel: Channel
}

/** A probe's lease outlives its call: where a policy gives calls very long, the usual one would not. */
const leaseMargin = 1.5
const seconds = (count: number | SQL) => sql`make_interval(secs => ${count})`
const isDue = sql`probe_at <= clock_timestamp()
  and (leased_until is null or leased_until < clock_timestamp())`

const unhealthyStatement = statement(
  'find_unhealthy',
  z.strictObject({ entry: z.string() }),
  () =>
    sql`select provider || '/' || channel as entry from provider_breakers where open and not (${isDue})`,
)

/** Open breakers whose next probe is not due, as `account/channel`: see `unhealthyOn`. */
export async function unhealthyProviders(db: Queries): Promise<string[]> {
  const rows = await db.many(unhealthyStatement({}))
  return rows.map(({ entry }) => entry)
}

/** What a call meets. */
export interface BreakerState {
  open: boolean
  /** This call is the probe of that number. */
  probe: number | null
  /** By the database's clock. */
  askedAt: Date
}

const isOf = (p: Named<Guarded>) => sql`provider = ${p.provider} and channel = ${p.channel}`

const askStatement = statement(
  'ask_breaker',
  z.strictObject({ askedAt: z.date(), open: z.boolean().nullable() }),
  (p: Named<Guarded>) => sql`
  select clock_timestamp() as "askedAt", (select open from provider_breakers where ${isOf(p)}) as open`,
)

const leaseStatement = statement(
  'lease_probe',
  z.strictObject({ probe: z.int() }),
  (p: Named<Guarded & { leaseSeconds: number }>) => sql`
  update provider_breakers set probe_no = probe_no + 1,
    leased_until = clock_timestamp() + ${seconds(p.leaseSeconds)}
  where ${isOf(p)} and open and ${isDue} returning probe_no as probe`,
)

/**
 * Looks at the breaker of a call that is about to be made, and takes the lease of the probe where one is due: of all
 * who ask, one gets it. While the breaker is closed this reads one row by its key, and no more.
 */
export async function askBreaker(
  db: Queries,
  { provider, channel, callTimeoutMs = 0 }: Guarded & { callTimeoutMs?: number },
): Promise<BreakerState> {
  const row = await db.one(askStatement({ provider, channel }))
  if (!row) throw new Error('A statement without a condition gave no row.')
  const { askedAt } = row
  if (!row.open) return { open: false, probe: null, askedAt }
  const leaseSeconds = Math.max(breaker.leaseSeconds, leaseMargin * (callTimeoutMs / 1_000))
  const leased = await db.one(leaseStatement({ provider, channel, leaseSeconds }))
  return { open: true, probe: leased?.probe ?? null, askedAt }
}

/** The faults that count for the account, with the one that is being noted. */
const recent = sql`array(select t from unnest(b.faults) t
  where t > clock_timestamp() - ${seconds(breaker.windowSeconds)}) || clock_timestamp()`

/** What opening sets. */
const opening = (opens: SQL) => sql`open = ${opens},
  faults = case when ${opens} then '{}' else ${recent} end,
  fault = case when ${opens} then excluded.fault end, by_ping = excluded.by_ping,
  opened_at = case when ${opens} then clock_timestamp() else b.opened_at end,
  probe_at = case when ${opens} then clock_timestamp() + ${seconds(breaker.firstPauseSeconds)} end,
  leased_until = null, failed_probes = 0`

/** One row in the installation's chain for what a statement did to breakers of one account; none for none. */
const audited = (from: SQL, type: 'breaker_opened' | 'breaker_closed', detail: SQL): SQL => sql`
  numbered as (
    insert into audit_chains as c (chain, sequence) select 'admin', 1 from ${from} having count(*) > 0
    on conflict (chain) do update set sequence = c.sequence + 1 returning sequence
  ), logged as (
    insert into audit_events (app_id, sequence, type, actor, detail)
    select null, sequence, ${type}::audit_type, 'worker', ${detail} from numbered
  )`

const channelsOf = (from: SQL) =>
  sql`(select string_agg(channel::text, ', ' order by channel::text) from ${from})`

const faultStatement = statement(
  'note_fault',
  z.strictObject({}),
  (p: Named<Guarded & { fault: Fault; begunAt: Date; atOnce: boolean }>) => {
    const atOnce = sql`${p.atOnce}::boolean`
    const opens = sql`(${atOnce} or cardinality(${recent}) >= ${breaker.faults})`
    return sql`
    with noted as (
      insert into provider_breakers as b (provider, channel, open, faults, fault, opened_at, probe_at)
      select ${p.provider}, ${p.channel}::channel, ${atOnce}, case when ${atOnce} then '{}'
          else array[clock_timestamp()] end, ${p.fault}::fault,
        case when ${atOnce} then clock_timestamp() end,
        case when ${atOnce} then clock_timestamp() + ${seconds(breaker.firstPauseSeconds)} end
      where ${p.begunAt}::timestamptz > clock_timestamp() - ${seconds(breaker.freshSeconds)}
      on conflict (provider, channel) do update set ${opening(opens)}
        where not b.open and ${p.begunAt}::timestamptz > coalesce(b.closed_at, '-infinity')
      returning channel, open
    ), opened as (select channel from noted where open
    ), ${audited(
      sql`opened`,
      'breaker_opened',
      sql`jsonb_build_object('provider', ${p.provider}::text, 'channels', ${p.channel}::text, 'fault', ${p.fault}::text)`,
    )} select from opened`
  },
)

/**
 * Counts a fault of the account, unless the breaker is open or has closed since the call began. One statement under
 * the row's lock, so that of any number at once exactly one opens it; that one writes the audit row.
 * @returns whether it opened
 */
export async function noteFault(
  db: Queries,
  { provider, channel, fault, begunAt }: Guarded & { fault: Fault; begunAt: Date },
): Promise<boolean> {
  if (blameOf[fault] === 'none') return false
  const row = await db.one(
    faultStatement({ provider, channel, fault, begunAt, atOnce: blameOf[fault] === 'opens' }),
  )
  return row !== undefined
}

const ChannelRow = z.strictObject({ channel: z.enum(channels) })

const openStatement = statement(
  'open_breakers_by_ping',
  ChannelRow,
  (p: Named<{ provider: string; channels: readonly Channel[]; fault: Fault }>) => sql`
    with opened as (
      insert into provider_breakers as b (provider, channel, open, fault, by_ping, opened_at, probe_at)
      select ${p.provider}, channel, true, ${p.fault}::fault, true, clock_timestamp(),
        clock_timestamp() + ${seconds(breaker.firstPauseSeconds)}
      from (select distinct unnest(${p.channels}::channel[]) as channel) its
      on conflict (provider, channel) do update set ${opening(sql`true`)} where not b.open
      returning channel
    ), ${audited(
      sql`opened`,
      'breaker_opened',
      sql`jsonb_build_object('provider', ${p.provider}::text, 'channels', ${channelsOf(sql`opened`)},
        'fault', ${p.fault}::text, 'by', 'ping')`,
    )} select channel from opened`,
)

/**
 * Opens the breakers of an account on all its channels, for a health ping.
 * @returns the channels that were open to calls until now
 */
export async function openByPing(
  db: Queries,
  ping: { provider: string; channels: readonly Channel[]; fault: Fault },
): Promise<Channel[]> {
  const rows = await db.many(openStatement(ping))
  return rows.map(({ channel }) => channel)
}

/** What closing sets. */
const closing = sql`open = false, closed_at = clock_timestamp(), faults = '{}', fault = null, by_ping = false,
  probe_at = null, leased_until = null, failed_probes = 0`

const close = (provider: SQL, which: SQL) => sql`
  with open_ones as (
    select channel, opened_at from provider_breakers
    where provider = ${provider} and open and ${which} order by channel for update
  ), closed as (
    update provider_breakers b set ${closing} from open_ones o
    where b.provider = ${provider} and b.channel = o.channel and b.open returning b.channel, o.opened_at
  ), ${audited(
    sql`closed`,
    'breaker_closed',
    sql`jsonb_build_object('provider', ${provider}::text, 'channels', ${channelsOf(sql`closed`)}, 'open_seconds',
      (select round(extract(epoch from clock_timestamp() - min(opened_at)))::int from closed))`,
  )} select channel from closed`

const closeStatement = statement('close_breaker', ChannelRow, (p: Named<Guarded>) =>
  close(p.provider, sql`channel = ${p.channel}`),
)
const closePingedStatement = statement(
  'close_breakers_by_ping',
  ChannelRow,
  (p: Named<{ provider: string }>) => close(p.provider, sql`by_ping`),
)

/**
 * A call went through while the breaker was open: calls may go there again.
 * @returns whether it was still open
 */
export async function closeBreaker(db: Queries, { provider, channel }: Guarded): Promise<boolean> {
  return (await db.one(closeStatement({ provider, channel }))) !== undefined
}

const hastenStatement = statement(
  'hasten_probes',
  NoRow,
  (p: Named<{ provider: string }>) => sql`
  update provider_breakers set probe_at = least(probe_at, clock_timestamp()), failed_probes = 0
  where provider = ${p.provider} and open`,
)

/**
 * Pings are good again: closes what they had opened, and lets the next call to what calls had opened be a probe.
 * @returns the channels that are closed now
 */
export async function closeByPing(db: Queries, provider: string): Promise<Channel[]> {
  const rows = await db.many(closePingedStatement({ provider }))
  await db.many(hastenStatement({ provider }))
  return rows.map(({ channel }) => channel)
}

type Probe = Guarded & { probe: number }

const failStatement = statement('fail_probe', NoRow, (p: Named<Probe & { fault: Fault }>) => {
  const pause = sql`least(${breaker.firstPauseSeconds} * power(2, least(failed_probes + 1, 30)),
      ${breaker.longestPauseSeconds})`
  return sql`
    update provider_breakers set failed_probes = failed_probes + 1, fault = ${p.fault}::fault,
      leased_until = null, probe_at = clock_timestamp() + ${seconds(pause)}
    where ${isOf(p)} and open and probe_no = ${p.probe}`
})

/** A probe failed: the next one after a pause that is twice as long. */
export async function failProbe(
  db: Queries,
  { provider, channel, probe, fault }: Probe & { fault: Fault },
): Promise<void> {
  await db.many(failStatement({ provider, channel, probe, fault }))
}

const releaseStatement = statement(
  'release_probe',
  NoRow,
  (p: Named<Probe>) => sql`
  update provider_breakers set leased_until = null where ${isOf(p)} and open and probe_no = ${p.probe}`,
)

/** A probe showed nothing: the next call is one. */
export async function releaseProbe(
  db: Queries,
  { provider, channel, probe }: Probe,
): Promise<void> {
  await db.many(releaseStatement({ provider, channel, probe }))
}
