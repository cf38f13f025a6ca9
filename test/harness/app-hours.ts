import { sql } from 'drizzle-orm'
import type { Environment } from '../../core/requests/state'
import type { Queries } from '../../db'
import { listAlerts, raiseAlert } from '../../db/alerts/alerts'

export interface HourRow {
  appId: string
  country: string
  hour: Date
  sends: number
  due?: number
  reached?: number
  matured?: number
  converted?: number
  locked?: number
  blocked?: number
}

/** Hourly sums as they stand once nothing is to come any more; of the same hour the last ones count. */
export async function keepAppHours(db: Queries, rows: readonly HourRow[]): Promise<void> {
  const filled = rows.map(({ hour, ...row }) => ({
    ...{ due: row.sends, reached: row.sends, matured: row.sends, converted: row.sends },
    ...{ locked: 0, blocked: 0 },
    ...row,
    hour: hour.toISOString(),
  }))
  await db.many(sql`
    insert into app_hours (app_id, environment, country, hour, sends, challenged, blocked, due, reached, matured,
      converted, locked, summed_at)
    select "appId", 'production', country, hour, sends, 0, blocked, due, reached, matured, converted, locked,
      hour + interval '3 hours'
    from jsonb_to_recordset(${JSON.stringify(filled)}::jsonb) as r ("appId" text, country text, hour timestamptz, sends int,
      blocked int, due int, reached int, matured int, converted int, locked int)
    on conflict (app_id, environment, country, hour) do update set sends = excluded.sends, blocked = excluded.blocked,
      due = excluded.due, reached = excluded.reached, matured = excluded.matured, converted = excluded.converted,
      locked = excluded.locked`)
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function chances(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** How many of `count` happen, each with this chance. */
export const happening = (chance: () => number, count: number, share: number): number =>
  Array.from({ length: count }, () => chance() < share).filter(Boolean).length

/** A Poisson number; for large means by the normal curve. */
export function poisson(chance: () => number, mean: number): number {
  if (mean > 50) {
    const normal = Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance())
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal))
  }
  let count = -1
  for (let product = 1; product > Math.exp(-mean); count++) product *= chance()
  return count
}

/** Opens an alert about the app `app`. @returns its id */
export async function openAlertOf(db: Queries, environment: Environment): Promise<string> {
  await raiseAlert(db, {
    ...{ appId: 'app', environment, rule: 'budget', subject: 'day', severity: 'warning' },
    detail: {},
  })
  const [alert] = await listAlerts(db, { environments: [environment], limit: 1 })
  return alert?.id ?? ''
}
