import type { Channel, RecipientKind } from '../channel'
import type { DoubtPolicy } from '../requests/plan'
import type { SuccessRule } from '../delivery/receipt'
import type { Risk } from '../protection/risk'
import type { CostTable } from './cost'

/** What may be said about a channel's step; the rest stays as `core/requests/plan.ts` says. */
export interface StepOverride {
  timeoutMs?: number | undefined
  success?: SuccessRule | undefined
  /** By provider account: for routes whose receipts tell less, or more, than the others'. */
  successBy?: Readonly<Record<string, SuccessRule>> | undefined
  onDoubt?: DoubtPolicy | undefined
}

/** In a list or in weights: every account that serves the channel and is not named beside it. */
export const otherAccounts = '*'

/** Orders that name no account and use all of them: by price, or by what they achieved of late. */
export const providerOrders = ['cheapest', 'best'] as const

/**
 * Which accounts of a channel are tried, and in which order: the list; by chance after their weights, times what they
 * achieved of late; or one of `providerOrders`. Accounts that a list or weights do not name are not used.
 */
export type ProviderChoice =
  readonly string[] | Readonly<Record<string, number>> | (typeof providerOrders)[number]

/** What can be said in general, and by rules for some requests. */
export interface RouteSettings {
  providers?: Readonly<Partial<Record<Channel, ProviderChoice>>> | undefined
  steps?: Readonly<Partial<Record<Channel, StepOverride>>> | undefined
}

/** Which requests a rule is for: all conditions that are given must hold. */
export interface RuleConditions {
  /** Two letters each, or the name of a group of countries. */
  countries?: readonly string[] | undefined
  /** What the number begins with, as in `+23324`. */
  prefixes?: readonly string[] | undefined
  risk?: readonly Risk[] | undefined
  apps?: readonly string[] | undefined
}

export interface Rule extends RouteSettings {
  name: string
  when?: RuleConditions | undefined
  /** The order of channels. */
  channels?: readonly Channel[] | undefined
}

/** What a risk does to the order of channels: nothing; the cheapest first; or these first. */
export type RiskOrder = 'policy' | 'cheapest' | readonly Channel[]

/** Sources: the integration guide (cost-optimised routing) and the design, section 4. */
export const usualRiskOrders: Readonly<Record<Risk, RiskOrder>> = {
  low: 'cheapest',
  normal: 'policy',
  high: ['voice', 'whatsapp'],
}

/** All that routing needs of the policy file. */
export interface RoutingPolicy extends RouteSettings {
  channels: Readonly<Record<RecipientKind, readonly Channel[]>>
  countryGroups?: Readonly<Record<string, readonly string[]>> | undefined
  /** In order: of the rules that say something about a thing, the first that is for a request counts. */
  rules?: readonly Rule[] | undefined
  risk?: Readonly<Partial<Record<Risk, RiskOrder>>> | undefined
  costs?: CostTable | undefined
}
