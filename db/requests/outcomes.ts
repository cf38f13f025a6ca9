import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { type State, states } from '../../core/requests/state'
import { type Named, NoRow, statement } from '../statement'
import { servedIn } from './region'
import type { Queries } from '../index'

/** The run itself reports first; who finds the mark later than this does it in its place. */
const headStartSeconds = 15
/** Whoever reports has so long; a report that was not taken is made again after it. */
const leaseSeconds = 30
/** No provider learns anything from an outcome that is older. */
const wantedSeconds = 600

/**
 * What the end of a request sets: its providers are to hear of it, where one was asked to send. A mark of its own, since
 * the run may not live to do it.
 */
export const outcomeDue = sql`case when attempt_seq > 0
  then clock_timestamp() + make_interval(secs => ${headStartSeconds}) end`

/** Nobody has taken the mark up yet. */
const isFresh = sql`outcome_due_at < ended_at + make_interval(secs => ${headStartSeconds + leaseSeconds / 2})`

const closeStatement = statement(
  'close_run',
  z.strictObject({ mine: z.boolean() }),
  (p: Named<{ requestId: string; reports: boolean; region: string | null }>) => {
    const mine = sql`(${isFresh} and ${servedIn(p.region)})`
    return sql`
    with marked as (
      select id, ${mine} is true as mine from otp_requests
      where id = ${p.requestId} and state <> 'pending' and (signal_due_at is not null or ${mine}) for update
    )
    update otp_requests r set signal_due_at = null, outcome_due_at = case when not mine then outcome_due_at
      when ${p.reports}::boolean then clock_timestamp() + make_interval(secs => ${leaseSeconds}) end
    from marked where r.id = marked.id returning mine`
  },
)

/**
 * The run is over and knows of everything: nothing needs to be signalled any more, and it takes up the mark.
 * @param reports whether any provider here wants to know; else the mark is taken away
 * @returns whether this execution is the one to report
 */
export async function closeRun(
  db: Queries,
  requestId: string,
  { reports, region }: { reports: boolean; region: string | undefined },
): Promise<boolean> {
  const row = await db.one(closeStatement({ requestId, reports, region: region ?? null }))
  return reports && row?.mine === true
}

/** Of otp_requests: it has ended, its providers were not told so in time, and it is for a process of this region. */
export const isUntold = (region: SQL): SQL => sql`(outcome_due_at < now() and ${servedIn(region)})`

const UntoldRow = z.strictObject({
  requestId: z.string(),
  state: z.enum(states),
  wanted: z.boolean(),
})

const takeStatement = statement(
  'take_untold',
  UntoldRow,
  (p: Named<{ limit: number; region: string | null }>) => sql`
  update otp_requests set outcome_due_at = case when ended_at > now() - make_interval(secs => ${wantedSeconds})
    then clock_timestamp() + make_interval(secs => ${leaseSeconds}) end
  where id in (select id from otp_requests where ${isUntold(p.region)}
    order by outcome_due_at limit ${p.limit} for update skip locked)
  returning id as "requestId", state, outcome_due_at is not null as wanted`,
)

/** Ended requests of which no run has told the providers; each for one worker only, again after the lease. */
export async function takeUntold(
  db: Queries,
  limit: number,
  region: string | undefined,
): Promise<{ requestId: string; state: State }[]> {
  const rows = await db.many(takeStatement({ limit, region: region ?? null }))
  return rows.filter(({ wanted }) => wanted)
}

const toldStatement = statement(
  'mark_told',
  NoRow,
  (p: Named<{ requestId: string }>) =>
    sql`update otp_requests set outcome_due_at = null where id = ${p.requestId}`,
)

/** Every provider that wants to know has taken the outcome. */
export async function markTold(db: Queries, requestId: string): Promise<void> {
  await db.many(toldStatement({ requestId }))
}
