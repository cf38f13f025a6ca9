import type { Logger } from 'pino'
import type { AlertSettings } from '../config/alerts'
import type { LivePolicy } from '../config/live-policy'
import type { Database } from '../db'
import { type MailAlert, startAlertSender } from '../events/alert-sender'
import { createGuardedDispatcher } from '../events/dispatcher'

export interface AlertsOptions {
  db: Database
  isProduction: boolean
  /** Our public address. */
  url: string
  alerts: AlertSettings
  live: Pick<LivePolicy, 'policy' | 'accounts'>
  log: Logger
}

/** What tells people of alerts, by the settings and the policy file of the moment. */
export function startAlerts({ db, isProduction, url, alerts, live, log }: AlertsOptions): {
  stop(): Promise<void>
} {
  const reach = { isProduction }
  const dispatcher = createGuardedDispatcher(reach)
  const receivers = () => ({
    policy: live.policy.alerts,
    ...alerts,
    mail: mailBy(live),
  })
  const sender = startAlertSender({ db, dispatcher, reach, receivers, publicUrl: url, log })
  let stopped: Promise<void> | undefined
  return { stop: () => (stopped ??= sender.stop().then(() => dispatcher.destroy())) }
}

/** By the account that the policy file names, else by the first that can. */
function mailBy({ policy, accounts }: AlertsOptions['live']): MailAlert | undefined {
  const { mailAccount } = policy.alerts
  const named = mailAccount === undefined ? [...accounts.values()] : [accounts.get(mailAccount)]
  const mailer = named.find((account) => account?.mailer)?.mailer
  return mailer && ((letter, signal) => mailer.mail(letter, signal))
}
