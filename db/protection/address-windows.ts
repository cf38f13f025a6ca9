import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { addressLimits, type AddressLimit } from '../../core/limits'
import type { Environment } from '../../core/requests/state'
import type { Queries } from '..'
import { type Named, statement } from '../statement'

export interface AddressCall {
  /** Keyed index of the caller's network, and what it was under the keys before: those calls count too. */
  index: { now: Buffer; before: Buffer[] }
  environment: Environment
  kind: AddressLimit
  /** Of a network that holds others: how many times the limit of one it may have. */
  share?: number
}

interface CallParams {
  index: Buffer
  before: Buffer[]
  environment: Environment
  kind: AddressLimit
  max: number
  windowSeconds: number
}

const isSame = (p: Named<CallParams>): SQL =>
  sql`w.environment = ${p.environment} and w.kind = ${p.kind}`

const isBefore = (p: Named<CallParams>): SQL => sql`w.index = any(${p.before}::bytea[])`

const windowOf = (p: Named<CallParams>): SQL => sql`make_interval(secs => ${p.windowSeconds})`

const countedIn = (
  p: Named<CallParams>,
  rows: SQL,
): SQL => sql`(select count(*) from address_windows w
  cross join unnest(w.calls) t where ${isSame(p)} and ${rows} and t > now() - ${windowOf(p)})`

const takeStatement = statement(
  'take_address_call',
  z.strictObject({ kind: z.string() }),
  (p: Named<CallParams>) => sql`
  insert into address_windows as w (index, environment, kind, calls, expires_at)
  select ${p.index}, ${p.environment}::key_environment, ${p.kind}, array[clock_timestamp()], now() + ${windowOf(p)}
  -- A flood must not queue for the row, with a connection each: most of it sees this first.
  where ${countedIn(p, sql`(w.index = ${p.index} or ${isBefore(p)})`)} < ${p.max}::int
  on conflict (index, environment, kind) do update set expires_at = excluded.expires_at, calls =
    array(select t from unnest(w.calls) t where t > now() - ${windowOf(p)}) || excluded.calls
  where (select count(*) from unnest(w.calls) t where t > now() - ${windowOf(p)})
    + ${countedIn(p, isBefore(p))} < ${p.max}::int
  returning kind`,
)

const waitStatement = statement(
  'find_address_wait',
  z.strictObject({ seconds: z.int() }),
  (p: Named<CallParams>) => sql`
  select greatest(ceil(extract(epoch from t + ${windowOf(p)} - now())), 1)::int as seconds
  from address_windows w cross join unnest(w.calls) t
  where ${isSame(p)} and (w.index = ${p.index} or ${isBefore(p)})
  order by t desc offset ${p.max}::int - 1 limit 1`,
)

/**
 * Takes one call of an address's sliding window, in one statement, so that parallel calls cannot share one.
 * @returns undefined, or the seconds until one is free.
 */
export async function takeAddressCall(
  db: Queries,
  { index, environment, kind, share = 1 }: AddressCall,
): Promise<number | undefined> {
  const { windowSeconds, max } = addressLimits[kind]
  const call = {
    ...{ index: index.now, before: index.before, environment, kind },
    ...{ windowSeconds, max: max * share },
  }
  if (await db.one(takeStatement(call))) return undefined
  return (await db.one(waitStatement(call)))?.seconds ?? 1
}
