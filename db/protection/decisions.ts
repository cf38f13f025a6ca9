import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { judgeMatured } from '../../core/protection/rules'
import { memory, noStanding, type Standing } from '../../core/protection/standing'
import { rowsOf, type Scope, scopeNamed, scopeOfRow } from '../../core/protection/scopes'
import { type Environment, environments } from '../../core/requests/state'
import type { Verdict } from '../../core/protection/verdict'
import { inTransaction } from '../hold'
import type { Queries } from '..'
import { IdRow, type Named, NoRow, statement } from '../statement'
import { noteBlocked, raiseBlock } from './blocks'
import { type Guarded, type GuardedSend, labelOf } from './guard'
import { momentIn, secondsIn } from './moment'
import { byScope, StandingRow } from './standing-rows'

interface RefusalParams {
  requestId: string
  app: string
  environment: Environment
  country: string | null
  at: Date | null
  verdict: Verdict
  mode: GuardedSend['mode']
  findings: string
}

const refusalStatement = statement(
  'note_refusal',
  NoRow,
  (p: Named<RefusalParams>) => sql`
  insert into send_decisions (request_id, recipient_id, app_id, environment, country, at, verdict, mode, findings)
  values (${p.requestId}, null, ${p.app}, ${p.environment}, ${p.country}, ${momentIn(p.at)},
    ${p.verdict}, ${p.mode}, ${p.findings}::jsonb)`,
)

/**
 * Writes a refusal down, after what it would have made was rolled back, the recipient's row perhaps among it, and raises
 * the blocks that its findings ask for.
 * @param at as of `guardSend`: absent in the service
 */
export async function noteRefusal(
  db: Queries,
  send: GuardedSend,
  { verdict, findings }: Pick<Guarded, 'findings'> & { verdict: Verdict },
  at?: Date,
): Promise<void> {
  const { requestId, app, environment, country, mode } = send
  await db.many(
    refusalStatement({
      ...{ requestId, app, environment, country, mode, verdict },
      ...{ findings: JSON.stringify(findings), at: at ?? null },
    }),
  )
  await raiseAll(db, send, { findings }, at)
}

/** Raises the blocks that findings ask for, and notes those that stand already. */
async function raiseAll(
  db: Queries,
  send: GuardedSend,
  { findings }: Pick<Guarded, 'findings'>,
  at?: Date,
): Promise<void> {
  for (const finding of findings) {
    if (finding.scope === 'send') continue
    if (finding.rule === 'blocked')
      await noteBlocked(db, { kind: finding.scope, name: finding.name }, at)
    else
      await inTransaction(db, (tx) =>
        raiseBlock(tx, {
          appId: send.app,
          environment: send.environment,
          finding,
          label: labelOf(finding, send),
          at,
        }),
      )
  }
}

/** The counts of a row `s` as they are at `now_s`. */
const faded = (count: string, memorySeconds: number): SQL =>
  sql.raw(`faded_count(s.${count}, now_s - s.at, ${memorySeconds})`)

/** Sums by scope of decisions that a statement before took (`taken`), and the scopes' rows, held in the order of names. */
const summedUp = sql`
  sums as materialized (
    select n.name, count(distinct t.request_id)::float8 as requests, count(*)::float8 as messages,
      sum(faded_count(1, now_s - date_part('epoch', t.at), ${sql.raw(String(memory.pending))})) as fading,
      array_agg(t.place) filter (where t.place is not null) as places, min(now_s) as now_s
    from taken t cross join unnest(t.scopes) as n (name) group by 1
  ), held as materialized (
    select s.name from send_standings s where s.name in (select name from sums) order by s.name collate "C" for update
  )`

/** The update of all counts; what is added to each beside its fading. */
const updated = (
  more: Partial<
    Record<
      'pending' | 'passed' | 'hour' | 'failed' | 'day' | 'ever' | 'failedEver' | 'failedHour',
      SQL
    >
  >,
) => {
  const none = sql`0`
  return sql`
    update send_standings s set at = greatest(s.at, now_s),
      pending = greatest(${faded('pending', memory.pending)} + ${more.pending ?? none}, 0),
      passed = ${faded('passed', memory.passed)} + ${more.passed ?? none},
      passed_hour = ${faded('passed_hour', memory.hour)} + ${more.hour ?? none},
      failed = ${faded('failed', memory.day)} + ${more.failed ?? none},
      passed_day = ${faded('passed_day', memory.day)} + ${more.day ?? none},
      passed_ever = ${faded('passed_ever', memory.ever)} + ${more.ever ?? none},
      failed_ever = ${faded('failed_ever', memory.ever)} + ${more.failedEver ?? none},
      failed_hour = ${faded('failed_hour', memory.hour)} + ${more.failedHour ?? none}`
}

