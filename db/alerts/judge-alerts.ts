import { judgeApp } from '../../core/alerts/app-rules'
import { byApp } from '../../core/alerts/figures'
import {
  judgeProvider,
  judgeRefusals,
  judgeRoute,
  type Sla,
} from '../../core/alerts/provider-rules'
import {
  type AlertName,
  type AlertRule,
  type Assessment,
  staleSeconds,
} from '../../core/alerts/rule'
import { guessing } from '../../core/limits'
import type { Environment } from '../../core/requests/state'
import { sumGuesses } from '../verify/guessing'
import type { Queries } from '..'
import { readProviderFigures, readRouteFigures, readStandingBlocks } from './figures'
import { readRefusals } from './refusal-figures'
import { alertBudgets } from './budget-alerts'
import {
  type AlertRow,
  noteNoFinding,
  openAlerts,
  raiseAlert,
  remind,
  resolveAlert,
} from './alerts'
import { activeApps, readAppFigures, sumAppHours } from './app-hours'

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

/** Rules whose alerts end here; a budget's do with its window. */
const judged: readonly AlertRule[] = [
  'delivery_rate',
  'conversion_drop',
  'geographic_anomaly',
  'volume_spike',
  'provider_sla',
  'account_refused',
  'lockout_wave',
  'block_raised',
  'refusal_wave',
  'price',
]

/**
 * Brings the hourly sums up to date, judges by every rule, and raises and ends alerts. Any number of these at once
 * raise one alert. Where some figures cannot be read, alerts are raised by the others, and none is ended for want of news.
 * @param at the time to go by; the database's when absent
 * @throws what kept it from reading them, after that
 */
export async function judgeAlerts(db: Queries, judging: Judging, at?: Date): Promise<JudgedAlerts> {
  const assessments: Assessment[] = []
  const faults: unknown[] = []
  for (const assess of [ofApps, ofProviders, ofBlocks])
    await assess(db, at, judging).then(
      (found) => assessments.push(...found),
      (fault: unknown) => faults.push(fault),
    )
  let opened = 0
  await alertBudgets(db, at).then(
    (count) => (opened += count),
    (fault: unknown) => faults.push(fault),
  )
  for (const assessment of assessments)
    if (assessment.state === 'fires' && (await raiseAlert(db, assessment, at))) opened++
  await remind(db, at)
  if (faults.length > 0) throw faults[0]
  return { opened, resolved: await settleOpen(db, assessments, at) }
}

/** @returns how many have ended */
async function settleOpen(
  db: Queries,
  assessments: readonly Assessment[],
  at: Date | undefined,
): Promise<number> {
  const states = new Map(assessments.map((assessment) => [nameOf(assessment), assessment.state]))
  let resolved = await settleGuessing(db, at)
  for (const alert of await openAlerts(db, judged))
    if (await hasEnded(db, { alert, state: states.get(nameOf(alert)) }, at)) resolved++
  return resolved
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
    return noteNoFinding(db, alert, at)
  if (state !== undefined) return false
  const now = at?.getTime() ?? Date.now()
  return now - alert.lastSeenAt.getTime() >= staleSeconds * 1_000 && resolveAlert(db, alert, at)
}

async function ofApps(db: Queries, at: Date | undefined): Promise<Assessment[]> {
  await sumAppHours(db, at)
  const assessments: Assessment[] = []
  for (const appId of await activeApps(db, at))
    for (const { all, countries } of byApp(await readAppFigures(db, appId, at)))
      assessments.push(...judgeApp(all, countries))
  return assessments
}

async function ofProviders(
  db: Queries,
  at: Date | undefined,
  { accounts, sla }: Judging,
): Promise<Assessment[]> {
  const environmentOf = new Map<string, Environment>(
    accounts.map(({ name, test }) => [name, test ? 'staging' : 'production']),
  )
  const routes = await readRouteFigures(db, at)
  const providers = await readProviderFigures(db, at)
  const refusals = await readRefusals(db, [...environmentOf.keys()], at)
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
    ...refusals.flatMap((figures) => {
      const environment = environmentOf.get(figures.provider)
      return environment ? [judgeRefusals(figures, environment)] : []
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
    if (expected < guessing.alertAt / 2 && (await noteNoFinding(db, alert, at))) resolved++
  }
  return resolved
}
