import { sentenceOf } from '../core/alerts/text'
import type { AlertRow } from '../db/alerts/alerts'
import type { AlertAnswer } from './contract/alerts'

/** An alert as callers and the command line see it. */
export const alertAnswerOf = (row: AlertRow, publicUrl: string): AlertAnswer => ({
  alert_id: row.id,
  app_id: row.appId,
  environment: row.environment,
  rule: row.rule,
  subject: row.subject,
  severity: row.severity,
  message: sentenceOf(row),
  detail: { ...row.detail },
  runbook: `${publicUrl}/runbooks/${row.rule}`,
  count: row.count,
  opened_at: row.openedAt.toISOString(),
  last_seen_at: row.lastSeenAt.toISOString(),
  acknowledged_at: row.acknowledgedAt?.toISOString() ?? null,
  acknowledged_by: row.acknowledgedBy,
  resolved_at: row.resolvedAt?.toISOString() ?? null,
})
