import { addressOf, type Channel, channels as allChannels, type RecipientKind } from '../channel'
import { type ChannelWish, orderChannels, type Plan, type Step } from '../requests/plan'
import type { Risk } from '../protection/risk'
import { type RiskOrder, type RoutingPolicy, type Rule, usualRiskOrders } from './policy'
import { byAmount, judgeProviders, type ProviderQuestion, type ProviderVerdict } from './providers'
import { namesRisk, orderRule, rulesFor, stepWith } from './rules'

/** All that a route is decided by. */
export interface RouteQuestion extends ProviderQuestion {
  kind: RecipientKind
  wish: ChannelWish
  risk: Risk
  app: string
}

/** Why a channel stands where it stands. */
export type ChannelReason =
  /** The caller's list, the caller's first channel, or the recipient's stored preference. */
  | { by: 'channels' | 'channel' | 'preference' }
  | { by: 'policy' }
  | { by: 'rule'; rule: string }
  /** The risk's order moved it: to the front, or to its place by price. */
  | { by: 'risk'; risk: Risk; order: 'first' | 'cheapest' }
  /** Nobody names it: neither the order of channels that counts nor the caller. */
  | { by: 'not_named'; rule?: string }

export interface ChannelVerdict {
  channel: Channel
  because: ChannelReason
  /** Absent: it is not in the plan. */
  step?: Step
  /** Of the account that is tried first, in the table's currency. */
  cost?: string
  providers: ProviderVerdict[]
}

/** A plan, and why it is as it is. */
export interface RouteDecision {
  plan: Plan
  /** Those of the plan in its order, then those without an account, then those that nobody names. */
  channels: ChannelVerdict[]
  /** The rules that are for this request, in their order. */
  rules: string[]
}

/** Decides the route of a request: the same answer for the same question. */
export function decideRoute(policy: RoutingPolicy, question: RouteQuestion): RouteDecision {
  const rules = rulesFor(policy, question)
  const judge = (channel: Channel) => judgeChannel(policy, rules, channel, question)
  const fits = (channel: Channel) => addressOf(channel) === question.kind
  const base = baseOrder(policy, rules, question)
  const usual = byRisk(policy, base, question, (channel) => judge(channel).cost)
  const order = orderChannels(
    usual.map(({ channel }) => channel),
    question.wish,
  )
  const judged = order.map((channel) => ({
    ...judge(channel),
    channel,
    because: wishFor(channel, order, question.wish) ?? reasonOf(channel, usual),
  }))
  const unnamed = allChannels
    .filter((channel) => fits(channel) && !order.includes(channel))
    .map((channel) => ({ channel, because: notNamed(question.wish, base), providers: [] }))
  const inPlan = judged.filter(({ step }) => step)
  return {
    plan: inPlan.flatMap(({ step }) => step ?? []),
    channels: [...inPlan, ...judged.filter(({ step }) => !step), ...unnamed],
    rules: rules.map(({ name }) => name),
  }
}

/** One channel by itself, as the policy's rules want it for this request. */
export const decideChannel = (
  policy: RoutingPolicy,
  channel: Channel,
  question: RouteQuestion,
): ChannelVerdict => ({
  ...judgeChannel(policy, rulesFor(policy, question), channel, question),
  channel,
  because: { by: 'channel' },
})

function judgeChannel(
  policy: RoutingPolicy,
  rules: readonly Rule[],
  channel: Channel,
  question: RouteQuestion,
): Pick<ChannelVerdict, 'step' | 'cost' | 'providers'> {
  const providers = judgeProviders(policy, rules, channel, question)
  const used = providers.filter((provider) => provider.used)
  const [first] = used
  if (!first) return { providers }
  const step = stepWith(policy, rules, { channel, providers: used.map(({ name }) => name) })
  return { providers, step, ...(first.cost !== undefined && { cost: first.cost }) }
}

interface BaseOrder {
  channels: readonly Channel[]
  /** The rule that said it. */
  rule?: Rule
}

/** The order of channels before risk and wishes. */
function baseOrder(
  policy: RoutingPolicy,
  rules: readonly Rule[],
  { kind }: RouteQuestion,
): BaseOrder {
  return (
    orderRule(rules, (channel) => addressOf(channel) === kind) ?? {
      channels: policy.channels[kind],
    }
  )
}

type Placed = Pick<ChannelVerdict, 'channel' | 'because'>

/** The order as the risk wants it; a rule that names the risk has said it already. */
function byRisk(
  policy: RoutingPolicy,
  { channels, rule }: BaseOrder,
  { risk }: RouteQuestion,
  costOf: (channel: Channel) => string | undefined,
): Placed[] {
  const because: ChannelReason = rule ? { by: 'rule', rule: rule.name } : { by: 'policy' }
  const placed = channels.map((channel): Placed => ({ channel, because }))
  const wanted: RiskOrder =
    rule && namesRisk(rule) ? 'policy' : (policy.risk?.[risk] ?? usualRiskOrders[risk])
  if (wanted === 'policy') return placed
  if (wanted === 'cheapest') {
    const price = new Map(channels.map((channel) => [channel, costOf(channel)]))
    return placed
      .toSorted((a, b) => byAmount(price.get(a.channel), price.get(b.channel)))
      .map(({ channel }) => ({ channel, because: { by: 'risk', risk, order: 'cheapest' } }))
  }
  const first = wanted.filter((channel) => channels.includes(channel))
  return [
    ...first.map((channel): Placed => ({ channel, because: { by: 'risk', risk, order: 'first' } })),
    ...placed.filter(({ channel }) => !first.includes(channel)),
  ]
}

/** The wish that put a channel where it is. */
function wishFor(
  channel: Channel,
  [first]: readonly Channel[],
  wish: ChannelWish,
): ChannelReason | undefined {
  if (wish.channels) return { by: 'channels' }
  if (wish.channel) return channel === wish.channel ? { by: 'channel' } : undefined
  return channel === first && channel === wish.preference ? { by: 'preference' } : undefined
}

const reasonOf = (channel: Channel, usual: readonly Placed[]): ChannelReason =>
  usual.find((placed) => placed.channel === channel)?.because ?? { by: 'policy' }

const notNamed = ({ channels }: ChannelWish, { rule }: BaseOrder): ChannelReason => ({
  by: 'not_named',
  ...(!channels && rule && { rule: rule.name }),
})
