import type { ChannelReason, ChannelVerdict } from './decide'
import type { exclusions, placings, ProviderVerdict } from './providers'

const byRule = (rule: string): string => `by the rule "${rule}"`

const wished = {
  channels: 'asked for by list',
  channel: 'asked for',
  preference: 'preferred by the recipient',
  policy: 'in the order of the policy',
}

/** Why a channel stands where it stands, as the end of a sentence. */
export function whyChannel(reason: ChannelReason): string {
  if (reason.by === 'rule') return byRule(reason.rule)
  if (reason.by === 'not_named')
    return `not named ${reason.rule === undefined ? 'in the order of channels' : byRule(reason.rule)}`
  if (reason.by !== 'risk') return wished[reason.by]
  return reason.order === 'first'
    ? `goes first at ${reason.risk} risk`
    : `in the order of prices, as at ${reason.risk} risk`
}

const placed: Record<(typeof placings)[number], string> = {
  file: 'in the order of the accounts',
  list: 'in the order of the list',
  weight: 'drawn by weight',
  price: 'by price',
  record: 'by what it achieved of late',
  unhealthy: 'tried last: it failed often of late',
}

const excluded: Record<(typeof exclusions)[number], string> = {
  test_only: 'for test keys only',
  live_only: 'for live keys only',
  elsewhere: 'not in the region of the app',
  off: 'off, its settings do not suffice',
  not_named: 'not named for this channel',
}

/** Why an account is where it is, or is not used, as the end of a sentence. */
export function whyProvider(verdict: ProviderVerdict): string {
  const why = verdict.used ? placed[verdict.because] : excluded[verdict.because]
  return verdict.rule === undefined ? why : `${why} ${byRule(verdict.rule)}`
}

/** Accounts that are not used, together with those that share their reason: `a, b: for test keys only`. */
export function obstacles(channels: readonly Pick<ChannelVerdict, 'providers'>[]): string[] {
  const namesBy = new Map<string, Set<string>>()
  for (const verdict of channels.flatMap(({ providers }) => providers)) {
    if (verdict.used) continue
    const why = whyProvider(verdict)
    namesBy.set(why, (namesBy.get(why) ?? new Set()).add(verdict.name))
  }
  return [...namesBy].map(([why, names]) => `${[...names].join(', ')}: ${why}`)
}
