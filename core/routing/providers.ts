import type { Channel } from '../channel'
import { healthyFirst, unhealthyOn } from '../requests/plan'
import { type Environment, isLive } from '../requests/state'
import { costOf } from './cost'
import { otherAccounts, type ProviderChoice, type RoutingPolicy, type Rule } from './policy'
import { firstSaid } from './rules'
import { orderByWeight } from './share'

/** A provider account as the policy file has it. */
export interface RouteAccount {
  name: string
  channels: readonly Channel[]
  test: boolean
  region?: string | undefined
  /** The channels that its settings suffice for; without settings it is off. */
  usable: readonly Channel[]
}

/** How calls of an account went of late. */
export interface RouteSuccess {
  provider: string
  channel: Channel
  country: string | null
  /** That have had the time to succeed. */
  calls: number
  /** The share of them, 0 to 1, that did. */
  rate: number
}

/** Fewer calls than this say nothing about a route. */
const leastCalls = 20

/** Which accounts a request can reach at all, and how they are. */
export interface ProviderQuestion {
  accounts: readonly RouteAccount[]
  environment: Environment
  /** The app's: only accounts that are there count. Null: any. */
  region: string | null
  /** As `unhealthyOn` reads them. */
  unhealthy: Iterable<string>
  /** What routes achieved of late; one that is not there counts as good. */
  record: readonly RouteSuccess[]
  country: string | null
  number?: string | undefined
  /** The request's place between 0 and 1, for what chance decides. */
  share: number
}

/** Why an account is where it is among those of its channel. */
export const placings = ['file', 'list', 'weight', 'price', 'record', 'unhealthy'] as const
/** Why an account is not used. */
export const exclusions = ['test_only', 'live_only', 'elsewhere', 'off', 'not_named'] as const

export type ProviderVerdict = { name: string; cost?: string } & (
  | {
      used: true
      because: (typeof placings)[number]
      /** The rule that said so; absent: the policy in general. */
      rule?: string
    }
  | { used: false; because: (typeof exclusions)[number]; rule?: string }
)

/** Judges every account of a channel: those that are used come first, in the order in which they are tried. */
export function judgeProviders(
  policy: RoutingPolicy,
  rules: readonly Rule[],
  channel: Channel,
  question: ProviderQuestion,
): ProviderVerdict[] {
  const serving = question.accounts.filter((account) => account.channels.includes(channel))
  const reachable = serving.flatMap((account) =>
    obstacleTo(account, channel, question) ? [] : account.name,
  )
  const said = firstSaid(policy, rules, ({ providers }) => providers?.[channel])
  const rule = said?.rule === undefined ? {} : { rule: said.rule }
  const costOfAccount = (provider: string) =>
    costOf(policy.costs, { ...question, provider, channel })?.amount
  const ordered = orderBy(said?.value, reachable, {
    share: question.share,
    costOf: costOfAccount,
    rateOf: (provider) => rateOf(question, provider, channel),
  })
  const unhealthy = unhealthyOn(channel, question.unhealthy)
  const placing = placingOf(said?.value)
  const used = healthyFirst(ordered, unhealthy).map((name): ProviderVerdict => {
    const isMoved = unhealthy.has(name) && ordered.some((other) => !unhealthy.has(other))
    const cost = costOfAccount(name)
    const priced = cost === undefined ? { name } : { name, cost }
    return isMoved
      ? { ...priced, used: true, because: 'unhealthy' }
      : { ...priced, used: true, because: placing, ...rule }
  })
  const unused = serving
    .filter(({ name }) => !ordered.includes(name))
    .map((account): ProviderVerdict => {
      const because = obstacleTo(account, channel, question)
      return because
        ? { name: account.name, used: false, because }
        : { name: account.name, used: false, because: 'not_named', ...rule }
    })
  return [...used, ...unused]
}

function obstacleTo(
  account: RouteAccount,
  channel: Channel,
  { environment, region }: ProviderQuestion,
): (typeof exclusions)[number] | undefined {
  if (account.test && isLive(environment)) return 'test_only'
  if (!account.test && !isLive(environment)) return 'live_only'
  if (region !== null && account.region !== region) return 'elsewhere'
  return account.usable.includes(channel) ? undefined : 'off'
}

const isList = (choice: ProviderChoice): choice is readonly string[] => Array.isArray(choice)

const placingOf = (choice: ProviderChoice | undefined): (typeof placings)[number] => {
  if (choice === undefined) return 'file'
  if (choice === 'cheapest') return 'price'
  if (choice === 'best') return 'record'
  return isList(choice) ? 'list' : 'weight'
}

/** Of the account's calls on this channel to this country. */
const rateOf = (
  { record, country }: ProviderQuestion,
  provider: string,
  channel: Channel,
): number =>
  record.find(
    (route) =>
      route.provider === provider &&
      route.channel === channel &&
      route.country === country &&
      route.calls >= leastCalls,
  )?.rate ?? 1

interface Measures {
  share: number
  costOf: (name: string) => string | undefined
  rateOf: (name: string) => number
}

function orderBy(
  choice: ProviderChoice | undefined,
  reachable: readonly string[],
  { share, costOf, rateOf }: Measures,
): string[] {
  if (choice === undefined) return [...reachable]
  if (choice === 'cheapest') return reachable.toSorted((a, b) => byAmount(costOf(a), costOf(b)))
  if (choice === 'best') return reachable.toSorted((a, b) => rateOf(b) - rateOf(a))
  const named = isList(choice) ? choice : Object.keys(choice)
  const others = reachable.filter((name) => !named.includes(name))
  const expanded = named
    .flatMap((name) => (name === otherAccounts ? others : name))
    .filter((name) => reachable.includes(name))
  if (isList(choice)) return expanded
  const weights = new Map(Object.entries(choice))
  const weightOf = (name: string) => weights.get(name) ?? weights.get(otherAccounts) ?? 0
  return orderByWeight(
    expanded.map((name) => [name, weightOf(name) * rateOf(name)]),
    share,
  )
}

/** For sorting: ascending, what has no price last. */
export function byAmount(a: string | undefined, b: string | undefined): number {
  const [first, second] = [Number(a ?? Infinity), Number(b ?? Infinity)]
  return first === second ? 0 : first - second
}
