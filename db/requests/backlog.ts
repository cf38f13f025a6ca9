import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { backlog } from '../../core/limits'
import { environments } from '../../core/requests/state'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'

const { afterSeconds, withinSeconds, newest, atLeast, atLeastApps } = backlog

/**
 * A run of the row `r` was started in the time that is looked at, long enough ago. Requests are made right before their
 * runs are started, so the index of the former finds them.
 */
const isSample = (
  r: SQL,
) => sql`${r}.created_at > now() - make_interval(secs => ${2 * withinSeconds})
  and ${r}.workflow_started_at between now() - make_interval(secs => ${withinSeconds}) and now() - make_interval(secs => ${afterSeconds})`

/** Its first message is not claimed yet, and not because its run was gone. */
const waits = (r: SQL) => sql`${r}.state = 'pending' and ${r}.attempt_seq = 0 and ${r}.restarts = 0`

const BehindRow = z.strictObject({
  /** Null: workers are behind for all apps. */
  appId: z.string().nullable(),
  environment: z.enum(environments),
})
export type Behind = z.infer<typeof BehindRow>

const behindStatement = statement(
  'find_behind',
  BehindRow,
  (p: Named<{ region: string | null }>) => sql`
  with served as (
    select id from apps where region is null or region = ${p.region}::text
  ), waiting as materialized (
    select distinct app_id, environment from otp_requests r
    where ${waits(sql`r`)} and ${isSample(sql`r`)} and app_id in (select id from served)
  ), judged as (
    select waiting.app_id, waiting.environment from waiting cross join lateral (
      select ${waits(sql`r`)} as waits from otp_requests r
      where r.app_id = waiting.app_id and r.environment = waiting.environment and ${isSample(sql`r`)}
      order by r.created_at desc limit ${newest}) sample
    group by waiting.app_id, waiting.environment
    having count(*) >= ${atLeast} and count(*) filter (where waits) * 2 > count(*)
  ), voted as (
    -- Each app has one vote, by its newest run: the many runs of one say nothing of the others.
    select each.environment from served
      cross join (select unnest(enum_range(null::key_environment)) as environment) each
      cross join lateral (
        select ${waits(sql`r`)} as waits from otp_requests r
        where r.app_id = served.id and r.environment = each.environment and ${isSample(sql`r`)}
        order by r.created_at desc limit 1) vote
    where (select count(distinct app_id) from waiting) >= ${atLeastApps}
    group by each.environment
    having count(*) filter (where waits) >= ${atLeastApps} and count(*) filter (where waits) * 2 > count(*)
  )
  select app_id as "appId", environment from judged union all select null, environment from voted`,
)

/**
 * The apps, by environment, whose newest runs mostly wait for their first claim; all of them where most apps do. Apps of
 * other regions have no part in it.
 * @param region of this process; undefined: of none
 */
export const findBehind = (db: Queries, region: string | undefined): Promise<Behind[]> =>
  db.many(behindStatement({ region: region ?? null }))
