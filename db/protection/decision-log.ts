import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { ProtectionMode } from '../../core/protection/protection'
import type { Finding } from '../../core/protection/rules'
import { type Verdict, verdicts } from '../../core/protection/verdict'
import { type Environment, environments } from '../../core/requests/state'
import type { Queries } from '..'
import { type Owner, ownedBy } from '../requests/owner'
import { ofServedApps, type Place } from '../requests/region'
import { type Named, NoRow, statement } from '../statement'

/** What was decided about one send, as people read it. */
export type DecisionView = z.infer<typeof DecisionRow>

const DecisionRow = z.strictObject({
  id: z.string(),
  /** A refused send made no request of this id. */
  requestId: z.string(),
  appId: z.string(),
  environment: z.enum(environments),
  country: z.string().nullable(),
  at: z.date(),
  verdict: z.enum(verdicts),
  mode: z.custom<ProtectionMode>(),
  findings: z.custom<Finding[]>(Array.isArray),
  /** What became of it: its code came back (`converted`), or did not (`unconverted`); null until that is known. */
  outcome: z.string().nullable(),
})

// In an order by, a bare name means the column of the answer before that of the table: `id` would be its text, in which
// 9 comes after 10. So everything below names the table's as d.id.
const columns = sql`d.id::text as id, d.request_id as "requestId", d.app_id as "appId", d.environment, d.country, d.at,
  d.verdict, d.mode, d.findings, d.outcome`

const lastStatement = statement(
  'read_last_decision',
  DecisionRow,
  (p: Named<Owner & { requestId: string }>) => sql`
  select ${columns} from send_decisions d
  where request_id = ${p.requestId} and ${ownedBy(p)} order by d.id desc limit 1`,
)

/** The newest decision about a request's sends. */
export const lastDecision = (
  db: Queries,
  { requestId, appId, environment }: Owner & { requestId: string },
) => db.one(lastStatement({ requestId, appId, environment }))

export interface DecisionFilter {
  /** Every app when absent, of those that `servedBy` serves where that is given. */
  appId?: string | undefined
  servedBy?: Place | undefined
  environment?: Environment | undefined
  verdict?: Verdict | undefined
  requestId?: string | undefined
  since?: Date | undefined
  /** The id that the page before ended with. */
  before?: string | undefined
  limit: number
}

/**
 * Decisions, the newest first: of each app, environment and verdict that is asked for the newest by their index, and of
 * those together the newest. Those of one request have an index of their own. Unnamed: the filters make too many
 * combinations for a constant of each.
 */
export function listDecisions(db: Queries, filter: DecisionFilter): Promise<DecisionView[]> {
  const { appId, servedBy, environment, verdict, requestId, since, before, limit } = filter
  // As a sum, which no index has: the newest come by their ids, and all that is younger must not be read to be sorted.
  const isSince = since === undefined ? sql`true` : sql`d.at + interval '0' >= ${since}`
  const highest = before === undefined ? sql`9223372036854775807` : sql`${before}::bigint - 1`
  if (requestId !== undefined) {
    const own = [
      ...(appId === undefined ? [] : [sql`d.app_id = ${appId}`]),
      ...(servedBy ? [ofServedApps(sql`d`, servedBy.region)] : []),
      ...(environment === undefined ? [] : [sql`d.environment = ${environment}`]),
      ...(verdict === undefined ? [] : [sql`d.verdict = ${verdict}`]),
    ]
    return db.many<DecisionView>(sql`select ${columns} from send_decisions d
      where d.request_id = ${requestId} and ${isSince} and d.id <= ${highest}
        and ${sql.join([sql`true`, ...own], sql` and `)}
      order by d.id desc limit ${limit}`)
  }
  // Ids grow with the time, but for sends that were decided at once.
  const lowest =
    since === undefined
      ? sql`0`
      : sql`coalesce((select x.id from send_decisions x
          where x.app_id = a.id and x.at >= ${since} order by x.at limit 1), 9223372036854775807) - ${idSlack}`
  const wherever = environment === undefined ? environments : [environment]
  const whatever = verdict === undefined ? verdicts : [verdict]
  // Of rows, so that no other index gives their order: by that of ids alone all that is rare would be looked for among all.
  const place = (id: SQL) => sql`(a.id, e.environment, v.verdict, ${id})`
  const row = sql`(d.app_id, d.environment, d.verdict, d.id)`
  return db.many<DecisionView>(sql`
    select ${columns} from apps a
      cross join lateral (select ${lowest} as id) low
      cross join unnest(${sql.param([...wherever])}::key_environment[]) as e (environment)
      cross join unnest(${sql.param([...whatever])}::text[]) as v (verdict)
      cross join lateral (select * from send_decisions d
        where ${row} >= ${place(sql`low.id`)} and ${row} <= ${place(highest)} and ${isSince}
        order by d.app_id desc, d.environment desc, d.verdict desc, d.id desc limit ${limit}) d
    where ${appId === undefined ? sql`true` : sql`a.id = ${appId}`}
      and ${servedBy ? sql`(a.region is null or a.region = ${servedBy.region ?? null})` : sql`true`}
    order by d.id desc limit ${limit}`)
}

/** By so much the id of an earlier send may be greater: far more than are decided at once. */
const idSlack = sql.raw('100000')

/** What turned a send away before the fraud rules were asked, and before anything was known of its recipient. */
export interface TurnedAway {
  requestId: string
  appId: string
  environment: Environment
  country: string | null
  verdict: Extract<Verdict, 'blocked' | 'challenge'>
  mode: ProtectionMode
  /** In the words of the findings. */
  rule: string
}

const turnedAwayStatement = statement(
  'note_turned_away',
  NoRow,
  (p: Named<Omit<TurnedAway, 'rule'> & { findings: string }>) => sql`
    insert into send_decisions (request_id, app_id, environment, country, at, verdict, mode, findings)
    values (${p.requestId}, ${p.appId}, ${p.environment}, ${p.country}, clock_timestamp(),
      ${p.verdict}, ${p.mode}, ${p.findings}::jsonb)`,
)

/** Writes down what the rules did not decide; it raises no block. */
export async function noteTurnedAway(db: Queries, { rule, ...send }: TurnedAway): Promise<void> {
  const asks = send.verdict === 'blocked' ? 'block' : 'challenge'
  const finding = { rule, scope: 'send', name: '', asks, count: 1, limit: 1 }
  const { requestId, appId, environment, country, verdict, mode } = send
  await db.many(
    turnedAwayStatement({
      ...{ requestId, appId, environment, country, verdict, mode },
      findings: JSON.stringify([finding]),
    }),
  )
}
