import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { randomId } from '../../codes/random-id'
import {
  rowsOf,
  type Scope,
  type ScopeKind,
  scopeKinds,
  scopesOf,
} from '../../core/protection/scopes'
import { type Environment, environments } from '../../core/requests/state'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '..'
import { ofServedApps, type Place } from '../requests/region'
import { type Named, NoRow, statement } from '../statement'

const BlockRow = z.strictObject({
  id: z.string(),
  name: z.string(),
  appId: z.string(),
  environment: z.enum(environments),
  scope: z.enum(scopeKinds),
  /** A country or the beginning of a number; null where it would be somebody's address, or is the whole app. */
  label: z.string().nullable(),
  rule: z.string(),
  asks: z.enum(['block', 'challenge']),
  /** How often in a row. */
  level: z.int(),
  since: z.date(),
  /** The same in UTC with the microseconds that a Date drops: where a page of blocks ends. */
  sinceExactly: z.string(),
  /** Null: until somebody lifts it. */
  until: z.date().nullable(),
  liftedAt: z.date().nullable(),
  stands: z.boolean(),
  refused: z.int(),
  lastRefusedAt: z.date().nullable(),
})

/** A block as people read it. */
export type BlockView = z.infer<typeof BlockRow>

const stands = sql`(until > now() and lifted_at is null)`
const columns = sql`id, name, app_id as "appId", environment, scope, label, rule, asks, level, since,
  to_char(since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "sinceExactly",
  case when until < 'infinity' then until end as until, lifted_at as "liftedAt", ${stands} as stands, refused,
  last_refused_at as "lastRefusedAt"`

export interface BlockFilter {
  /** Every app when absent, of those that `servedBy` serves where that is given. */
  appId?: string | undefined
  servedBy?: Place | undefined
  environment?: Environment | undefined
  stands?: boolean | undefined
  limit: number
  /**
   * Where the page before ended. As a place, not as a row: a block that is raised anew moves to the front, and a page
   * that went on behind the row would begin from the front again.
   */
  after?: { since: string; id: string } | undefined
}

/** The newest first. Unnamed: the filters make too many combinations for a constant of each. */
export function listBlocks(db: Queries, filter: BlockFilter): Promise<BlockView[]> {
  const { appId, servedBy, environment, limit, after } = filter
  const conditions: SQL[] = [
    sql`true`,
    ...(appId === undefined ? [] : [sql`app_id = ${appId}`]),
    ...(servedBy ? [ofServedApps(sql`send_blocks`, servedBy.region)] : []),
    ...(environment === undefined ? [] : [sql`environment = ${environment}`]),
    ...(filter.stands === undefined ? [] : [sql`${stands} = ${filter.stands}`]),
    ...(after === undefined ? [] : [sql`(since, id) < (${after.since}::timestamptz, ${after.id})`]),
  ]
  return db.many<BlockView>(sql`select ${columns} from send_blocks
    where ${sql.join(conditions, sql` and `)} order by since desc, id desc limit ${limit}`)
}

const findStatement = statement(
  'read_block',
  BlockRow,
  (p: Named<{ id: string }>) => sql`select ${columns} from send_blocks where id = ${p.id}`,
)

export const findBlock = (db: Queries, id: string): Promise<BlockView | undefined> =>
  db.one(findStatement({ id }))

/** The oldest message that may still be counted as one that did not come back, in minutes. */
const unsettledMinutes = 30

const liftStatement = statement(
  'lift_block',
  BlockRow,
  (p: Named<{ id: string }>) => sql`
      update send_blocks set lifted_at = clock_timestamp() where id = ${p.id} and ${stands} returning ${columns}`,
)

const forgetDecisionsStatement = statement(
  'forget_decisions_of_scope',
  NoRow,
  (p: Named<{ appId: string; environment: Environment; scope: ScopeKind; rows: string[] }>) => sql`
      update send_decisions d set scopes = array(select n from unnest(d.scopes) n where n <> all(${p.rows}::text[])),
        place = case when ${p.scope}::text = 'block' then null else place end
      where app_id = ${p.appId} and environment = ${p.environment}::key_environment and matures_at is not null
        and at > now() - make_interval(mins => ${unsettledMinutes}) and d.scopes && ${p.rows}::text[]`,
)

