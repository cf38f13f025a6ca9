import { z } from 'zod'
import type { ChallengeKind } from '../core/protection/protection'
import type { Policy } from './policy'

/** An account at a vendor that tells people from programs. */
export interface ChallengeAccount {
  /** For pages: everybody may know it. */
  siteKey: string
  secret: string
  /** Where its service is, without a slash at the end. */
  baseUrl: string
}

/** The accounts by kind of challenge; proof of work needs none. */
export type ChallengeAccounts = Partial<Record<Exclude<ChallengeKind, 'altcha'>, ChallengeAccount>>

type Given = Readonly<Record<string, string | undefined>>

const optional = <T extends z.ZodType>(schema: T) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional())
const baseUrl = z.url({ protocol: /^https?$/, error: 'must be an http or https address' })

const Settings = z.object({
  TURNSTILE_SITE_KEY: optional(z.string()),
  TURNSTILE_SECRET: optional(z.string()),
  TURNSTILE_BASE_URL: optional(baseUrl),
  HCAPTCHA_SITE_KEY: optional(z.string()),
  HCAPTCHA_SECRET: optional(z.string()),
  HCAPTCHA_BASE_URL: optional(baseUrl),
})
const homes = {
  turnstile: { prefix: 'TURNSTILE', home: 'https://challenges.cloudflare.com' },
  hcaptcha: { prefix: 'HCAPTCHA', home: 'https://api.hcaptcha.com' },
} as const
const vendors = ['turnstile', 'hcaptcha'] as const

/** The accounts of the environment; half an account, or one at no address, is none. */
export function readChallengeAccounts(variables: Given): ChallengeAccounts {
  const { data } = Settings.safeParse(variables)
  if (!data) return {}
  const accounts: ChallengeAccounts = {}
  for (const kind of vendors) {
    const { prefix, home } = homes[kind]
    const { [`${prefix}_SITE_KEY` as const]: siteKey, [`${prefix}_SECRET` as const]: secret } = data
    const base = data[`${prefix}_BASE_URL`] ?? home
    if (siteKey && secret) accounts[kind] = { siteKey, secret, baseUrl: base.replace(/\/+$/, '') }
  }
  return accounts
}

/** What is wrong with them, and with a policy that wants what they do not offer; names, never values. */
export function challengeFaults(
  policy: Pick<Policy, 'protection'> | undefined,
  variables: Given,
  { isProduction }: { isProduction: boolean },
): string[] {
  const read = Settings.safeParse(variables)
  const accounts = readChallengeAccounts(variables)
  const halves = vendors
    .map((kind) => homes[kind].prefix)
    .filter((prefix) => !variables[`${prefix}_SITE_KEY`] !== !variables[`${prefix}_SECRET`])
  // Whoever answers in the vendor's place lets everybody in.
  const moved = vendors
    .map((kind) => `${homes[kind].prefix}_BASE_URL`)
    .filter((name) => isProduction && variables[name])
  return [
    ...(read.error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`),
    ...halves.map(
      (prefix) => `${prefix}_SITE_KEY, ${prefix}_SECRET: one is of no use without the other`,
    ),
    ...moved.map((name) => `${name}: for development only, where the sandbox plays the vendor`),
    ...wantedBy(policy)
      .filter((kind) => !accounts[kind])
      .map(
        (kind) =>
          `protection.challenges: "${kind}" needs ${homes[kind].prefix}_SITE_KEY and ${homes[kind].prefix}_SECRET`,
      ),
  ]
}

/** The vendors that a policy names, for any app. */
function wantedBy(policy: Pick<Policy, 'protection'> | undefined) {
  const { challenges, overrides = [] } = policy?.protection ?? {}
  const kinds = [challenges, ...overrides.map((override) => override.challenges)].flatMap(
    (said) => said?.kinds ?? [],
  )
  return vendors.filter((kind) => kinds.includes(kind))
}
