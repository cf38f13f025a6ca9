import type { Environment } from '../requests/state'

/** What people are told of, one page each in docs/runbooks/. */
export const alertRules = {
  delivery_rate: 'messages do not arrive',
  conversion_drop: 'codes do not come back as they usually do',
  geographic_anomaly: 'sends to a country without users',
  volume_spike: 'far more sends than usual',
  budget: 'money is running out',
  provider_sla: 'a provider account does not do what it should',
  account_refused: 'a provider account refuses every message with one code',
  lockout_wave: 'many requests are locked by wrong codes',
  guessing: 'codes are guessed over many recipients',
  block_raised: 'sends are blocked by the fraud rules',
  refusal_wave: 'many sends are refused',
  price: 'a provider charges far more than estimated',
} as const satisfies Record<string, string>
export type AlertRule = keyof typeof alertRules
export const alertRuleNames = Object.keys(alertRules) as [AlertRule, ...AlertRule[]]

/** `critical`: somebody has to look now. */
export const severities = ['warning', 'critical'] as const
export type Severity = (typeof severities)[number]

/** Figures that say why, flat; never personal data, never the last four digits of a number. */
export type AlertDetail = Readonly<Record<string, string | number | boolean | null>>

/** What an alert is about; of each there is one open alert at a time. */
export interface AlertName {
  /** Null: the installation. */
  appId: string | null
  environment: Environment
  rule: AlertRule
  /** A country, a provider, a budget's name; empty where the rule says it all. */
  subject: string
}

/** An alert as it is raised, or raised again. */
export interface Raised extends AlertName {
  severity: Severity
  detail: AlertDetail
}

/**
 * What a rule makes of its figures. `recovers` is more than not firing: between the two an open alert stays as it is,
 * and none is raised.
 */
export type Assessment = Raised & { state: 'fires' | 'holds' | 'recovers' }

/** So many evaluations in a row must say that it is over. */
export const noFindingEvaluations = 2
/** Evaluations count as two when they are this many seconds apart. */
export const evaluationSeconds = 30
/** An alert that no figures speak of any more ends after so many seconds: what it was about has stopped. */
export const staleSeconds = 3_600

/** Until somebody acknowledges it, an open alert is told again after so many hours. */
export const reminderHours: Readonly<Record<Severity, number>> = { critical: 4, warning: 24 }

/** What a message to people is about. */
export const noticeKinds = ['opened', 'escalated', 'reminder', 'resolved'] as const
export type NoticeKind = (typeof noticeKinds)[number]

/** Pauses before the next tries of a message that did not go out, in seconds; after the last one it is given up. */
export const noticePauses: readonly number[] = [
  5, 15, 60, 300, 900, 1_800, 3_600, 3_600, 7_200, 14_400, 28_800,
]