interface CreditParams {
  ids: string[]
  at: Date | null
}

const creditStatement = statement(
  'credit_sends',
  IdRow,
  (p: Named<CreditParams>) => sql`
  with holders as materialized (
    -- An erasure holds recipients before their decisions, so this does too.
    select id from recipients where id in (select recipient_id from send_decisions
      where request_id = any(${p.ids}::text[]) and outcome is null) order by id for no key update
  ), taken as (
    update send_decisions set outcome = 'converted', matures_at = null
    where request_id = any(${p.ids}::text[]) and outcome is null and verdict = 'allowed'
      and (select count(*) from holders) >= 0
    returning request_id, recipient_id, environment, at, scopes, place, ${secondsIn(p.at)} as now_s
  ), known as (
    insert into recipient_verifications as v (recipient_id, environment, verified_at)
    select t.recipient_id, t.environment, to_timestamp(max(now_s))
    from taken t join recipients r on r.id = t.recipient_id where r.erased_at is null group by 1, 2
    on conflict (recipient_id, environment) do update set
      verified_at = greatest(v.verified_at, excluded.verified_at)
  ), ${summedUp}, credited as (
    ${updated({
      pending: sql`-fading`,
      passed: sql`requests`,
      hour: sql`requests`,
      day: sql`requests`,
      ever: sql`requests`,
    })},
      places = array(select p from unnest(s.places) p where p <> all(coalesce(sums.places, '{}')))
    from sums join held using (name) where s.name = sums.name
  )
  select request_id as id from taken`,
)

const forgetCredited = statement(
  'forget_credited_scopes',
  NoRow,
  (p: Named<{ ids: string[] }>) => sql`
  update send_decisions set scopes = null, place = null
  where request_id = any(${p.ids}::text[]) and outcome = 'converted'`,
)

/**
 * Credits the scopes of requests whose code came back, once; their recipients are known in this environment from now on.
 * @returns how many messages it was
 */
export const creditSends = (
  db: Queries,
  requestIds: readonly string[],
  at?: Date,
): Promise<number> =>
  inTransaction(db, async (tx) => {
    const ids = [...requestIds]
    const rows = await tx.many(creditStatement({ ids, at: at ?? null }))
    if (rows.length > 0) await tx.many(forgetCredited({ ids }))
    return rows.length
  })

const MaturedRow = z.strictObject({
  appId: z.string(),
  environment: z.enum(environments),
  /** The row's name. */
  name: z.string(),
})
type Matured = z.infer<typeof MaturedRow>

/** A page of what matured. */
export interface Settled {
  /** Messages that were looked at; fewer than the limit: none is left. */
  count: number
  /** Scopes that were found to be of an attack. */
  raised: number
}

/**
 * Counts messages whose code had its time and did not come back, and judges their scopes by the slow rules. A credit
 * that a crash lost is made up for here; whoever came back with a later code did not fail.
 */
export const settleSends = async (db: Queries, limit: number, at?: Date): Promise<Settled> => {
  const { rows, ids } = await inTransaction(db, (tx) => settle(tx, limit, at))
  await creditSends(db, ids.late, at)
  const raised = await judgeAll(db, rows, at)
  return { count: ids.all, raised }
}

const matureStatement = statement(
  'find_matured',
  z.strictObject({
    id: z.string(),
    requestId: z.string(),
    isLate: z.boolean(),
    isPassed: z.boolean(),
  }),
  (p: Named<{ limit: number; at: Date | null }>) => sql`
  select d.id::text, d.request_id as "requestId", coalesce(r.state = 'verified', false) as "isLate",
    coalesce(p.verified_at >= d.at, false) as "isPassed"
  from send_decisions d left join otp_requests r on r.id = d.request_id
    left join recipient_verifications p on p.recipient_id = d.recipient_id and p.environment = d.environment
  where d.matures_at <= ${momentIn(p.at)} order by d.matures_at limit ${p.limit} for update of d skip locked`,
)

const supersedeStatement = statement(
  'supersede_decisions',
  NoRow,
  (p: Named<{ ids: string[] }>) => sql`
  update send_decisions set outcome = 'superseded', matures_at = null, scopes = null, place = null
  where id = any(${p.ids}::bigint[])`,
)

