import { sql } from 'drizzle-orm'
import { randomId } from '../../codes/random-id'
import {
  blockLives,
  blockMemorySeconds,
  type Finding,
  longestChallengeSeconds,
} from '../../core/abuse/rules'
import { rowsOf } from '../../core/abuse/scopes'
import type { Environment } from '../../core/state'
import { auditAdmin } from '../audit/entry'
import type { Queries } from '../index'
import { momentOf, secondsOf } from './moment'

const firstLife = blockLives[0]
/** So many refusals within a block's life make it stand as long as they go on, where nobody comes back from there. */
const persistsFrom = 3

export interface NewBlock {
  appId: string
  environment: Environment
  finding: Finding
  label: string | null
  at?: Date | undefined
}

/**
 * Raises a block, longer than the last one of the same scope where that was within a week; where one stands, it stays
 * as it is. @returns whether it was raised
 */
export async function raiseBlock(db: Queries, block: NewBlock): Promise<boolean> {
  const { appId, environment, finding, label, at } = block
  const lives = sql.param([...blockLives])
  const raised = await db.one<{ level: number }>(sql`
    insert into send_blocks as b (id, name, app_id, environment, scope, label, rule, asks, level, since, until)
    select ${randomId('blk')}, ${finding.name}, ${appId}, ${environment}::key_environment, ${finding.scope}, ${label},
      ${finding.rule}, ${finding.asks}, 1, t, t + make_interval(secs => ${firstLife}) from (select ${momentOf(at)} as t) now
    on conflict (name) do update set rule = excluded.rule, asks = excluded.asks, since = excluded.since, lifted_at = null,
      refused = 0, last_refused_at = null,
      level = case when b.lifted_at is null and b.until > excluded.since - make_interval(secs => ${blockMemorySeconds})
        then b.level + 1 else 1 end,
      until = case when b.lifted_at is null and b.until > excluded.since - make_interval(secs => ${blockMemorySeconds})
        then case when excluded.asks = 'challenge'
            then excluded.since + make_interval(secs => least((${lives}::int[])[b.level + 1], ${longestChallengeSeconds}))
          else coalesce(excluded.since + make_interval(secs => (${lives}::int[])[b.level + 1]), 'infinity') end
        else excluded.until end
    where b.until <= excluded.since or b.lifted_at is not null
    returning level`)
  if (!raised) return false
  const { rule, scope, asks } = finding
  const detail = { scope, label, rule, asks, level: raised.level, environment }
  await db.many(auditAdmin({ appId, type: 'block_raised', actor: 'rules', detail }))
  return true
}

/**
 * Notes that a block refused a send. As long as refusals go on, and nobody comes back from its place, it does not end:
 * else each end would let the next few messages through.
 */
export async function noteBlocked(
  db: Queries,
  { kind, name }: Parameters<typeof rowsOf>[0],
  at?: Date,
): Promise<void> {
  const seconds = secondsOf(at)
  await db.many(sql`
    update send_blocks b set refused = refused + 1, last_refused_at = ${momentOf(at)},
      until = case when refused + 1 >= ${persistsFrom} and asks = 'block' and not exists (
          select from send_standings s where s.name = any(${sql.param(rowsOf({ kind, name }))}::text[])
            and faded_count(s.passed_hour, ${seconds} - s.at, 3600) >= 1)
        then greatest(until, ${momentOf(at)} + make_interval(secs => ${firstLife})) else until end
    where name = ${name}`)
}
