import type { Channel } from '../channel'
import type { SuccessRule } from '../delivery/receipt'

/** What to do when a provider call ended without an answer: send again elsewhere, or go on. */
export const doubtPolicies = ['resend', 'advance'] as const
export type DoubtPolicy = (typeof doubtPolicies)[number]

/** One channel of a plan. Durations in milliseconds. */
export interface Step {
  channel: Channel
  /** Provider account names; at routing time the healthy ones come first. */
  providers: string[]
  /** From the step's first claim until the next channel's turn. */
  timeoutMs: number
  success: SuccessRule
  /** Accounts whose receipts are worth less, or more, than the others'; absent when there are none. */
  successBy?: Record<string, SuccessRule>
  onDoubt: DoubtPolicy
}

export type Plan = Step[]

/** A step's settings by channel, before providers are chosen. */
export type StepDefaults = Record<Channel, Omit<Step, 'channel' | 'providers' | 'successBy'>>

/** Sources: the integration guide (30 s, 60 s, 15 s) and the design, section 3. */
export const stepDefaults: StepDefaults = {
  sms: { timeoutMs: 30_000, success: 'delivered', onDoubt: 'resend' },
  voice: { timeoutMs: 60_000, success: 'answered', onDoubt: 'resend' },
  whatsapp: { timeoutMs: 15_000, success: 'delivered', onDoubt: 'resend' },
  ussd: { timeoutMs: 15_000, success: 'delivered', onDoubt: 'resend' },
  email: { timeoutMs: 15_000, success: 'accepted', onDoubt: 'resend' },
}

/** What a message by this account must reach for its step to succeed. */
export const ruleFor = ({ success, successBy }: Step, provider: string): SuccessRule =>
  successBy?.[provider] ?? success

/** Sending, retries included, may take a third of the step's time. */
export const sendBudgetMs = (step: Step): number => Math.floor(step.timeoutMs / 3)

/** One provider call may take half of the send budget: sms 5 s, voice 10 s, whatsapp and ussd 2.5 s. */
export const callTimeoutMs = (step: Step): number => Math.floor(sendBudgetMs(step) / 2)

/** A step with less life left than this is skipped: nobody can receive and type a code in less. */
export const minLifeForStepMs = 20_000

/** Retries of a transient fault come after 1 s, 2 s and 4 s. */
export const sendRetries = { initialIntervalMs: 1_000, backoff: 2, maximumTries: 4 }

/** Which channels a caller asked for; the first given of `channels`, `channel`, `preference` decides. */
export interface ChannelWish {
  /** The exact list and order. */
  channels?: readonly Channel[] | undefined
  /** The first step; the policy's other steps follow. */
  channel?: Channel | undefined
  /** The recipient's stored preference: the first step, like `channel`. */
  preference?: Channel | undefined
}

/** Orders the policy's channels by the caller's wish; a channel the policy lacks is kept only if asked for by name. */
export function orderChannels(policy: readonly Channel[], wish: ChannelWish): Channel[] {
  if (wish.channels) return [...new Set(wish.channels)]
  const first =
    wish.channel ??
    (wish.preference && policy.includes(wish.preference) ? wish.preference : undefined)
  return first ? [first, ...policy.filter((channel) => channel !== first)] : [...policy]
}

/**
 * The accounts that are unhealthy on a channel. Entries are `account/channel`; an account alone, as runs that began
 * with an older version hold it, means every channel.
 */
export function unhealthyOn(channel: Channel, unhealthy: Iterable<string>): Set<string> {
  const names = new Set<string>()
  for (const entry of unhealthy) {
    const [name = '', on] = entry.split('/')
    if (on === undefined || on === channel) names.add(name)
  }
  return names
}

/** Healthy accounts first, otherwise in the policy's order. */
export const healthyFirst = (
  providers: readonly string[],
  unhealthy: ReadonlySet<string>,
): string[] => [
  ...providers.filter((name) => !unhealthy.has(name)),
  ...providers.filter((name) => unhealthy.has(name)),
]
