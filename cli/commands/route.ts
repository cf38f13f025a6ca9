import { type Command, InvalidArgumentError, Option } from 'commander'
import { readingFor } from '../../api/number-reading'
import type { Reading } from '../../api/phone-number'
import { planFor, routeAccounts, type RouteWish } from '../../api/plan-for'
import { Problem } from '../../api/problem'
import { eitherAddress, readAddress } from '../../api/recipient-address'
import { fileNameOf, loadPolicy } from '../../config/policy'
import { type Channel, channels } from '../../core/channel'
import { decideRoute, type RouteQuestion } from '../../core/routing/decide'
import { shareOf } from '../../core/routing/share'
import { type Risk, risks } from '../../core/protection/risk'
import { type Environment, environments } from '../../core/requests/state'
import { openDatabase } from './connection'
import { findApp } from '../../db/apps/apps'
import { unhealthyProviders } from '../../db/delivery/breakers'
import { readRouteSuccess } from '../../db/delivery/provider-hours'
import { accountsLeftOut, createProviders } from '../../providers'
import type { Variables } from '../../providers/adapter'
import { type Installation, readInstallation } from './installation'
import { words } from './options'
import { printJson } from './print'
import { type Explained, linesOf, routeAnswer } from './route-lines'

interface RouteOptions {
  channel?: Channel
  channels?: Channel[]
  preference?: Channel
  risk: Risk
  app: string
  env?: Environment
  region?: string
  policy?: string
  request?: string
  json?: true
}

const channelList = (text: string): Channel[] =>
  words(text).map((word) => {
    const channel = channels.find((name) => name === word)
    if (!channel) throw new InvalidArgumentError(`Channels are ${channels.join(', ')}.`)
    return channel
  })

export const addRouteCommand = (program: Command): void => {
  program
    .command('route')
    .argument('<recipient>', 'a phone number or an e-mail address')
    .description('explains the plan that a send to this recipient would get now')
    .addOption(new Option('--channel <channel>', 'the first one').choices(channels))
    .option('--channels <channels>', 'the exact list, comma-separated', channelList)
    .addOption(new Option('--preference <channel>', 'as if it were stored').choices(channels))
    .addOption(new Option('--risk <risk>', 'of the send').choices(risks).default('normal'))
    .option('--app <app>', 'whose send it is; npm start makes the app demo', 'demo')
    .addOption(new Option('--env <environment>', 'of the key').choices(environments))
    .option('--region <region>', 'of the app; else the database says')
    .option('--policy <file>', 'else OTPILOT_POLICY_FILE, else the shipped one')
    .option('--request <request_id>', 'draws by weight as for this request')
    .option('--json', 'print JSON')
    .action(explain)
}

async function explain(recipient: string, options: RouteOptions): Promise<void> {
  const installation = readInstallation(process.env)
  const { variables } = installation
  const file = options.policy ?? variables.OTPILOT_POLICY_FILE
  const loaded = loadPolicy(file)
  if (!loaded.success) throw new Error(loaded.faults.join('\n'))
  const seen = await askDatabase(variables.DATABASE_URL, options.app)
  const { policy } = loaded
  const routing = { policy, accounts: createProviders(policy.accounts, variables) }
  const app = { id: options.app, defaultCountry: seen.defaultCountry }
  const by = readingFor({ routing, isProduction: variables.OTPILOT_ENV === 'production' }, app)
  const wish = wishOf(recipient, options, { installation, seen, by })
  const question = { ...wish, accounts: routeAccounts(routing) }
  const refusal = refusalOf(() => planFor(routing, wish))
  const explained: Explained = {
    question,
    decision: decideRoute(policy, question),
    refusal,
    policyFile: fileNameOf(file),
    currency: policy.costs?.currency,
    drawn: options.request !== undefined,
    notes: seen.notes,
    off: accountsLeftOut(policy.accounts, variables, routing.accounts),
  }
  if (options.json) printJson(routeAnswer(explained))
  else for (const line of linesOf(explained)) console.log(line)
  if (refusal !== undefined) process.exitCode = 1
}

/** What a send would be refused with. */
function refusalOf(decide: () => unknown): string | undefined {
  try {
    decide()
    return undefined
  } catch (error) {
    if (error instanceof Problem) return `${error.code}: ${error.message}`
    throw error
  }
}

interface Seen extends Pick<RouteQuestion, 'unhealthy' | 'record'> {
  region: string | null
  defaultCountry: string | null
  notes: string[]
}

/** What the database knows of the accounts and the app; without it, the plan of a day on which all is well. */
async function askDatabase(url: string | undefined, app: string): Promise<Seen> {
  const unknown = { unhealthy: [], record: [], region: null, defaultCountry: null }
  const blind = 'every account counts as healthy, and the app as one without settings'
  if (!url) return { ...unknown, notes: [`DATABASE_URL is not set: ${blind}.`] }
  const db = openDatabase(url)
  try {
    const [unhealthy, record, found] = await Promise.all([
      unhealthyProviders(db),
      readRouteSuccess(db),
      findApp(db, app),
    ])
    const notes = found ? [] : [`There is no app "${app}": it counts as one without settings.`]
    const { region = null, defaultCountry = null } = found ?? {}
    return { unhealthy, record, region, defaultCountry, notes }
  } catch {
    return { ...unknown, notes: [`The database does not answer: ${blind}.`] }
  } finally {
    await db.close()
  }
}

function wishOf(
  recipient: string,
  { channel, channels: list, preference, risk, app, env, region, request }: RouteOptions,
  { installation, seen, by }: { installation: Installation; seen: Seen; by: Reading },
): RouteWish {
  const { kind, value, country } = readAddress(eitherAddress(recipient), by)
  return {
    kind,
    wish: { channel, channels: list, preference },
    country,
    ...(kind === 'phone' && { number: value }),
    risk,
    app,
    environment: env ?? usualEnvironment(installation.variables, installation.isLocal),
    region: region ?? seen.region,
    unhealthy: seen.unhealthy,
    record: seen.record,
    share: request === undefined ? 0 : shareOf(request),
  }
}

/** That of the key that is at hand: `npm start` gives a test key first. */
const usualEnvironment = ({ OTPILOT_ENV }: Variables, isLocal: boolean): Environment =>
  OTPILOT_ENV !== 'production' && (isLocal || OTPILOT_ENV === 'development')
    ? 'staging'
    : 'production'
