import type { Environment } from '../requests/state'
import { isLive } from '../requests/state'
import type { RuleName } from './rules'

/**
 * What a finding of the fraud rules does. `observe`: it is only written down. `challenge`: a solved challenge is asked
 * for. `block`: the send is refused.
 */
export const protectionModes = ['observe', 'challenge', 'block'] as const
export type ProtectionMode = (typeof protectionModes)[number]

/** At most `max` within any `seconds`: a sliding window. */
export interface RateLimit {
  max: number
  seconds: number
}

/** Whether a secret key must say who its end user is, in `ip_address`. */
export const addressDuties = ['optional', 'warn', 'required'] as const
export type AddressDuty = (typeof addressDuties)[number]

/** Kinds of numbers, as the numbering plans and carriers tell them apart. */
export const lineTypes = [
  'mobile',
  'fixed_line_or_mobile',
  'fixed_line',
  'voip',
  'premium_rate',
  'shared_cost',
  'toll_free',
  'pager',
  'uan',
  'voicemail',
  'personal_number',
  'satellite',
  'unknown',
] as const
export type LineType = (typeof lineTypes)[number]

/**
 * Kinds of challenges. `altcha`: proof of work, which this service makes and checks itself. The others: a vendor's
 * word that its user is a person.
 */
export const challengeKinds = ['altcha', 'turnstile', 'hcaptcha'] as const
export type ChallengeKind = (typeof challengeKinds)[number]

/** Which solved challenges are taken, and from pages of which hosts; of any when absent. */
export interface ChallengeSettings {
  kinds: readonly ChallengeKind[]
  hosts?: readonly string[] | undefined
}

/** How sends are protected; one app's, for one country, once the file's overrides are applied. */
export interface ProtectionSettings {
  /** By the environment of the key. */
  mode: { live: ProtectionMode; test: ProtectionMode }
  limits: {
    /** Sends to one recipient, resends included. */
    recipient: readonly RateLimit[]
    /** Sends for one end user's address, an IPv6 one by its /56, and by its /48 with eight times as much. */
    ip: readonly RateLimit[]
    /** Sends by a name that callers give values to, in `rate_limit_keys`. */
    keys: Readonly<Record<string, readonly RateLimit[]>>
  }
  ipAddress: AddressDuty
  /** Sends that an app may ask for in a minute, with all of its keys; absent: as many as its keys may. */
  sendsPerMinute?: number | undefined
  /** Two letters each, or names of countryGroups; absent: every country in development, none in production. */
  countries?: readonly string[] | undefined
  /** Kinds of numbers that are sent to. */
  lineTypes: readonly LineType[]
  /** The account that is asked what carriers know of a number; absent: none is. */
  lookup?: { provider: string; risk?: boolean | undefined; price?: string | undefined } | undefined
  /** The account that is asked whether the number's SIM card changed within so many hours; absent: none is. */
  simSwap?: { provider: string; maxAgeHours: number; price?: string | undefined } | undefined
  challenges: ChallengeSettings
  /** Rules that differ from the mode: not looked at, or only written down. */
  rules: Readonly<Partial<Record<RuleName, 'off' | 'observe'>>>
  /** The most that may be spent, in the currency of `costs`: decimal numbers with a point. */
  budget?: { hour?: string | undefined; day?: string | undefined } | undefined
}

/** What a file says about them: of `mode` and `limits` each part by itself. */
export type ProtectionChanges = {
  [Name in keyof Omit<ProtectionSettings, 'mode' | 'limits'>]?: ProtectionSettings[Name] | undefined
} & {
  mode?: Given<ProtectionSettings['mode']> | undefined
  limits?: Given<ProtectionSettings['limits']> | undefined
}
type Given<Part> = { [Name in keyof Part]?: Part[Name] | undefined }

/** Which sends an override is for: all conditions that are given must hold. */
export interface ProtectionOverride extends ProtectionChanges {
  name: string
  when?: {
    apps?: readonly string[] | undefined
    /** Two letters each, or names of countryGroups. */
    countries?: readonly string[] | undefined
  }
}

