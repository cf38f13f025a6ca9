import { type SQL, sql } from 'drizzle-orm'
import type { AuditType } from '../../core/audit/types'
import { type Bound, type Named, NoRow, statement } from '../statement'

export interface AuditEntry {
  type: AuditType | SQL
  actor: SQL | string
  runId?: SQL | string | undefined
  attemptId?: SQL | string | undefined
  /** Never personal data. */
  detail?: Record<string, string | number | boolean | null | undefined> | SQL
}

/**
 * The insert that turns a changed request into its audit row. `from` names a CTE that raised `audit_seq`
 * and returns `id, app_id, audit_seq`: so the deciding statement numbers its own event.
 */
export function auditFrom(
  from: SQL,
  { type, actor, runId, attemptId, detail = {} }: AuditEntry,
): SQL {
  const typed = typeof type === 'string' ? sql`${type}::audit_type` : type
  const details = 'queryChunks' in detail ? (detail as SQL) : sql`${JSON.stringify(detail)}::jsonb`
  return sql`insert into audit_events (request_id, app_id, sequence, type, actor, run_id, attempt_id, detail)
    select id, app_id, audit_seq, ${typed}, ${actor}, ${runId ?? null}, ${attemptId ?? null}, ${details} from ${from}`
}

const adminStatement = statement(
  'audit_admin',
  NoRow,
  (
    p: Named<{
      chain: string
      appId: string | null
      type: AuditType
      actor: string
      detail: string
    }>,
  ) => sql`
    with numbered as (
      insert into audit_chains as c (chain, sequence) values (${p.chain}, 1)
      on conflict (chain) do update set sequence = c.sequence + 1 returning sequence
    )
    insert into audit_events (app_id, sequence, type, actor, detail)
    select ${p.appId}, sequence, ${p.type}::audit_type, ${p.actor}, ${p.detail}::jsonb from numbered`,
)

/**
 * An audit row about an app (`appId`), or about the installation (null): one statement, for the transaction that
 * makes the change. The chain's own row numbers it, so these must stay rare.
 */
export function auditAdmin({
  appId,
  type,
  actor,
  detail = {},
}: {
  appId: string | null
  type: AuditType
  actor: string
  /** Never personal data, never a secret. */
  detail?: Record<string, string | number | boolean | null | undefined>
}): Bound<never> {
  const chain = appId === null ? 'admin' : `app:${appId}`
  return adminStatement({ chain, appId, type, actor, detail: JSON.stringify(detail) })
}
