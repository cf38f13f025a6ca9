import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { randomId } from '../../codes/random-id'
import {
  type AlertDetail,
  type AlertName,
  type AlertRule,
  alertRuleNames,
  evaluationSeconds,
  type NoticeKind,
  noFindingEvaluations,
  type Raised,
  reminderHours,
  severities,
  type Severity,
} from '../../core/alerts/rule'
import { type Environment, environments } from '../../core/requests/state'
import { auditAdmin } from '../audit/entry'
import { inTransaction } from '../hold'
import type { Queries } from '..'
import { IdRow, type Named, NoRow, statement } from '../statement'
import { ofServedApps, type Place } from '../requests/region'
import { momentIn } from '../protection/moment'

/** The name of an alert as a statement's parameters, with the time to go by. */
interface NameParams {
  appId: string | null
  environment: Environment
  rule: AlertRule
  subject: string
  at: Date | null
}
const nameOf = ({ appId, environment, rule, subject }: AlertName, at?: Date): NameParams => ({
  appId,
  environment,
  rule,
  subject,
  at: at ?? null,
})

const isOpenOf = (p: Named<NameParams>) =>
  sql`coalesce(app_id, '') = coalesce(${p.appId}, '') and environment = ${p.environment}::key_environment
    and rule = ${p.rule} and subject = ${p.subject} and resolved_at is null`

const ChangedRow = z.strictObject({
  id: z.string(),
  appId: z.string().nullable(),
  environment: z.enum(environments),
  rule: z.enum(alertRuleNames),
  subject: z.string(),
  severity: z.enum(severities),
  detail: z.custom<AlertDetail>(),
})
type Changed = z.infer<typeof ChangedRow>

const columns = sql`id, app_id as "appId", environment, rule, subject, severity, detail`

const raiseStatement = statement(
  'raise_alert',
  z.strictObject({ ...ChangedRow.shape, count: z.int(), escalated: z.boolean() }),
  (p: Named<NameParams & { id: string; severity: Severity; detail: string }>) => sql`
      -- Held, so that of those who come at once only the first finds it less severe.
      with before as materialized (select severity from alerts where ${isOpenOf(p)} for update),
      raised as (
        insert into alerts as a (id, app_id, environment, rule, subject, severity, detail, opened_at, last_seen_at, reminded_at)
        select ${p.id}, ${p.appId}, ${p.environment}::key_environment, ${p.rule}, ${p.subject}, ${p.severity},
          ${p.detail}::jsonb, t, t, t from (select ${momentIn(p.at)} as t) now left join before on true
        on conflict (coalesce(app_id, ''), environment, rule, subject) where resolved_at is null
        do update set last_seen_at = greatest(a.last_seen_at, excluded.last_seen_at), count = a.count + 1,
          detail = excluded.detail, no_finding = 0, no_finding_at = null,
          severity = case when a.severity = 'critical' then a.severity else excluded.severity end
        returning *
      )
      select ${columns}, count, coalesce((select severity from before) <> severity, false) as escalated from raised`,
)

/**
 * Raises an alert: opens it, or brings the open one of this name up to date. The app's endpoints, and people, hear of
 * it when it opens and when it becomes critical; processes that come at once open one.
 * @param isTold the audit row that tells the app is the caller's own
 * @param at the time to go by; the database's when absent
 * @returns whether it was opened
 */
export const raiseAlert = (
  db: Queries,
  alert: Raised & { isTold?: boolean },
  at?: Date,
): Promise<boolean> =>
  inTransaction(db, async (tx) => {
    const { severity, detail, isTold = false } = alert
    const raised = await tx.one(
      raiseStatement({
        ...nameOf(alert, at),
        id: randomId('alr'),
        severity,
        detail: JSON.stringify(detail),
      }),
    )
    if (!raised) return false
    const opened = raised.count === 1
    if (opened) await tell(tx, raised, { kind: 'opened', isTold, at })
    else if (raised.escalated) await tell(tx, raised, { kind: 'escalated', isTold, at })
    return opened
  })

