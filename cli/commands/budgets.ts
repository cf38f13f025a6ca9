import type { Command } from 'commander'
import { reportBudgets } from '../../api/budget-report'
import { loadPolicy } from '../../config/policy'
import { findApp } from '../../db/apps/apps'
import { withDatabase } from './connection'
import { readInstallation } from './installation'
import { printJson, printTable } from './print'

interface Options {
  app: string
  json?: true
}

export const addBudgetCommand = (program: Command): void => {
  program
    .command('budgets')
    .description('shows what an app has spent and may spend')
    .requiredOption('--app <app>', 'the app')
    .option('--json', 'print JSON')
    .action(show)
}

const show = ({ app: appId, json }: Options): Promise<void> => {
  const { variables } = readInstallation(process.env)
  return withDatabase(async (db) => {
    const loaded = loadPolicy(variables.OTPILOT_POLICY_FILE)
    if (!loaded.success) throw new Error(loaded.faults.join('\n'))
    if (!(await findApp(db, appId))) throw new Error(`There is no app ${appId}.`)
    const report = await reportBudgets(db, loaded, { appId, kinds: [true, false] })
    if (json) return printJson(report)
    printTable(
      ['keys', 'window', 'limit', 'spent', 'reserved', 'left', 'currency', 'until'],
      report.budgets.map(
        ({ live, window, limit, spent, reserved, remaining, currency, resets_at }) => [
          ...[
            keysOf(live),
            window,
            limit ?? '-',
            spent,
            reserved,
            remaining ?? '-',
            currency,
            resets_at,
          ],
        ],
      ),
    )
    if (report.spending.length === 0) return
    console.log('')
    printTable(
      [
        'keys',
        'channel',
        'account',
        'country',
        'calls',
        'unpriced',
        'amount',
        'estimated',
        'currency',
      ],
      report.spending.map((part) => [
        ...[keysOf(part.live), part.channel, part.provider, part.country ?? '-'],
        ...[part.calls, part.unpriced].map(String),
        ...[part.amount, part.estimated, part.currency ?? '-'],
      ]),
    )
  }, variables.DATABASE_URL)
}

const keysOf = (live: boolean): string => (live ? 'live' : 'test')
