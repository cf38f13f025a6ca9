import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { AppFigures } from '../../core/alerts/figures'
import { usualDays } from '../../core/alerts/figures'
import { publishablePurpose } from '../../core/requests/page-request'
import { environments } from '../../core/requests/state'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'
import { momentIn } from '../protection/moment'

/** The sums of this hour are this old at most, in seconds, while somebody keeps them. */
const freshSeconds = 50
/** So long after its end an hour is still summed: a code lives for 600 s at most, and then has a minute. */
const lateSeconds = 900
/** What nobody summed for longer than this is left out, in hours. */
const longestPause = 48
/** By then a message has arrived, or is late, in seconds. */
const arrivesWithin = 180
/** So long after the end of its life a code counts as one that did not come back. */
const graceSeconds = 60

const late = sql`make_interval(secs => ${lateSeconds})`
const nextHour = sql`hour + interval '1 hour'`

/** The hours to sum, the oldest first; those in which nobody asked for anything have no sums, and are left out. */
const hoursStatement = statement(
  'find_hours_to_sum',
  z.strictObject({ hour: z.date() }),
  (p: Named<{ at: Date | null }>) => sql`
  with clock as (
    select ${momentIn(p.at)} as now
  ), recent as (
    select now, now - make_interval(hours => ${longestPause}) as least from clock
  ), due as (
    select now, greatest(date_trunc('hour', least), least(date_trunc('hour', now - ${late}),
      (select coalesce(max(hour), '-infinity') from app_hours where hour <= now),
      -- Nobody summed it again once its codes had had their time: nobody was there.
      (select min(hour) from app_hours where hour > least and hour <= now
        and summed_at < hour + interval '1 hour' + ${late}))) as since
    from recent where not exists (select from app_hours where hour >= date_trunc('hour', now) and hour <= now
      and summed_at > now - make_interval(secs => ${freshSeconds}))
  )
  select hour from due cross join generate_series(since, now, interval '1 hour') hour
  where exists (select from otp_requests where created_at >= hour and created_at < ${nextHour})
    or exists (select from apps a cross join lateral (
      select from send_decisions where app_id = a.id and at >= hour and at < ${nextHour} limit 1) decision)
  order by 1`,
)

const within = (column: string, hour: SQL) =>
  sql`${sql.raw(column)} >= ${hour}::timestamptz and ${sql.raw(column)} < ${hour}::timestamptz + interval '1 hour'`

const sumStatement = statement(
  'sum_app_hour',
  NoRow,
  (p: Named<{ hour: Date; at: Date | null }>) => sql`
    with clock as (select ${momentIn(p.at)} as now), decided as (
      select d.app_id, d.environment, coalesce(d.country, '') as country,
        count(*) filter (where d.verdict = 'allowed') as sends, count(*) filter (where d.verdict = 'challenge') as challenged,
        count(*) filter (where d.verdict = 'blocked') as blocked,
        0 as due, 0 as reached, 0 as matured, 0 as converted, 0 as locked
      -- App by app, as the index has them.
      from apps a cross join lateral (select * from send_decisions where app_id = a.id and ${within('at', p.hour)} offset 0) d
      group by 1, 2, 3
    ), asked as (
      select app_id, environment, coalesce(country, '') as country, 0, 0, 0,
        count(*) filter (where tried and created_at <= now - make_interval(secs => ${arrivesWithin})),
        count(*) filter (where tried and created_at <= now - make_interval(secs => ${arrivesWithin})
          and (delivered_at is not null or succeeded_at is not null or state = 'verified')),
        count(*) filter (where tried and state <> 'cancelled' and expires_at <= now - make_interval(secs => ${graceSeconds})),
        count(*) filter (where tried and state = 'verified' and expires_at <= now - make_interval(secs => ${graceSeconds})),
        count(*) filter (where state = 'locked' or (purpose = ${publishablePurpose}
          and exists (select from page_requests p where p.request_id = r.id and p.checks >= r.max_checks and p.verified_at is null)))
      from clock, lateral (select *, attempt_seq > 0 as tried from otp_requests
        where ${within('created_at', p.hour)} and not test_number) r
      group by 1, 2, 3
    ), sums as (
      select app_id, environment, country, sum(sends) as sends, sum(challenged) as challenged, sum(blocked) as blocked,
        sum(due) as due, sum(reached) as reached, sum(matured) as matured, sum(converted) as converted,
        sum(locked) as locked
      from (select * from decided union all select * from asked) both_of_them group by 1, 2, 3
    )
    insert into app_hours as h (app_id, environment, country, hour, sends, challenged, blocked, due, reached, matured,
      converted, locked, summed_at)
    select app_id, environment, country, ${p.hour}::timestamptz, sends, challenged, blocked, due, reached, matured, converted, locked,
      now from sums, clock order by 1, 2, 3
    on conflict (app_id, environment, country, hour) do update set sends = excluded.sends, challenged = excluded.challenged,
      blocked = excluded.blocked, due = excluded.due, reached = excluded.reached,
      matured = excluded.matured, converted = excluded.converted, locked = excluded.locked, summed_at = excluded.summed_at`,
)

/**
 * Sums up what sends came to by app, environment, country and hour, unless that was just done; after a pause it begins
 * with the hour where it stopped. Hour by hour, so that no statement is long; two of these at once write the same.
 * @param at the time to go by; the database's when absent
 * @returns how many hours were summed
 */
