import { sql } from 'drizzle-orm'
import { addressLimits, type AddressLimit } from '../../core/limits'
import type { Environment } from '../../core/state'
import type { Queries } from '../index'

export interface AddressCall {
  /** Keyed index of the caller's network, and what it was under the keys before: those calls count too. */
  index: { now: Buffer; before: Buffer[] }
  environment: Environment
  kind: AddressLimit
  /** Of a network that holds others: how many times the limit of one it may have. */
  share?: number
}

/**
 * Takes one call of an address's sliding window, in one statement, so that parallel calls cannot share one.
 * @returns undefined, or the seconds until one is free.
 */
export async function takeAddressCall(
  db: Queries,
  { index, environment, kind, share = 1 }: AddressCall,
): Promise<number | undefined> {
  const { windowSeconds } = addressLimits[kind]
  const max = addressLimits[kind].max * share
  const window = sql`make_interval(secs => ${windowSeconds})`
  const before = sql`w.index = any(${sql.param(index.before)}::bytea[])`
  const same = sql`w.environment = ${environment} and w.kind = ${kind}`
  const countedIn = (rows: typeof before) => sql`(select count(*) from address_windows w
    cross join unnest(w.calls) t where ${same} and ${rows} and t > now() - ${window})`
  const hasRoom = sql`(select count(*) from unnest(w.calls) t where t > now() - ${window})
    + ${countedIn(before)} < ${max}`
  const taken = await db.one(sql`
    insert into address_windows as w (index, environment, kind, calls, expires_at)
    select ${index.now}, ${environment}::key_environment, ${kind}, array[clock_timestamp()], now() + ${window}
    -- A flood must not queue for the row, with a connection each: most of it sees this first.
    where ${countedIn(sql`(w.index = ${index.now} or ${before})`)} < ${max}
    on conflict (index, environment, kind) do update set expires_at = excluded.expires_at, calls =
      array(select t from unnest(w.calls) t where t > now() - ${window}) || excluded.calls
    where ${hasRoom}
    returning 1`)
  if (taken) return undefined
  const wait = await db.one<{ seconds: number }>(sql`
    select greatest(ceil(extract(epoch from t + ${window} - now())), 1)::int as seconds
    from address_windows w cross join unnest(w.calls) t
    where ${same} and (w.index = ${index.now} or ${before})
    order by t desc offset ${max - 1} limit 1`)
  return wait?.seconds ?? 1
}
