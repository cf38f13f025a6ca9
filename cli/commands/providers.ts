import { type Command, InvalidArgumentError } from 'commander'
import { type ProvidersAnswer, windowHours } from '../../api/contract/providers'
import { reportProviders } from '../../api/provider-report'
import { loadPolicy } from '../../config/policy'
import { createProviders } from '../../providers'
import { withDatabase } from './connection'
import { readInstallation } from './installation'
import { printJson, printTable } from './print'

type Provider = ProvidersAnswer['providers'][number]
type Route = Provider['record'][number]

interface Options {
  hours: number
  json?: true
}

const hoursOption = (text: string): number => {
  const { success, data } = windowHours.safeParse(text)
  if (!success) throw new InvalidArgumentError('Give whole hours, at most 168.')
  return data
}

export const addProviderCommand = (program: Command): void => {
  program
    .command('providers')
    .description('shows how each provider account does, and did in the last hours')
    .option('--hours <hours>', 'what the record covers', hoursOption, 24)
    .option('--json', 'print JSON')
    .action(show)
}

const show = ({ hours, json }: Options): Promise<void> => {
  const { variables } = readInstallation(process.env)
  return withDatabase(async (db) => {
    const loaded = loadPolicy(variables.OTPILOT_POLICY_FILE)
    if (!loaded.success) throw new Error(loaded.faults.join('\n'))
    const accounts = createProviders(loaded.policy.accounts, variables)
    const report = await reportProviders(db, accounts.values(), hours)
    if (json) return printJson(report)
    printTable(
      ['account', 'ping', 'uptime', 'breakers'],
      report.providers.map((provider) => [
        provider.provider,
        pingIn(provider),
        percent(provider.uptime),
        breakersIn(provider),
      ]),
    )
    const rows = report.providers.flatMap(({ provider, record }) =>
      record.map((route) => [provider, ...recordIn(route)]),
    )
    if (rows.length === 0) return
    console.log('')
    printTable(
      [
        ...['account', 'channel', 'country', 'calls', 'refused', 'in doubt'],
        ...['accept ms p50/95/99', 'uptime', 'receipts', 'receipt ms p50/95', 'success', 'cost'],
      ],
      rows,
    )
  }, variables.DATABASE_URL)
}

/** Pings go every 30 s: an account without one for so long is not in use any more, or the pings have stopped. */
const stalePingMs = 120_000

const pingIn = ({ ping }: Provider): string => {
  if (!ping) return '-'
  if (Date.now() - Date.parse(ping.at) > stalePingMs) return `none since ${ping.at}`
  const how = ping.ok ? `good, ${ping.milliseconds} ms` : `${ping.fault} (${ping.failures})`
  return `${how} since ${ping.since}`
}

const breakersIn = ({ breakers }: Provider): string => {
  const open = breakers.filter(({ state }) => state !== 'closed')
  if (open.length === 0) return 'closed'
  return open
    .map(
      ({ channel, state, fault, since }) =>
        `${channel} ${state.replace('_', ' ')} (${fault}) since ${since}`,
    )
    .join('; ')
}

const recordIn = (route: Route): string[] => {
  const { accept_ms: accept, receipt_ms: receipt } = route
  return [
    route.channel,
    route.country ?? '-',
    ...[route.calls, route.refused, route.in_doubt].map(String),
    [accept.p50, accept.p95, accept.p99].map(orNone).join(' / '),
    percent(route.uptime),
    percent(route.receipt_rate),
    [receipt.p50, receipt.p95].map(orNone).join(' / '),
    percent(route.success_rate),
    route.costs.map(({ amount, currency }) => `${amount} ${currency}`).join(' + ') || '-',
  ]
}

const orNone = (value: number | null): string => (value === null ? '-' : String(value))
const percent = (share: number | null): string =>
  share === null ? '-' : `${(share * 100).toFixed(1)} %`