/** All that protection needs of the policy file. */
export interface ProtectionPolicy {
  protection?: ProtectionChanges & {
    /** Messages to one number, or to one mailbox, over all apps. */
    messageCap?: readonly RateLimit[] | undefined
    /** Mails over all apps to one domain that no code has come back from within 30 days. */
    domainCap?: readonly RateLimit[] | undefined
    /** In order: of those that say something about a setting, the first that is for a send counts. */
    overrides?: readonly ProtectionOverride[] | undefined
  }
  countryGroups?: Readonly<Record<string, readonly string[]>> | undefined
}

/** What counts where the file says nothing; docs/abuse.md has the sources. */
export const usualProtection = {
  mode: { live: 'block', test: 'observe' },
  limits: {
    recipient: [
      { max: 3, seconds: 60 },
      { max: 5, seconds: 600 },
    ],
    ip: [{ max: 5, seconds: 60 }],
    keys: {},
  },
  ipAddress: 'warn',
  lineTypes: ['mobile', 'fixed_line_or_mobile', 'unknown'],
  challenges: { kinds: ['altcha'] },
  rules: {},
} satisfies ProtectionSettings

/** Messages to one number, or to one mailbox, over all apps, where the file says nothing. */
export const usualMessageCap: readonly RateLimit[] = [
  { max: 12, seconds: 3_600 },
  { max: 30, seconds: 86_400 },
]

/** Mails to a domain that no code has come back from, where the file says nothing: its first users, and no more. */
export const usualDomainCap: readonly RateLimit[] = [
  { max: 30, seconds: 3_600 },
  { max: 100, seconds: 86_400 },
]

/** Messages that an app always has room for, whatever the others sent to the same number. */
export const messageShare: RateLimit = { max: 3, seconds: 3_600 }

/** The settings for one send: of each, the first override's that is for it and says it, then the file's, then the usual. */
export function protectionOf(
  { protection = {}, countryGroups }: ProtectionPolicy,
  { app, country }: { app: string; country: string | null },
): ProtectionSettings {
  const fits = ({ when }: ProtectionOverride): boolean =>
    (when?.apps?.includes(app) ?? true) &&
    (when?.countries === undefined || namesCountry(when.countries, country, countryGroups))
  const said: ProtectionChanges[] = [
    ...(protection.overrides ?? []).filter(fits),
    protection,
    usualProtection,
  ]
  const first = <Value>(read: (changes: ProtectionChanges) => Value | undefined) => {
    for (const changes of said) {
      const value = read(changes)
      if (value !== undefined) return value
    }
    return undefined
  }
  const usual = usualProtection
  return {
    mode: {
      live: first(({ mode }) => mode?.live) ?? usual.mode.live,
      test: first(({ mode }) => mode?.test) ?? usual.mode.test,
    },
    limits: {
      recipient: first(({ limits }) => limits?.recipient) ?? usual.limits.recipient,
      ip: first(({ limits }) => limits?.ip) ?? usual.limits.ip,
      keys: first(({ limits }) => limits?.keys) ?? usual.limits.keys,
    },
    ipAddress: first(({ ipAddress }) => ipAddress) ?? usual.ipAddress,
    sendsPerMinute: first(({ sendsPerMinute }) => sendsPerMinute),
    countries: first(({ countries }) => countries),
    lineTypes: first(({ lineTypes }) => lineTypes) ?? usual.lineTypes,
    lookup: first(({ lookup }) => lookup),
    simSwap: first(({ simSwap }) => simSwap),
    challenges: first(({ challenges }) => challenges) ?? usual.challenges,
    rules: first(({ rules }) => rules) ?? usual.rules,
    budget: first(({ budget }) => budget),
  }
}

/** Whether a list of countries and groups names a country. */
export const namesCountry = (
  list: readonly string[],
  country: string | null,
  groups: ProtectionPolicy['countryGroups'] = {},
): boolean =>
  country !== null &&
  list.some((name) => name === country || (groups[name]?.includes(country) ?? false))

export const modeFor = ({ mode }: ProtectionSettings, environment: Environment): ProtectionMode =>
  isLive(environment) ? mode.live : mode.test
