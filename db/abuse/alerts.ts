import { sql } from 'drizzle-orm'
import { randomId } from '../../codes/random-id'
import {
  type AlertDetail,
  type AlertName,
  type AlertRule,
  evaluationSeconds,
  type NoticeKind,
  noFindingEvaluations,
  type Raised,
  reminderHours,
  type Severity,
} from '../../core/alerts/rule'
import type { Environment } from '../../core/state'
import { auditAdmin } from '../audit/entry'
import { inTransaction } from '../hold'
import type { Queries } from '../index'
import { ofServedApps, type Place } from '../requests/region'
import { momentOf } from './moment'

const isOpenOf = ({ appId, environment, rule, subject }: AlertName) =>
  sql`coalesce(app_id, '') = ${appId ?? ''} and environment = ${environment}::key_environment
    and rule = ${rule} and subject = ${subject} and resolved_at is null`

interface Changed extends AlertName {
  id: string
  severity: Severity
  detail: AlertDetail
}

const columns = sql`id, app_id as "appId", environment, rule, subject, severity, detail`

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
    const { appId, environment, rule, subject, severity, detail, isTold = false } = alert
    const raised = await tx.one<Changed & { count: number; escalated: boolean }>(sql`
      -- Held, so that of those who come at once only the first finds it less severe.
      with before as materialized (select severity from alerts where ${isOpenOf(alert)} for update),
      raised as (
        insert into alerts as a (id, app_id, environment, rule, subject, severity, detail, opened_at, last_seen_at, reminded_at)
        select ${randomId('alr')}, ${appId}, ${environment}::key_environment, ${rule}, ${subject}, ${severity},
          ${JSON.stringify(detail)}::jsonb, t, t, t from (select ${momentOf(at)} as t) now left join before on true
        on conflict (coalesce(app_id, ''), environment, rule, subject) where resolved_at is null
        do update set last_seen_at = greatest(a.last_seen_at, excluded.last_seen_at), count = a.count + 1,
          detail = excluded.detail, no_finding = 0, no_finding_at = null,
          severity = case when a.severity = 'critical' then a.severity else excluded.severity end
        returning *
      )
      select ${columns}, count, coalesce((select severity from before) <> severity, false) as escalated from raised`)
    if (!raised) return false
    const opened = raised.count === 1
    if (opened) await tell(tx, raised, { kind: 'opened', isTold, at })
    else if (raised.escalated) await tell(tx, raised, { kind: 'escalated', isTold, at })
    return opened
  })

/**
 * Ends the open alert of this name, at once: for those whose end is an event, such as a budget's new day.
 * @returns whether there was one
 */
export const resolveAlert = (db: Queries, alert: AlertName, at?: Date): Promise<boolean> =>
  inTransaction(db, async (tx) => {
    const resolved = await tx.one<Changed>(sql`
      update alerts set resolved_at = ${momentOf(at)} where ${isOpenOf(alert)} returning ${columns}`)
    if (resolved) await tell(tx, resolved, { kind: 'resolved', at })
    return resolved !== undefined
  })

/**
 * An evaluation found nothing of the open alert of this name any more; after two of them in a row it ends.
 * @returns whether it has ended
 */
export const noteNoFinding = (db: Queries, alert: AlertName, at?: Date): Promise<boolean> =>
  inTransaction(db, async (tx) => {
    const noted = await tx.one<Changed & { resolved: boolean }>(sql`
      update alerts set no_finding = no_finding + 1, no_finding_at = t,
        resolved_at = case when no_finding + 1 >= ${noFindingEvaluations} then t end
      from (select ${momentOf(at)} as t) now
      where ${isOpenOf(alert)} and (no_finding_at is null or no_finding_at <= t - make_interval(secs => ${evaluationSeconds}))
      returning ${columns}, resolved_at is not null as resolved`)
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

/** Who is to be told is decided when it goes out: by the settings of then. */
const addNotice = (tx: Queries, { id, kind }: { id: string; kind: NoticeKind }, at?: Date) =>
  tx.many(sql`insert into alert_notices (alert_id, kind, at, due_at)
    select ${id}, ${kind}, t, t from (select ${momentOf(at)} as t) now`)

/** Has those told again that stayed open for long and nobody acknowledged. @returns how many */
export const remind = (db: Queries, at?: Date): Promise<number> =>
  inTransaction(db, async (tx) => {
    const due = await tx.many<{ id: string }>(sql`
      update alerts set reminded_at = t from (select ${momentOf(at)} as t) now
      where resolved_at is null and acknowledged_at is null
        and reminded_at <= t - make_interval(hours => case severity
          when 'critical' then ${reminderHours.critical}::int else ${reminderHours.warning}::int end)
      returning id`)
    for (const { id } of due) await addNotice(tx, { id, kind: 'reminder' }, at)
    return due.length
  })

/**
 * Somebody looks after it: there are no more reminders.
 * @returns the alert; undefined where there is none of this id, or it has ended
 */
export const acknowledgeAlert = (
  db: Queries,
  { id, actor }: { id: string; actor: string },
): Promise<AlertRow | undefined> =>
  inTransaction(db, async (tx) => {
    const known = await tx.one<Changed>(sql`
      update alerts set acknowledged_at = clock_timestamp(), acknowledged_by = ${actor}
      where id = ${id} and acknowledged_at is null and resolved_at is null returning ${columns}`)
    if (known) {
      const { appId, environment, rule } = known
      const detail = { alert: rule, state: 'acknowledged', alert_id: id, environment }
      await tx.many(auditAdmin({ appId, type: 'alert', actor, detail }))
    }
    return findAlert(tx, id)
  })

/** An alert as it is kept. */
export interface AlertRow extends Changed {
  count: number
  openedAt: Date
  lastSeenAt: Date
  acknowledgedAt: Date | null
  acknowledgedBy: string | null
  resolvedAt: Date | null
}

const rowColumns = sql`${columns}, count, opened_at as "openedAt", last_seen_at as "lastSeenAt",
  acknowledged_at as "acknowledgedAt", acknowledged_by as "acknowledgedBy", resolved_at as "resolvedAt"`

export const findAlert = (db: Queries, id: string): Promise<AlertRow | undefined> =>
  db.one<AlertRow>(sql`select ${rowColumns} from alerts where id = ${id}`)

/** Open alerts of some rules. */
export const openAlerts = (db: Queries, rules: readonly AlertRule[]): Promise<AlertRow[]> =>
  db.many<AlertRow>(sql`select ${rowColumns} from alerts
    where resolved_at is null and rule = any(${sql.param([...rules])}::text[])`)

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

/** Alerts, the newest first. */
export function listAlerts(db: Queries, wanted: AlertsWanted): Promise<AlertRow[]> {
  const { appId, servedBy, environments, rule, state, from, to, after, limit } = wanted
  const conditions = [
    sql`true`,
    ...(appId === undefined ? [] : [sql`app_id = ${appId}`]),
    ...(servedBy ? [ofServedApps(sql`alerts`, servedBy)] : []),
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