const resolveStatement = statement(
  'resolve_alert',
  ChangedRow,
  (p: Named<NameParams>) => sql`
  update alerts set resolved_at = ${momentIn(p.at)} where ${isOpenOf(p)} returning ${columns}`,
)

/**
 * Ends the open alert of this name, at once: for those whose end is an event, such as a budget's new day.
 * @returns whether there was one
 */
export const resolveAlert = (db: Queries, alert: AlertName, at?: Date): Promise<boolean> =>
  inTransaction(db, async (tx) => {
    const resolved = await tx.one(resolveStatement(nameOf(alert, at)))
    if (resolved) await tell(tx, resolved, { kind: 'resolved', at })
    return resolved !== undefined
  })

const noFindingStatement = statement(
  'note_no_finding',
  z.strictObject({ ...ChangedRow.shape, resolved: z.boolean() }),
  (p: Named<NameParams>) => sql`
      update alerts set no_finding = no_finding + 1, no_finding_at = t,
        resolved_at = case when no_finding + 1 >= ${noFindingEvaluations} then t end
      from (select ${momentIn(p.at)} as t) now
      where ${isOpenOf(p)} and (no_finding_at is null or no_finding_at <= t - make_interval(secs => ${evaluationSeconds}))
      returning ${columns}, resolved_at is not null as resolved`,
)

/**
 * An evaluation found nothing of the open alert of this name any more; after two of them in a row it ends.
 * @returns whether it has ended
 */
export const noteNoFinding = (db: Queries, alert: AlertName, at?: Date): Promise<boolean> =>
  inTransaction(db, async (tx) => {
    const noted = await tx.one(noFindingStatement(nameOf(alert, at)))
    if (!noted?.resolved) return false
    await tell(tx, noted, { kind: 'resolved', at })
    return true
  })

/** Tells the app, by its audit trail, and people, by the outbox: in the transaction that decided it. */
async function tell(
  tx: Queries,
  { id, appId, environment, rule, subject, severity, detail }: Changed,
  { kind, isTold = false, at }: { kind: NoticeKind; isTold?: boolean; at?: Date | undefined },
): Promise<void> {
  await addNotice(tx, { id, kind }, at)
  if (isTold) return
  const about = { alert: rule, state: kind, alert_id: id, environment, severity }
  await tx.many(
    auditAdmin({
      appId,
      type: 'alert',
      actor: 'alerts',
      detail: { ...detail, ...about, ...(subject !== '' && { subject }) },
    }),
  )
}

const noticeStatement = statement(
  'add_notice',
  NoRow,
  (p: Named<{ id: string; kind: NoticeKind; at: Date | null }>) => sql`
  insert into alert_notices (alert_id, kind, at, due_at)
  select ${p.id}, ${p.kind}, t, t from (select ${momentIn(p.at)} as t) now`,
)

/** Who is to be told is decided when it goes out: by the settings of then. */
const addNotice = (tx: Queries, { id, kind }: { id: string; kind: NoticeKind }, at?: Date) =>
  tx.many(noticeStatement({ id, kind, at: at ?? null }))

const remindStatement = statement(
  'remind_of_alerts',
  IdRow,
  (p: Named<{ at: Date | null }>) => sql`
      update alerts set reminded_at = t from (select ${momentIn(p.at)} as t) now
      where resolved_at is null and acknowledged_at is null
        and reminded_at <= t - make_interval(hours => case severity
          when 'critical' then ${reminderHours.critical} else ${reminderHours.warning} end)
      returning id`,
)

/** Has those told again that stayed open for long and nobody acknowledged. @returns how many */
export const remind = (db: Queries, at?: Date): Promise<number> =>
  inTransaction(db, async (tx) => {
    const due = await tx.many(remindStatement({ at: at ?? null }))
    for (const { id } of due) await addNotice(tx, { id, kind: 'reminder' }, at)
    return due.length
  })

