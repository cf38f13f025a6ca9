import { slaOf } from '../core/alerts/policy'
import { type JudgedAlerts, judgeAlerts } from '../db/alerts/judge-alerts'
import type { ActivityDeps } from './deps'

/** Judges by the rules of what people are told of; raises and ends alerts. */
export const watchAlerts = (deps: ActivityDeps) => async (): Promise<JudgedAlerts> => {
  const { db, log, providers, alertPolicy } = deps
  const judged = await judgeAlerts(db, {
    accounts: [...providers.values()],
    sla: slaOf(alertPolicy()),
  })
  if (judged.opened > 0) log.warn({ ...judged }, 'alerts were raised: see npx otpilot alerts')
  return judged
}
