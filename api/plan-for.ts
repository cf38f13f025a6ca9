import { addressOf, type Channel } from '../core/channel'
import type { Plan, Step } from '../core/requests/plan'
import {
  type ChannelVerdict,
  decideChannel,
  decideRoute,
  type RouteQuestion,
} from '../core/routing/decide'
import { obstacles } from '../core/routing/explain'
import type { RoutingPolicy } from '../core/routing/policy'
import type { ProtectionPolicy } from '../core/protection/protection'
import { type Environment, isLive } from '../core/requests/state'
import type { RouteAccount } from '../core/routing/providers'
import type { AccountConfig } from '../providers'
import type { ProviderAccount } from '../providers/provider'
import { Problem } from './problem'

/** What routes are decided by; follows the policy file. */
export interface Routing {
  readonly policy: RoutingPolicy & ProtectionPolicy & { accounts: readonly AccountConfig[] }
  readonly accounts: ReadonlyMap<string, ProviderAccount>
}

/** What a request says about its route; the accounts are the policy's. */
export type RouteWish = Omit<RouteQuestion, 'accounts'> & {
  /** A stranger asks: which accounts there are is not for them. */
  isPublic?: boolean
}

/**
 * Decides the plan of a request. Channels that the key can reach no account for are left out.
 * @throws {Problem} CHANNEL_UNAVAILABLE when a channel asked for by name is one of them, or when none is left;
 * INVALID_REQUEST for a channel that does not go to this kind of recipient.
 */
export function planFor(routing: Routing, wish: RouteWish): Plan {
  const { channel, channels } = wish.wish
  const named = channels ?? (channel ? [channel] : [])
  for (const name of named) requireKind(name, wish.kind)
  const decision = decideRoute(routing.policy, questionOf(routing, wish))
  const missing = decision.channels.find(({ channel, step }) => !step && named.includes(channel))
  if (missing) throw unavailable(`the channel ${missing.channel}`, [missing], wish)
  if (decision.plan.length === 0) throw unavailable('any channel', decision.channels, wish)
  return decision.plan
}

/**
 * The step of a channel named by a caller.
 * @throws {Problem} as {@link planFor} does.
 */
export function namedStep(routing: Routing, channel: Channel, wish: RouteWish): Step {
  const verdict = decideChannel(routing.policy, channel, questionOf(routing, wish))
  if (!verdict.step) throw unavailable(`the channel ${channel}`, [verdict], wish)
  return verdict.step
}

/** The accounts of the policy file, with the channels that each is set up for. */
export const routeAccounts = ({ policy, accounts }: Routing): RouteAccount[] =>
  policy.accounts.map((account) => ({
    ...account,
    usable: accounts.get(account.name)?.channels ?? [],
  }))

const questionOf = (routing: Routing, wish: RouteWish): RouteQuestion => ({
  ...wish,
  accounts: routeAccounts(routing),
})

/** What to set, where an account lacks settings. */
function hintFor(verdicts: readonly ChannelVerdict[], environment: Environment): string {
  const isOff = verdicts.some(({ providers }) => providers.some(({ because }) => because === 'off'))
  if (!isOff) return ''
  const usual = isLive(environment)
    ? 'OTPILOT_GATEWAY_URL and OTPILOT_GATEWAY_SECRET for a gateway of your own'
    : 'SANDBOX_URL and SANDBOX_SECRET for the sandbox'
  return ` An account is set up by its variables: those of its page in docs/providers, or ${usual}.`
}

function requireKind(channel: Channel, kind: RouteWish['kind']): void {
  if (addressOf(channel) === kind) return
  const detail =
    kind === 'phone'
      ? `The channel ${channel} goes to an e-mail address, not to a phone number.`
      : `The channel ${channel} goes to a phone number, not to an e-mail address.`
  throw new Problem('INVALID_REQUEST', { detail })
}

function unavailable(
  what: string,
  verdicts: readonly ChannelVerdict[],
  { environment, region, isPublic = false }: RouteWish,
): Problem {
  const key = isLive(environment) ? 'a live key' : 'a test key'
  if (isPublic)
    return new Problem('CHANNEL_UNAVAILABLE', { detail: `No provider serves ${what} for ${key}.` })
  const place = region === null ? '' : ` of an app with "region": "${region}"`
  const why = obstacles(verdicts)
  const because = why.length > 0 ? why.join('; ') : 'the policy file has no account for it'
  return new Problem('CHANNEL_UNAVAILABLE', {
    detail: `No provider account serves ${what} for ${key}${place}: ${because}.${hintFor(verdicts, environment)}`,
  })
}
