import type { Channel } from '../channel'
import { type Step, stepDefaults } from '../requests/plan'
import type { SuccessRule } from '../delivery/receipt'
import type { Risk } from '../protection/risk'
import type { RouteSettings, RoutingPolicy, Rule, StepOverride } from './policy'

/** What rules look at. */
export interface Traits {
  /** Two letters; null for e-mail. */
  country: string | null
  /** E.164 with `+`; absent for e-mail. */
  number?: string | undefined
  risk: Risk
  app: string
}

/** The rules that are for such a request, in their order. */
export const rulesFor = (policy: RoutingPolicy, traits: Traits): Rule[] =>
  (policy.rules ?? []).filter((rule) => isFor(policy, rule, traits))

function isFor(
  { countryGroups = {} }: RoutingPolicy,
  { when = {} }: Rule,
  traits: Traits,
): boolean {
  const { countries, prefixes, risk, apps } = when
  const { country, number } = traits
  const isThere = (name: string) =>
    name === country || (country !== null && (countryGroups[name]?.includes(country) ?? false))
  return (
    (countries === undefined || countries.some(isThere)) &&
    (prefixes === undefined || prefixes.some((prefix) => number?.startsWith(prefix) ?? false)) &&
    (risk === undefined || risk.includes(traits.risk)) &&
    (apps === undefined || apps.includes(traits.app))
  )
}

/** What was said, and by which rule; by none when it is the policy's general word. */
export interface Said<T> {
  value: T
  rule?: string
}

/** The first word on something: of the rules in their order, then of the policy itself. */
export function firstSaid<T>(
  policy: RoutingPolicy,
  rules: readonly Rule[],
  read: (settings: RouteSettings) => T | undefined,
): Said<T> | undefined {
  for (const rule of rules) {
    const value = read(rule)
    if (value !== undefined) return { value, rule: rule.name }
  }
  const value = read(policy)
  return value === undefined ? undefined : { value }
}

/** A channel's step as rules and policy want it, for these accounts in this order. */
export function stepWith(
  policy: RoutingPolicy,
  rules: readonly Rule[],
  { channel, providers }: Pick<Step, 'channel' | 'providers'>,
): Step {
  const said = <T>(read: (override: StepOverride) => T | undefined): T | undefined =>
    firstSaid(policy, rules, ({ steps }) => {
      const override = steps?.[channel]
      return override && read(override)
    })?.value
  const usual = stepDefaults[channel]
  const success = said((override) => override.success) ?? usual.success
  const exceptions = providers
    .map((name) => [name, said(({ successBy, success }) => successBy?.[name] ?? success)] as const)
    .filter((entry): entry is readonly [string, SuccessRule] => (entry[1] ?? success) !== success)
  return {
    channel,
    providers,
    timeoutMs: said(({ timeoutMs }) => timeoutMs) ?? usual.timeoutMs,
    success,
    ...(exceptions.length > 0 && { successBy: Object.fromEntries(exceptions) }),
    onDoubt: said(({ onDoubt }) => onDoubt) ?? usual.onDoubt,
  }
}

/** Whether a rule names the risk: then its order of channels is meant for it. */
export const namesRisk = ({ when }: Rule): boolean => when?.risk !== undefined

/** The rule that says the order of channels, with those of them that go to this kind of address. */
export function orderRule(
  rules: readonly Rule[],
  fits: (channel: Channel) => boolean,
): { rule: Rule; channels: Channel[] } | undefined {
  for (const rule of rules) {
    const channels = rule.channels?.filter(fits) ?? []
    if (channels.length > 0) return { rule, channels }
  }
  return undefined
}
