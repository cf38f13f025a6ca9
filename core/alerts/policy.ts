import { type Environment, isLive } from '../requests/state'
import type { AlertRule, Severity } from './rule'
import { type Sla, usualSla } from './provider-rules'

/** Who is told of which alerts. All conditions that are given must hold. */
export interface AlertReceiver {
  name: string
  when?:
    | {
        /** Ids of apps; alerts of the installation are for none of them. */
        apps?: readonly string[] | undefined
        rules?: readonly AlertRule[] | undefined
        severity?: Severity | undefined
      }
    | undefined
  /** Names of webhooks, see OTPILOT_ALERT_SLACK. */
  slack?: readonly string[] | undefined
  /** Addresses. */
  email?: readonly string[] | undefined
}

/** What the policy file says about alerts. */
export interface AlertPolicy {
  /** Of which environments people are told; alerts of all are listed. */
  environments?: readonly Environment[] | undefined
  /** The account that e-mail goes out by; absent: the first that can. */
  mailAccount?: string | undefined
  sla?: { uptime?: number | undefined; acceptMs?: number | undefined } | undefined
  receivers?: readonly AlertReceiver[] | undefined
}

export const slaOf = ({ sla }: AlertPolicy): Sla => ({
  uptime: sla?.uptime ?? usualSla.uptime,
  acceptMs: sla?.acceptMs ?? usualSla.acceptMs,
})

/** One place that a message about an alert goes to. */
export type AlertTarget =
  { kind: 'slack'; name: string } | { kind: 'email'; name: string; to: readonly string[] }

/** Whom the settings name where the policy file names nobody: every webhook, and every address. */
export interface UsualReceivers {
  slack: readonly string[]
  email: readonly string[]
}

/** Where a message about an alert goes: each webhook once, and one e-mail to each receiver's addresses. */
export function targetsOf(
  { environments, receivers }: AlertPolicy,
  usual: UsualReceivers,
  alert: { appId: string | null; environment: Environment; rule: AlertRule; severity: Severity },
): AlertTarget[] {
  const isTold = environments?.includes(alert.environment) ?? isLive(alert.environment)
  if (!isTold) return []
  const named: readonly AlertReceiver[] = receivers ?? [{ name: 'all', ...usual }]
  const wanted = named.filter(
    ({ when }) =>
      (when?.apps === undefined || (alert.appId !== null && when.apps.includes(alert.appId))) &&
      (when?.rules?.includes(alert.rule) ?? true) &&
      (when?.severity === undefined || when.severity === alert.severity),
  )
  const hooks = new Set(wanted.flatMap(({ slack = [] }) => slack))
  return [
    ...[...hooks].map((name): AlertTarget => ({ kind: 'slack', name })),
    ...wanted.flatMap(({ name, email = [] }): AlertTarget[] =>
      email.length > 0 ? [{ kind: 'email', name, to: email }] : [],
    ),
  ]
}
