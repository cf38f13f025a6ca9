import { z } from 'zod'
import { alertRuleNames, severities } from '../../core/alerts/rule'
import { environments } from '../../core/requests/state'
import { appId } from './admin'
import { time } from './common'
import { named } from './registry'

const largestPage = 200

export const alertId = z
  .string()
  .regex(/^alr_[a-z0-9]{20,40}$/, 'is no alert id')
  .meta({ examples: ['alr_k3v7x2m4q6t5z7a2b4c6d3e5f7'] })
const instant = z.iso.datetime({ offset: true, error: 'must be a time, as 2027-01-31T00:00:00Z' })

export const AlertsQuery = z.strictObject({
  app_id: appId.optional().describe('Of this app only; an app’s own key means its own.'),
  state: z.enum(['open', 'resolved']).optional().describe('Both when absent.'),
  rule: z.enum(alertRuleNames).optional(),
  from: instant.optional().describe('Opened at this time or later.'),
  to: instant.optional().describe('Opened before this time.'),
  limit: z.coerce.number().int().min(1).max(largestPage).optional(),
  cursor: alertId.optional().describe('`next_cursor` of the page before.'),
})

export const AlertAnswer = named(
  'Alert',
  z.object({
    alert_id: alertId,
    app_id: appId.nullable().describe('null: about the installation, such as a provider account.'),
    environment: z.enum(environments),
    rule: z.enum(alertRuleNames),
    subject: z.string().describe('A country, a route or an account; empty: all of the app.'),
    severity: z.enum(severities),
    message: z.string().describe('The figures as a sentence for people.'),
    detail: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))
      .describe('The figures of the last time that it was found.'),
    runbook: z.string().describe('What it means and what to do.'),
    count: z.int().describe('How often it was found.'),
    opened_at: time,
    last_seen_at: time,
    acknowledged_at: time.nullable(),
    acknowledged_by: z.string().nullable(),
    resolved_at: time.nullable(),
  }),
)
export type AlertAnswer = z.infer<typeof AlertAnswer>

export const AlertsAnswer = named(
  'Alerts',
  z.object({
    alerts: z.array(AlertAnswer).describe('Newest first.'),
    next_cursor: alertId.nullable(),
  }),
)