const forgetStandingsStatement = statement(
  'forget_standings_of_scope',
  NoRow,
  (p: Named<{ rows: string[] }>) => sql`
      with held as (
        select name from send_standings where name = any(${p.rows}::text[]) order by name collate "C" for update
      )
      update send_standings s set pending = 0, failed = 0, failed_hour = 0, failed_ever = greatest(failed_ever - failed, 0), places = '{}'
      from held where s.name = held.name`,
)

/**
 * Ends a block, and forgets what its scope was found guilty of, the messages that are still out included: else the next
 * send would raise it again.
 * @returns undefined when it does not stand
 */
export const liftBlock = (
  db: Database,
  { id, actor }: { id: string; actor: string },
): Promise<BlockView | undefined> =>
  db.transaction(async (tx) => {
    const lifted = await tx.one(liftStatement({ id }))
    if (!lifted) return undefined
    const { appId, environment, scope, name, label, rule } = lifted
    const rows = rowsOf({ kind: scope, name })
    // In the order of who counts what matured: decisions, then standings.
    await tx.many(forgetDecisionsStatement({ appId, environment, scope, rows }))
    await tx.many(forgetStandingsStatement({ rows }))
    const detail = { block_id: id, environment, scope, label, rule }
    await tx.many(auditAdmin({ appId, type: 'block_lifted', actor, detail }))
    return lifted
  })

/** What people may block: never somebody's address, which nobody outside knows the digest of. */
export const scopesByHand = [
  'block',
  'range',
  'country',
  'cold',
  'app',
] as const satisfies ScopeKind[]
export type ScopeByHand = (typeof scopesByHand)[number]

export interface BlockByHand {
  appId: string
  environment: Environment
  scope: ScopeByHand
  /** The beginning of the numbers of a block or a range, with `+`; two letters of a country; absent for the others. */
  place?: string | undefined
  asks: 'block' | 'challenge'
  /** Until lifted when absent. */
  seconds?: number | undefined
  actor: string
}

interface RaiseParams {
  id: string
  name: string
  appId: string
  environment: Environment
  scope: ScopeKind
  label: string | null
  asks: 'block' | 'challenge'
  /** Null: until somebody lifts it. */
  seconds: number | null
}

const raiseStatement = statement(
  'raise_block_by_hand',
  BlockRow,
  (p: Named<RaiseParams>) => sql`
      insert into send_blocks as b (id, name, app_id, environment, scope, label, rule, asks, level, since, until)
      values (${p.id}, ${p.name}, ${p.appId}, ${p.environment}, ${p.scope}, ${p.label}, 'by_hand', ${p.asks}, 1, now(),
        coalesce(now() + make_interval(secs => ${p.seconds}), 'infinity'))
      on conflict (name) do update set rule = 'by_hand', asks = excluded.asks, since = excluded.since,
        until = excluded.until, level = 1, lifted_at = null, refused = 0, last_refused_at = null
      returning ${columns}`,
)

/** Raises a block that no rule asked for; one that stands gives way to it. */
export const raiseByHand = (db: Database, wish: BlockByHand): Promise<BlockView> =>
  db.transaction(async (tx) => {
    const { appId, environment, scope, asks, seconds, actor } = wish
    const { name } = scopeByHand(wish)
    const label = wish.place ?? null
    const raised = await tx.one(
      raiseStatement({
        ...{ id: randomId('blk'), name, appId, environment, scope, label, asks },
        seconds: seconds ?? null,
      }),
    )
    if (!raised) throw new Error('Postgres returned no row for a block.')
    const detail = {
      block_id: raised.id,
      scope,
      label,
      rule: 'by_hand',
      asks,
      level: 1,
      environment,
    }
    await tx.many(auditAdmin({ appId, type: 'block_raised', actor, detail }))
    return raised
  })

/** A number in the place, and its country, so that the scope is the one that sends there have. */
function scopeByHand({ appId, environment, scope, place = '' }: BlockByHand): Scope {
  const digits = { block: '0000', range: '000000', country: '', cold: '', app: '' }[scope]
  const isCountry = scope === 'country'
  const scopes = scopesOf({
    app: appId,
    environment,
    number: isCountry ? '' : `${place}${digits}`,
    country: isCountry ? place : null,
  })
  const found = scopes.find(({ kind }) => kind === scope)
  if (!found) throw new Error(`A send has no scope ${scope}.`)
  return found
}