export async function sumAppHours(db: Queries, at?: Date): Promise<number> {
  const hours = await db.many(hoursStatement({ at: at ?? null }))
  for (const { hour } of hours) await db.many(sumStatement({ hour, at: at ?? null }))
  return hours.length
}

const activeStatement = statement(
  'find_active_apps',
  z.strictObject({ appId: z.string() }),
  (p: Named<{ at: Date | null }>) => sql`
    with clock as (select date_trunc('hour', ${momentIn(p.at)}) as now)
    select distinct app_id as "appId" from app_hours, clock
    where hour > now - interval '24 hours' and hour <= now order by 1`,
)

/** Apps with a send within the last day. */
export async function activeApps(db: Queries, at?: Date): Promise<string[]> {
  const rows = await db.many(activeStatement({ at: at ?? null }))
  return rows.map(({ appId }) => appId)
}

/** The sums of an app's days as one. */
const together = sql.raw(
  [
    ...['sends', 'refused', 'locked', 'due', 'reached', 'matured', 'converted', 'sends_six'],
    ...['week_sends', 'week_refused', 'week_locked', 'week_matured', 'week_converted'],
  ]
    .map((name) => `sum(${name})::int as ${name}`)
    .join(', '),
)

type Sums = Readonly<Record<string, string>>

/** Sums of the last hours, the one under way included. */
const recent = (hours: number, sums: Sums) => summed(`age < ${hours}`, sums)
/** Sums of the week before that. */
const usually = (sums: Sums) => summed('age >= 4 and age < 172', sums)

const summed = (condition: string, sums: Sums) =>
  sql.raw(
    Object.entries(sums)
      .map(([name, what]) => `coalesce(sum(${what}) filter (where ${condition}), 0) as ${name}`)
      .join(', '),
  )

const AppFiguresRow = z.strictObject({
  appId: z.string(),
  environment: z.enum(environments),
  country: z.string(),
  days: z.custom<AppFigures['days']>(Array.isArray),
  oldest: z.int(),
  sends: z.int(),
  refused: z.int(),
  locked: z.int(),
  due: z.int(),
  reached: z.int(),
  matured: z.int(),
  converted: z.int(),
  sendsSix: z.int(),
  weekSends: z.int(),
  weekRefused: z.int(),
  weekLocked: z.int(),
  weekMatured: z.int(),
  weekConverted: z.int(),
  users: z.int(),
})

const figuresStatement = statement(
  'read_app_figures',
  AppFiguresRow,
  (p: Named<{ appId: string; at: Date | null }>) => sql`
    with clock as (select date_trunc('hour', ${momentIn(p.at)}) as now), active as (
      select distinct app_id, environment, country from app_hours, clock
      where app_id = ${p.appId} and hour > now - interval '24 hours' and hour <= now
    -- Once: every sum below asks for the age.
    ), hours as materialized (
      select h.*, (extract(epoch from now - h.hour)::int / 3600) as age
      from clock cross join active join app_hours h using (app_id, environment, country)
      -- As a value, so that the index goes no further back.
      where h.hour > (select now from clock) - make_interval(hours => ${(usualDays + 1) * 24})
        and h.hour <= (select now from clock)
    ), days as (
      select app_id, environment, country, age / 24 as day, max(age) as oldest,
        ${summed('age % 24 = 0', { hour: 'sends' })}, ${summed('age % 24 = 1', { before: 'sends' })},
        ${summed('age % 24 < 12', { half: 'sends' })},
        ${recent(2, { sends: 'sends', refused: 'challenged + blocked', locked: 'locked' })},
        ${recent(3, { due: 'due', reached: 'reached' })},
        ${recent(4, { matured: 'matured', converted: 'converted' })},
        ${recent(6, { sends_six: 'sends' })},
        ${usually({ week_sends: 'sends', week_refused: 'challenged + blocked', week_locked: 'locked' })},
        ${usually({ week_matured: 'matured', week_converted: 'converted' })}
      from hours group by 1, 2, 3, 4
    ), sums as (
      select app_id, environment, country, max(oldest) as oldest,
        jsonb_agg(jsonb_build_object('day', day, 'hour', hour, 'before', before, 'half', half) order by day) as days,
        ${together}
      from days group by 1, 2, 3
    )
    select app_id as "appId", environment, country, days, oldest, sends, refused, locked, due, reached, matured, converted,
      sends_six as "sendsSix", week_sends as "weekSends", week_refused as "weekRefused", week_locked as "weekLocked",
      week_matured as "weekMatured", week_converted as "weekConverted",
      -- Of the month only where the week does not say it, and somebody asks.
      case when sends_six < 15 or week_converted >= 10 then week_converted
        else (select coalesce(sum(m.converted), 0) from app_hours m
          where m.app_id = s.app_id and m.environment = s.environment and m.country = s.country
            and m.hour > now - interval '28 days' and m.hour <= now - interval '24 hours') end::int as users
    from clock, sums s order by 1, 2, 3`,
)

/**
 * What alerts about an app are judged by, of every country with a send within the last day: sums of the last hours, and
 * what was usual at this time of the day. App by app, so that no statement is long however many there are.
 */
export const readAppFigures = (db: Queries, appId: string, at?: Date): Promise<AppFigures[]> =>
  db.many(figuresStatement({ appId, at: at ?? null }))
