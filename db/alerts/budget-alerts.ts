import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { budgetLevels } from '../../core/spending/money'
import type { Environment } from '../../core/requests/state'
import type { Queries } from '..'
import { type Named, statement } from '../statement'
import { openAlerts, raiseAlert, resolveAlert } from './alerts'
import { momentIn } from '../protection/moment'

/** What is spent with staging keys and with development keys is one sum: its alerts go by the first name. */
const environmentOf = (live: boolean): Environment => (live ? 'production' : 'staging')

/**
 * Raises an alert for each level of a budget that is reached, once in its window, and ends those whose window is over.
 * @param at the time to go by; the database's when absent
 * @returns how many were opened
 */
export async function alertBudgets(db: Queries, at?: Date): Promise<number> {
  await endOldOnes(db, at)
  let opened = 0
  for (const { appId, live, window, level, resetsAt, ...rest } of await levelsReached(db, at)) {
    const alert = {
      appId,
      environment: environmentOf(live),
      rule: 'budget' as const,
      subject: `${window} ${level} %`,
      severity: level === 100 ? ('critical' as const) : ('warning' as const),
      detail: { window, level, ...rest, resets_at: resetsAt.toISOString() },
    }
    opened += Number(await raiseAlert(db, alert, at))
  }
  return opened
}

/** A budget without room for the cheapest call of the day is spent, whatever is left of it. */
const reachedStatement = statement(
  'find_budget_levels_reached',
  z.strictObject({
    appId: z.string(),
    live: z.boolean(),
    currency: z.string(),
    window: z.enum(['hour', 'day']),
    /** Percent of the budget. */
    level: z.int(),
    spent: z.string(),
    limit: z.string(),
    resetsAt: z.date(),
  }),
  (p: Named<{ at: Date | null }>) => sql`
    select app_id as "appId", live, currency, w.window, l.level, w.total::text as spent, w.most::text as "limit",
      case w.window when 'day' then date_trunc('day', moment, 'UTC') + interval '24 hours'
        else date_trunc('hour', moment, 'UTC') + interval '1 hour' end as "resetsAt"
    from (select ${momentIn(p.at)} as moment) clock join spending s on s.day = day_of(moment)
      cross join lateral (values
        ('hour', s.spent[hour_of(moment)] + s.reserved[hour_of(moment)], s.hour_limit),
        ('day', sum_of(s.spent) + sum_of(s.reserved), s.day_limit)) w ("window", total, most)
      cross join unnest(${sql.raw(`array[${budgetLevels.join()}]`)}) l (level)
    where w.total > 0 and (w.total * 100 >= w.most * l.level or (l.level = 100 and w.total + s.least_price > w.most))
    order by s.app_id, s.live, w.window, l.level`,
)

const levelsReached = (db: Queries, at: Date | undefined) =>
  db.many(reachedStatement({ at: at ?? null }))

const clockStatement = statement(
  'read_clock',
  z.strictObject({ now: z.date() }),
  (p: Named<{ at: Date | null }>) => sql`select ${momentIn(p.at)} as now`,
)

async function endOldOnes(db: Queries, at: Date | undefined): Promise<void> {
  const clock = await db.one(clockStatement({ at: at ?? null }))
  for (const { detail, ...alert } of await openAlerts(db, ['budget'])) {
    const end = typeof detail.resets_at === 'string' ? Date.parse(detail.resets_at) : 0
    if (clock && end <= clock.now.getTime()) await resolveAlert(db, alert, at)
  }
}
