import { addressOf, type Channel, type RecipientKind } from '../core/channel'
import {
  type ChannelWish,
  healthyFirst,
  orderChannels,
  type Plan,
  type Step,
  stepDefaults,
} from '../core/plan'
import { type Environment, isLive } from '../core/state'
import type { Policy } from '../config/policy'
import type { ProviderAccount } from '../providers/provider'
import { Problem } from './problem'

export interface Routing {
  policy: Pick<Policy, 'channels' | 'steps'>
  accounts: ReadonlyMap<string, ProviderAccount>
}

/** Whose accounts count, and which of them failed often of late. */
export interface Reach {
  environment: Environment
  /** The app's: only accounts that are there count. Null: any. */
  region: string | null
  unhealthy: readonly string[]
}

/**
 * Decides the plan of a request. Channels that the key can reach no account for are left out.
 * @throws {Problem} CHANNEL_UNAVAILABLE when a channel asked for by name is one of them, or when none is left;
 * INVALID_REQUEST for a channel that does not go to this kind of recipient.
 */
export function planFor(
  routing: Routing,
  { kind, wish, ...reach }: Reach & { kind: RecipientKind; wish: ChannelWish },
): Plan {
  const named = wish.channels ?? (wish.channel ? [wish.channel] : [])
  for (const channel of named) requireKind(channel, kind)
  const steps = orderChannels(routing.policy.channels[kind], wish).flatMap((channel) => {
    const step = stepOf(routing, channel, reach)
    if (!step && named.includes(channel)) throw unavailable(`the channel ${channel}`, reach)
    return step ?? []
  })
  if (steps.length === 0) throw unavailable('any channel', reach)
  return steps
}

/**
 * The step of a channel named by a caller.
 * @throws {Problem} as {@link planFor} does.
 */
export function namedStep(routing: Routing, channel: Channel, reach: Reach): Step {
  const step = stepOf(routing, channel, reach)
  if (!step) throw unavailable(`the channel ${channel}`, reach)
  return step
}

function stepOf({ policy, accounts }: Routing, channel: Channel, reach: Reach): Step | undefined {
  const usable = [...accounts.values()]
    .filter((account) => account.channels.includes(channel))
    .filter((account) => account.test !== isLive(reach.environment))
    .filter((account) => reach.region === null || account.region === reach.region)
    .map(({ name }) => name)
  if (usable.length === 0) return undefined
  const providers = healthyFirst(usable, new Set(reach.unhealthy))
  const { timeoutMs, success, onDoubt } = { ...stepDefaults[channel], ...policy.steps[channel] }
  return { channel, providers, timeoutMs, success, onDoubt }
}

function requireKind(channel: Channel, kind: RecipientKind): void {
  if (addressOf(channel) === kind) return
  const detail =
    kind === 'phone'
      ? `The channel ${channel} goes to an e-mail address, not to a phone number.`
      : `The channel ${channel} goes to a phone number, not to an e-mail address.`
  throw new Problem('INVALID_REQUEST', { detail })
}

const unavailable = (what: string, { environment, region }: Reach): Problem =>
  new Problem('CHANNEL_UNAVAILABLE', {
    detail:
      region !== null
        ? `No provider account of the region ${region} serves ${what}: this app uses only accounts with "region": "${region}" in the policy file.`
        : isLive(environment)
          ? `No provider account serves ${what} for a live key: set OTPILOT_GATEWAY_URL and OTPILOT_GATEWAY_SECRET, or add an account to the policy file.`
          : `No test account serves ${what}: a test key reaches only accounts marked "test": true in the policy file, such as the sandbox (SANDBOX_URL, SANDBOX_SECRET).`,
  })
