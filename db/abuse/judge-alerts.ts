import { judgeApp } from '../../core/alerts/app-rules'
import { byApp } from '../../core/alerts/figures'
import { judgeProvider, judgeRoute, type Sla } from '../../core/alerts/provider-rules'
import {
  type AlertName,
  type AlertRule,
  type Assessment,
  staleSeconds,
} from '../../core/alerts/rule'
import { guessing } from '../../core/limits'
import type { Environment } from '../../core/state'
import { sumGuesses } from '../checks/guessing'
import type { Queries } from '../index'
import { readProviderFigures, readRouteFigures, readStandingBlocks } from './alert-figures'
import { type AlertRow, noteQuiet, openAlerts, raiseAlert, remind, resolveAlert } from './alerts'
import { readAppFigures, sumAppHours } from './app-hours'

/** What is judged beside what the tables say. */
export interface Judging {
  /** Accounts that are set up; of others nobody needs to hear. */
  accounts: readonly { name: string; test: boolean }[]
  sla: Sla
}

/** What a look came to: alerts that were opened, and that ended. */
export interface JudgedAlerts {
  opened: number
  resolved: number
}

/** Rules whose alerts are raised and ended here; a budget's by whoever counts money. */
const judged: readonly AlertRule[] = [
  'delivery_rate',
  'conversion_drop',
  'geographic_anomaly',
  'volume_spike',
  'provider_sla',
  'lockout_wave',
  'block_raised',
  'refusal_wave',
]

/**
 * Brings the hourly sums up to date, judges by every rule, and raises and ends alerts. Any number of these at once
 * raise one alert.
 * @param at the time to go by; the database's when absent
 */
export async function judgeAlerts(db: Queries, judging: Judging, at?: Date): Promise<JudgedAlerts> {
  await sumAppHours(db, at)
  const assessments = [
    ...(await ofApps(db, at)),
    ...(await ofProviders(db, judging, at)),
    ...(await ofBlocks(db, at)),
  ]
  let opened = 0
  for (const assessment of assessments)
    if (assessment.state === 'fires' && (await raiseAlert(db, assessment, at))) opened++
  const states = new Map(assessments.map((assessment) => [nameOf(assessment), assessment.state]))
  const open = await openAlerts(db, judged)
  let resolved = await settleGuessing(db, at)
  for (const alert of open)
    if (await hasEnded(db, { alert, state: states.get(nameOf(alert)) }, at)) resolved++
  await remind(db, at)
  return { opened, resolved }
}

const nameOf = ({ appId, environment, rule, subject }: AlertName): string =>
  [appId ?? '', environment, rule, subject].join('|')

/** One that nothing speaks of any more ends after a while; of a block that is gone, soon. */
async function hasEnded(
  db: Queries,
  { alert, state }: { alert: AlertRow; state: Assessment['state'] | undefined },
  at: Date | undefined,
): Promise<boolean> {
  if (state === 'recovers' || (state === undefined && alert.rule === 'block_raised'))
    return noteQuiet(db, alert, at)
  if (state !== undefined) return false
  const now = at?.getTime() ?? Date.now()
  return now - alert.lastSeenAt.getTime() >= staleSeconds * 1_000 && resolveAlert(db, alert, at)
}

const ofApps = async (db: Queries, at: Date | undefined): Promise<Assessment[]> =>
  byApp(await readAppFigures(db, at)).flatMap(({ all, countries }) => judgeApp(all, countries))

async function ofProviders(
  db: Queries,
  { accounts, sla }: Judging,
  at: Date | undefined,
): Promise<Assessment[]> {
  const environmentOf = new Map<string, Environment>(
    accounts.map(({ name, test }) => [name, test ? 'staging' : 'production']),
  )
  const routes = await readRouteFigures(db, at)
  const providers = await readProviderFigures(db, at)
  return [
    ...routes.flatMap((figures) => {
      const environment = environmentOf.get(figures.provider)
      const assessment = environment && judgeRoute(figures, environment)
      return assessment ? [assessment] : []
    }),
    ...providers.flatMap((figures) => {
      const environment = environmentOf.get(figures.provider)
      return environment ? [judgeProvider(figures, { environment, sla })] : []
    }),
  ]
}

/** One alert for all blocks of an app: an attack on fifty blocks is one thing to look at. */
const ofBlocks = async (db: Queries, at: Date | undefined): Promise<Assessment[]> =>
  (await readStandingBlocks(db, at)).map(({ appId, environment, ...detail }) => ({
    appId,
    environment,
    rule: 'block_raised',
    subject: '',
    severity: 'warning',
    detail,
    state: 'fires',
  }))

/** The process that checks codes raises these, at once; here they end. The sum is made only while one is open. */
async function settleGuessing(db: Queries, at: Date | undefined): Promise<number> {
  const open = await openAlerts(db, ['guessing'])
  if (open.length === 0) return 0
  const sums = await sumGuesses(db)
  let resolved = 0
  for (const alert of open) {
    const { appId, environment } = alert
    const expected = sums
      .filter((sum) => sum.environment === environment && (appId ?? sum.appId) === sum.appId)
      .reduce((total, sum) => total + sum.expected, 0)
    if (expected < guessing.alertAt / 2 && (await noteQuiet(db, alert, at))) resolved++
  }
  return resolved
}
