import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { holdName } from '../hold'
import { alphabets, codeSpace } from '../../core/verify/alphabet'
import { guessing } from '../../core/limits'
import { type Environment, environments } from '../../core/requests/state'
import { raiseAlert } from '../alerts/alerts'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '..'
import { type Named, statement } from '../statement'

/**
 * Takeovers to expect from the wrong checks of the last day, of an app's requests in one environment. With more wrong
 * checks than are counted: from a day at the pace of the newest.
 */
export interface Guessed {
  appId: string
  environment: Environment
  expected: number
}

const { counted, shortestPaceSeconds, windowSeconds } = guessing

const sumStatement = statement(
  'sum_guesses',
  z.strictObject({
    appId: z.string(),
    environment: z.enum(environments),
    alphabet: z.enum(alphabets),
    length: z.int(),
    wrong: z.int(),
    /** By what the day's are more than those counted. */
    times: z.number(),
  }),
  () => sql`
  with newest as (
    select a.id as app_id, e.request_id, count(*) over app as counted, min(e.at) over app as since
    from apps a cross join lateral (
      select request_id, at from audit_events
      where app_id = a.id and type in ('check_rejected', 'locked') and detail ->> 'error_code' = 'INVALID_CODE'
        and at > now() - make_interval(secs => ${windowSeconds})
      order by at desc limit ${counted}) e
    window app as (partition by a.id)
  )
  select n.app_id as "appId", r.environment, r.code_alphabet as alphabet, r.code_length as length,
    count(*)::int as wrong,
    case when n.counted < ${counted} then 1
      else ${windowSeconds} / greatest(extract(epoch from now() - n.since), ${shortestPaceSeconds}) end::float8 as times
  from newest n join otp_requests r on r.id = n.request_id
  group by 1, 2, 3, 4, n.counted, n.since`,
)

/**
 * Summed from the audit rows: no row is written for it, so none is hot. App by app, as the index has them, and of each
 * as many as take a moment: the sum must not fail when it matters most. The index holds wrong codes alone: checks of
 * requests that are over, however many, take no place among those that are counted.
 */
export async function sumGuesses(db: Queries): Promise<Guessed[]> {
  const rows = await db.many(sumStatement({}))
  const sums = new Map<string, Guessed>()
  for (const { appId, environment, alphabet, length, wrong, times } of rows) {
    const name = `${appId} ${environment}`
    const { expected } = sums.get(name) ?? { expected: 0 }
    const more = (wrong * times) / codeSpace(alphabet, length)
    sums.set(name, { appId, environment, expected: expected + more })
  }
  return [...sums.values()]
}

const recentStatement = statement(
  'find_recent_guess_alert',
  z.strictObject({}),
  (p: Named<{ chain: string; level: string; environment: Environment }>) => sql`
    select from audit_events where chain = ${p.chain} and type = 'alert'
      and at > now() - make_interval(secs => ${guessing.alertEverySeconds})
      and detail->>'alert' = 'guessing' and detail->>'level' = ${p.level}
      and detail->>'environment' = ${p.environment}`,
)

/**
 * Writes an alert into the chain of an app, or of the installation (null), unless there is one of its level and
 * environment from the last hour. Processes that come at once queue for the app's lock, so one of them writes.
 * @returns whether it was written
 */
export function alertGuessing(
  db: Database,
  alert: Omit<Guessed, 'appId'> & { appId: string | null; level: 'warn' | 'high' },
): Promise<boolean> {
  const { appId, environment, level, expected } = alert
  const chain = appId === null ? 'admin' : `app:${appId}`
  return db.transaction(async (tx) => {
    await holdName(tx, `guessing|${chain}`)
    const figures = { level, expected: Number(expected.toFixed(6)) }
    const severity = level === 'high' ? 'critical' : 'warning'
    const name = { appId, environment, rule: 'guessing', subject: '' } as const
    // Told by the row below, which comes again while it goes on.
    await raiseAlert(tx, { ...name, severity, detail: figures, isTold: true })
    const recent = await tx.one(recentStatement({ chain, level, environment }))
    if (recent) return false
    const detail = { alert: 'guessing', environment, ...figures }
    await tx.many(auditAdmin({ appId, type: 'alert', actor: 'api', detail }))
    return true
  })
}
