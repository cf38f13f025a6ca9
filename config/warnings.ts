import type { Config } from './index'
import type { TrustProxy } from './trust-proxy'

/** With more proxies than this in front of it, an installation is hardly ever reached through all of them. */
const usualHops = 3
/** The widest private networks are 10.0.0.0/8 and fc00::/7. */
const widest = { ipv4: 8, ipv6: 7 }

/** What production may be started with, and is hardly ever meant: one sentence each. */
export function productionWarnings({
  isProduction,
  trustProxy,
  policy,
}: Pick<Config, 'isProduction' | 'trustProxy' | 'policy'>): string[] {
  if (!isProduction) return []
  const { hour, day } = policy.protection.budget ?? {}
  return [
    trustProxy && believesTooMany(trustProxy),
    hour === undefined && day === undefined
      ? 'the policy has no protection.budget: there is no end to what apps may spend'
      : undefined,
  ].filter((sentence) => sentence !== undefined)
}

function believesTooMany(trust: TrustProxy): string | undefined {
  if ('hops' in trust) {
    if (trust.hops <= usualHops) return undefined
    return `OTPILOT_TRUST_PROXY believes ${trust.hops} proxies: with fewer in front, callers write their own address into X-Forwarded-For and have no limit`
  }
  if (trust.networks.every(([address, bits]) => bits >= widest[address.kind()])) return undefined
  return 'OTPILOT_TRUST_PROXY believes a network wider than any private one: callers in it write their own address into X-Forwarded-For and have no limit'
}