const failStatement = statement(
  'count_unconverted',
  MaturedRow,
  (p: Named<CreditParams>) => sql`
  with taken as (
    update send_decisions set outcome = 'unconverted', matures_at = null where id = any(${p.ids}::bigint[])
    returning request_id, app_id, environment, at, scopes, place, ${secondsIn(p.at)} as now_s
  ), ${summedUp}, counted as (
    ${updated({ failed: sql`messages`, failedHour: sql`messages`, failedEver: sql`messages` })}
    from sums join held using (name) where s.name = sums.name
  )
  select distinct app_id as "appId", environment, n.name from taken cross join unnest(scopes) as n (name)`,
)

const forgetFailed = statement(
  'forget_unconverted_scopes',
  NoRow,
  (p: Named<{ ids: string[] }>) =>
    sql`update send_decisions set scopes = null, place = null where id = any(${p.ids}::bigint[])`,
)

async function settle(tx: Queries, limit: number, given: Date | undefined) {
  const at = given ?? null
  const due = await tx.many(matureStatement({ limit, at }))
  const late = due.filter(({ isLate }) => isLate).map(({ requestId }) => requestId)
  const passed = due.filter(({ isLate, isPassed }) => !isLate && isPassed).map(({ id }) => id)
  const failed = due.filter(({ isLate, isPassed }) => !isLate && !isPassed).map(({ id }) => id)
  await tx.many(supersedeStatement({ ids: passed }))
  const rows = await tx.many(failStatement({ ids: failed, at }))
  await tx.many(forgetFailed({ ids: failed }))
  return { rows, ids: { all: due.length, late } }
}

/** Judges every scope that something matured in, each with its app. */
async function judgeAll(
  db: Queries,
  rows: readonly Matured[],
  at: Date | undefined,
): Promise<number> {
  const named = new Map<string, Matured & { scope: Scope }>()
  for (const row of rows) {
    const scope = scopeNamed(scopeOfRow(row.name))
    if (scope) named.set(scope.name, { ...row, scope })
  }
  const apps = new Map(
    [...named.values()].map(({ appId, environment }) => [`${environment}|${appId}|app`, appId]),
  )
  const wanted: Scope[] = [
    ...[...named.values()].map(({ scope }) => scope),
    ...[...apps.keys()].map((name): Scope => ({ kind: 'app', name })),
  ]
  const standings = await readStandings(db, wanted, at)
  const shut = await countBlocks(db, [...apps.values()], at)
  let raised = 0
  for (const { appId, environment, scope } of named.values()) {
    const { kind, name, label = null } = scope
    const app = {
      standing: standings.get(`${environment}|${appId}|app`) ?? noStanding,
      standingBlocks: shut.get(`${environment}|${appId}`) ?? 0,
    }
    const standing = standings.get(name) ?? noStanding
    for (const finding of judgeMatured({ kind, name, standing }, app)) {
      const isNew = await inTransaction(db, (tx) =>
        raiseBlock(tx, { appId, environment, finding, label, at }),
      )
      raised += Number(isNew)
    }
  }
  return raised
}

const shutStatement = statement(
  'count_shut_blocks',
  z.strictObject({ name: z.string(), count: z.int() }),
  (p: Named<{ appIds: readonly string[]; at: Date | null }>) => sql`
    select environment || '|' || app_id as name, count(*)::int as count from send_blocks
    where app_id = any(${p.appIds}::text[]) and scope = 'block' and lifted_at is null and until > ${momentIn(p.at)}
    group by 1`,
)

/** How many number blocks of apps are shut, by environment and app. */
async function countBlocks(
  db: Queries,
  appIds: readonly string[],
  at: Date | undefined,
): Promise<Map<string, number>> {
  const rows = await db.many(shutStatement({ appIds, at: at ?? null }))
  return new Map(rows.map(({ name, count }) => [name, count]))
}

const standingsStatement = statement(
  'read_standings',
  StandingRow,
  (p: Named<{ names: string[]; at: Date | null }>) => sql`
    select s.name, ${faded('pending', memory.pending)} as pending, ${faded('passed', memory.passed)} as passed,
      ${faded('passed_hour', memory.hour)} as "passedHour",
      ${faded('failed', memory.day)} as failed, ${faded('passed_day', memory.day)} as "passedDay",
      ${faded('passed_ever', memory.ever)} as "passedEver",
      ${faded('failed_ever', memory.ever)} as "failedEver",
      ${faded('failed_hour', memory.hour)} as "failedHour", s.places
    from send_standings s, (select ${secondsIn(p.at)} as now_s) clock where s.name = any(${p.names}::text[])`,
)

/** What is known of scopes now. */
export async function readStandings(
  db: Queries,
  scopes: readonly Scope[],
  at?: Date,
): Promise<Map<string, Standing>> {
  const names = [...new Set(scopes.flatMap(rowsOf))]
  const rows = await db.many(standingsStatement({ names, at: at ?? null }))
  return byScope(rows)
}