const acknowledgeStatement = statement(
  'acknowledge_alert',
  ChangedRow,
  (p: Named<{ id: string; actor: string }>) => sql`
      update alerts set acknowledged_at = clock_timestamp(), acknowledged_by = ${p.actor}
      where id = ${p.id} and acknowledged_at is null and resolved_at is null returning ${columns}`,
)

/**
 * Somebody looks after it: there are no more reminders.
 * @returns the alert; undefined where there is none of this id, or it has ended
 */
export const acknowledgeAlert = (
  db: Queries,
  { id, actor }: { id: string; actor: string },
): Promise<AlertRow | undefined> =>
  inTransaction(db, async (tx) => {
    const known = await tx.one(acknowledgeStatement({ id, actor }))
    if (known) {
      const { appId, environment, rule } = known
      const detail = { alert: rule, state: 'acknowledged', alert_id: id, environment }
      await tx.many(auditAdmin({ appId, type: 'alert', actor, detail }))
    }
    return findAlert(tx, id)
  })

const KeptAlert = z.strictObject({
  ...ChangedRow.shape,
  count: z.int(),
  openedAt: z.date(),
  lastSeenAt: z.date(),
  acknowledgedAt: z.date().nullable(),
  acknowledgedBy: z.string().nullable(),
  resolvedAt: z.date().nullable(),
})

/** An alert as it is kept. */
export type AlertRow = z.infer<typeof KeptAlert>

const rowColumns = sql`${columns}, count, opened_at as "openedAt", last_seen_at as "lastSeenAt",
  acknowledged_at as "acknowledgedAt", acknowledged_by as "acknowledgedBy", resolved_at as "resolvedAt"`

const findStatement = statement(
  'find_alert',
  KeptAlert,
  (p: Named<{ id: string }>) => sql`select ${rowColumns} from alerts where id = ${p.id}`,
)

export const findAlert = (db: Queries, id: string): Promise<AlertRow | undefined> =>
  db.one(findStatement({ id }))

const openStatement = statement(
  'list_open_alerts',
  KeptAlert,
  (p: Named<{ rules: readonly AlertRule[] }>) => sql`
  select ${rowColumns} from alerts where resolved_at is null and rule = any(${p.rules}::text[])`,
)

/** Open alerts of some rules. */
export const openAlerts = (db: Queries, rules: readonly AlertRule[]): Promise<AlertRow[]> =>
  db.many(openStatement({ rules }))

export interface AlertsWanted {
  /** Absent: all apps', of those that `servedBy` serves where that is given, and the installation's. */
  appId?: string | undefined
  servedBy?: Place | undefined
  environments?: readonly Environment[] | undefined
  rule?: AlertRule | undefined
  state?: 'open' | 'resolved' | undefined
  from?: Date | undefined
  to?: Date | undefined
  /** The last alert of the page before. */
  after?: string | undefined
  limit: number
}

/** Alerts, the newest first. Unnamed: the filters make too many combinations for a constant of each. */
export function listAlerts(db: Queries, wanted: AlertsWanted): Promise<AlertRow[]> {
  const { appId, servedBy, environments, rule, state, from, to, after, limit } = wanted
  const conditions = [
    sql`true`,
    ...(appId === undefined ? [] : [sql`app_id = ${appId}`]),
    ...(servedBy ? [ofServedApps(sql`alerts`, servedBy.region)] : []),
    ...(environments
      ? [sql`environment::text = any(${sql.param([...environments])}::text[])`]
      : []),
    ...(rule === undefined ? [] : [sql`rule = ${rule}`]),
    ...(state === undefined ? [] : [sql`(resolved_at is null) = ${state === 'open'}`]),
    ...(from ? [sql`opened_at >= ${from}`] : []),
    ...(to ? [sql`opened_at < ${to}`] : []),
    ...(after === undefined
      ? []
      : [sql`(opened_at, id) < (select opened_at, id from alerts where id = ${after})`]),
  ]
  return db.many<AlertRow>(sql`select ${rowColumns} from alerts
    where ${sql.join(conditions, sql` and `)} order by opened_at desc, id desc limit ${limit}`)
}
