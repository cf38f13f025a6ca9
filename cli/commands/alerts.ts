import { type Command, Option } from 'commander'
import { alertAnswerOf } from '../../api/alert-answer'
import { alertRuleNames } from '../../core/alerts/rule'
import { acknowledgeAlert, listAlerts } from '../../db/alerts/alerts'
import { withDatabase } from './connection'
import { readInstallation } from './installation'
import { mostListed, printJson, printTable, say, shownOf } from './print'

interface ListOptions {
  app?: string
  rule?: (typeof alertRuleNames)[number]
  state?: 'open' | 'resolved'
  json?: true
}

export const addAlertCommands = (program: Command): void => {
  const alerts = program
    .command('alerts')
    .description('shows alerts, newest first; the open ones unless --state says otherwise')
    .option('--app <app>', 'of this app only')
    .addOption(new Option('--rule <rule>', 'of this rule only').choices(alertRuleNames))
    .addOption(
      new Option('--state <state>', 'which of them').choices(['open', 'resolved']).default('open'),
    )
    .option('--json', 'print JSON')
    .action(list)

  alerts
    .command('acknowledge <alert_id>')
    .description('says that somebody looks after an alert: there are no more reminders')
    .action(acknowledge)
}

const list = ({ app, rule, state, json }: ListOptions): Promise<void> => {
  const { variables } = readInstallation(process.env)
  const publicUrl = (variables.OTPILOT_URL ?? '').replace(/\/+$/, '')
  return withDatabase(async (db) => {
    const rows = shownOf(
      await listAlerts(db, { appId: app, rule, state, limit: mostListed + 1 }),
    ).map((row) => alertAnswerOf(row, publicUrl))
    if (json) return printJson(rows)
    printTable(
      ['alert', 'severity', 'app', 'environment', 'rule', 'subject', 'since', 'what'],
      rows.map((row) => [
        row.alert_id,
        row.severity,
        row.app_id ?? '-',
        row.environment,
        row.rule,
        row.subject || '-',
        row.opened_at,
        row.message,
      ]),
    )
  }, variables.DATABASE_URL)
}

const acknowledge = (id: string): Promise<void> => {
  const { variables } = readInstallation(process.env)
  return withDatabase(async (db) => {
    const row = await acknowledgeAlert(db, { id, actor: 'cli' })
    if (!row) throw new Error(`There is no alert "${id}".`)
    say(
      row.resolvedAt
        ? `The alert ${id} has ended.`
        : `The alert ${id} is acknowledged: there are no more reminders.`,
    )
  }, variables.DATABASE_URL)
}
