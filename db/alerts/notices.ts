import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { noticeKinds, noticePauses } from '../../core/alerts/rule'
import type { ToldAlert } from '../../core/alerts/text'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'

const NoticeRow = z.strictObject({
  noticeId: z.string(),
  kind: z.enum(noticeKinds),
  /** Counts this one; names the claim too. */
  tries: z.int(),
  /** Receivers that have it already. */
  toldTo: z.array(z.string()),
  id: z.string(),
  appId: z.string().nullable(),
  environment: z.custom<ToldAlert['environment']>(),
  rule: z.custom<ToldAlert['rule']>(),
  subject: z.string(),
  severity: z.custom<ToldAlert['severity']>(),
  detail: z.custom<ToldAlert['detail']>(),
  openedAt: z.date(),
})

/** A message about an alert that one sender has taken, with the alert as it is now. */
export type TakenNotice = z.infer<typeof NoticeRow>

const takeStatement = statement(
  'take_notices',
  NoticeRow,
  (p: Named<{ limit: number; claimSeconds: number }>) => sql`
  with taken as (
    update alert_notices set tries = tries + 1, due_at = clock_timestamp() + make_interval(secs => ${p.claimSeconds})
    where id in (select id from alert_notices d where due_at <= clock_timestamp()
        and not exists (select from alert_notices e where e.alert_id = d.alert_id and e.id < d.id and e.due_at is not null)
      order by due_at limit ${p.limit} for update skip locked)
    returning *
  )
  select taken.id::text as "noticeId", taken.kind, taken.tries, taken.told_to as "toldTo",
    a.id, a.app_id as "appId", a.environment, a.rule, a.subject, a.severity, a.detail, a.opened_at as "openedAt"
  from taken join alerts a on a.id = taken.alert_id order by taken.id`,
)

/**
 * Takes messages that are due, each for one sender only; those about one alert go in their order.
 * @param claimSeconds after this, one that was taken by a sender that died is due again
 */
export const takeNotices = (
  db: Queries,
  { limit, claimSeconds }: { limit: number; claimSeconds: number },
): Promise<TakenNotice[]> => db.many(takeStatement({ limit, claimSeconds }))

const toldStatement = statement(
  'note_told',
  NoRow,
  (p: Named<{ noticeId: string; target: string }>) => sql`
  update alert_notices set told_to = told_to || ${p.target}::text where id = ${p.noticeId}::bigint`,
)

/** One receiver has it: however the others do, it does not get it again. */
export const noteTold = (
  db: Queries,
  { noticeId }: Pick<TakenNotice, 'noticeId'>,
  target: string,
): Promise<unknown> => db.many(toldStatement({ noticeId, target }))

const finishStatement = statement(
  'finish_notice',
  NoRow,
  (
    p: Named<{ noticeId: string; tries: number; fault: string | null; pause: number | null }>,
  ) => sql`
  update alert_notices set fault = ${p.fault}, due_at = clock_timestamp() + make_interval(secs => ${p.pause}::int)
  where id = ${p.noticeId}::bigint and tries = ${p.tries}`,
)

/**
 * Says how it went: done, or due again after a pause, and given up after the last one.
 * @param fault why somebody was not told, in our own words
 * @returns whether it was given up
 */
export async function finishNotice(
  db: Queries,
  { noticeId, tries }: Pick<TakenNotice, 'noticeId' | 'tries'>,
  fault?: string,
): Promise<boolean> {
  const pause = fault === undefined ? undefined : noticePauses[tries - 1]
  await db.many(finishStatement({ noticeId, tries, fault: fault ?? null, pause: pause ?? null }))
  return fault !== undefined && pause === undefined
}
