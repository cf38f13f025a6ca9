import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { randomId } from '../../codes/random-id'
import {
  blockLives,
  blockMemorySeconds,
  type Finding,
  levelsOf,
  mayPersist,
} from '../../core/protection/rules'
import { rowsOf } from '../../core/protection/scopes'
import { memory } from '../../core/protection/standing'
import type { Environment } from '../../core/requests/state'
import { auditAdmin } from '../audit/entry'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'
import { momentIn, secondsIn } from './moment'

const firstLife = blockLives[0]
/**
 * So many refusals within a block's life make it stand as long as they go on: where nobody comes back from there, and of
 * challenges where clearly more are asked for than solved, since each user is asked once.
 */
const persistsFrom = 3
const challengesPersistFrom = 20
const askedToSolved = 1.3
/** And no longer than this, in seconds: users whom it refuses cannot come back either. */
const persistsSeconds = 21_600

export interface NewBlock {
  appId: string
  environment: Environment
  finding: Finding
  label: string | null
  at?: Date | undefined
}

interface RaiseParams {
  id: string
  name: string
  appId: string
  environment: Environment
  label: string | null
  rule: string
  scope: string
  asks: Finding['asks']
  /** The least and the greatest level that the finding allows. */
  first: number
  most: number
  at: Date | null
}

const lives = sql.raw(`(array[${blockLives.join()}])`)

const raiseStatement = statement(
  'raise_block',
  z.strictObject({ level: z.int() }),
  (p: Named<RaiseParams>) => {
    const isNext = sql`b.lifted_at is null and b.until > excluded.since - make_interval(secs => ${blockMemorySeconds})`
    const level = sql`least(greatest(case when ${isNext} then b.level + 1 else 1 end, ${p.first}::int), ${p.most}::int)`
    return sql`
    insert into send_blocks as b (id, name, app_id, environment, scope, label, rule, asks, level, since, until)
    select ${p.id}, ${p.name}, ${p.appId}, ${p.environment}::key_environment, ${p.scope}, ${p.label},
      ${p.rule}, ${p.asks}, ${p.first}::int, t, t + make_interval(secs => ${lives}[${p.first}::int])
      from (select ${momentIn(p.at)} as t) now
    on conflict (name) do update set rule = excluded.rule, asks = excluded.asks, since = excluded.since, lifted_at = null,
      refused = 0, solved = 0, last_refused_at = null, level = ${level},
      until = coalesce(excluded.since + make_interval(secs => ${lives}[${level}]), 'infinity')
    where b.until <= excluded.since or b.lifted_at is not null
    returning level`
  },
)

/**
 * Raises a block, longer than the last one of the same scope where that was within a week; where one stands, it stays
 * as it is. @returns whether it was raised
 */
export async function raiseBlock(db: Queries, block: NewBlock): Promise<boolean> {
  const { appId, environment, finding, label, at } = block
  const { first, most } = levelsOf(finding)
  const raised = await db.one(
    raiseStatement({
      ...{ id: randomId('blk'), name: finding.name, appId, environment, label, first, most },
      ...{ rule: finding.rule, scope: finding.scope, asks: finding.asks, at: at ?? null },
    }),
  )
  if (!raised) return false
  const { rule, scope, asks } = finding
  const detail = { scope, label, rule, asks, level: raised.level, environment }
  await db.many(auditAdmin({ appId, type: 'block_raised', actor: 'rules', detail }))
  return true
}

interface BlockedParams {
  name: string
  /** Of the scope's standings. */
  rows: string[]
  persists: boolean
  at: Date | null
}

const blockedStatement = statement(
  'note_blocked',
  NoRow,
  (p: Named<BlockedParams>) => sql`
  update send_blocks b set refused = refused + 1, last_refused_at = ${momentIn(p.at)},
    until = case when (refused + 1 >= ${challengesPersistFrom} and refused + 1 > solved * ${askedToSolved}::float8
          and asks = 'challenge')
        or (refused + 1 >= ${persistsFrom} and asks = 'block' and ${p.persists}::boolean and not exists (
          select from send_standings s where s.name = any(${p.rows}::text[])
            and faded_count(s.passed_hour, ${secondsIn(p.at)} - s.at, ${memory.hour}) >= 1))
      then greatest(until, least(${momentIn(p.at)} + make_interval(secs => ${firstLife}),
        since + make_interval(secs => ${persistsSeconds}))) else until end
  where name = ${p.name}`,
)

/**
 * Notes that a block refused a send. As long as refusals go on, and nobody comes back from its place, it does not end:
 * else each end would let the next few messages through.
 */
export async function noteBlocked(
  db: Queries,
  { kind, name }: Parameters<typeof rowsOf>[0],
  at?: Date,
): Promise<void> {
  const rows = rowsOf({ kind, name })
  await db.many(
    blockedStatement({ name, rows, persists: mayPersist({ scope: kind }), at: at ?? null }),
  )
}

const solvedStatement = statement(
  'note_solved',
  NoRow,
  (p: Named<{ names: string[] }>) =>
    sql`update send_blocks set solved = solved + 1 where name = any(${p.names}::text[])`,
)

/** Notes that a send passed these blocks by a solved challenge. */
export const noteSolved = (db: Queries, names: readonly string[]): Promise<unknown> =>
  db.many(solvedStatement({ names: [...names] }))
