import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { blameOf, pings } from '../../core/delivery/breaker'
import type { Channel } from '../../core/channel'
import { type Fault, faults } from '../../core/delivery/fault'
import { closeByPing, openByPing } from './breakers'
import type { Database } from '..'
import { type Named, NoRow, statement } from '../statement'

export interface Ping {
  provider: string
  /** Of the account: all of them are down when it is. */
  channels: readonly Channel[]
  /** Undefined: the account works. */
  fault: Fault | undefined
  milliseconds: number
}

const recordStatement = statement(
  'record_ping',
  z.strictObject({
    failures: z.int(),
    /** Before this ping. */
    failuresBefore: z.int(),
    faultBefore: z.enum(faults).nullable(),
  }),
  (p: Named<{ provider: string; fault: Fault | null; milliseconds: number }>) => sql`
      with before as (select failures, fault from provider_pings where provider = ${p.provider})
      insert into provider_pings as p (provider, at, fault, failures, milliseconds, since)
      values (${p.provider}, clock_timestamp(), ${p.fault}::fault, (${p.fault}::fault is not null)::int,
        ${p.milliseconds}, clock_timestamp())
      on conflict (provider) do update set at = excluded.at, fault = excluded.fault,
        milliseconds = excluded.milliseconds,
        failures = case when excluded.fault is null then 0 else p.failures + 1 end,
        since = case when (p.fault is null) = (excluded.fault is null) then p.since else excluded.at end
      returning failures, coalesce((select failures from before), 0) as "failuresBefore",
        (select fault from before) as "faultBefore"`,
)

const countStatement = statement(
  'count_ping',
  NoRow,
  (p: Named<{ provider: string; good: number; bad: number }>) => sql`
      insert into provider_ping_hours as h (hour, provider, good, bad)
      values (date_trunc('hour', now()), ${p.provider}, ${p.good}, ${p.bad})
      on conflict (hour, provider) do update set good = h.good + excluded.good, bad = h.bad + excluded.bad`,
)

/** Whether pings that fail so often in a row, the last one by this fault, open the breakers. */
const isDown = (fault: Fault | null | undefined, failures: number): boolean =>
  fault != null && (blameOf[fault] === 'opens' || failures >= pings.failures)

/**
 * Writes down how a health ping went, and opens or closes the account's breakers by it. A ping that fails because of
 * the account's settings opens them at once, others as the second in a row; only at that moment, so that an account
 * whose ping fails while its messages go through is not shut again and again.
 * @returns the channels that were opened or closed by it
 */
export function recordPing(
  db: Database,
  { provider, channels, fault: told, milliseconds }: Ping,
): Promise<{ opened: Channel[]; closed: Channel[] }> {
  // Too many calls is what a working account says.
  const fault = told === 'throttled' ? undefined : told
  return db.transaction(async (tx) => {
    const recorded = await tx.one(
      recordStatement({
        provider,
        fault: fault ?? null,
        milliseconds: Math.round(milliseconds),
      }),
    )
    if (!recorded) throw new Error('Postgres gave no row for a ping.')
    const { failures, failuresBefore, faultBefore } = recorded
    await tx.many(countStatement({ provider, good: fault ? 0 : 1, bad: fault ? 1 : 0 }))
    // Those of a row may fail for different reasons: it is the moment when they first suffice that counts.
    if (fault && isDown(fault, failures) && !isDown(faultBefore, failuresBefore))
      return { opened: await openByPing(tx, { provider, channels, fault }), closed: [] }
    // One is enough to have opened them, if it was for the settings.
    if (!fault && failuresBefore > 0) return { opened: [], closed: await closeByPing(tx, provider) }
    return { opened: [], closed: [] }
  })
}
