import { faultsOfNumber } from '../core/protection/number'
import { type ProtectionPolicy, protectionOf } from '../core/protection/protection'
import type { Reading } from './phone-number'

/** What says which numbers are sent to: the API's own parts, or those of a command. */
export interface ReadingParts {
  routing: { readonly policy: ProtectionPolicy }
  isProduction: boolean
}

/**
 * How numbers are read for an app: national ones as of its default country, and of two readings the one that its policy
 * sends to. Every call and command about a recipient reads with this, so that all of them mean the same one.
 * @param app none: for no one app, so international numbers alone
 */
export function readingFor(
  { routing: { policy }, isProduction }: ReadingParts,
  app: { id: string; defaultCountry: string | null } | null | undefined,
): Reading {
  const where = { groups: policy.countryGroups, everywhere: !isProduction }
  return {
    country: app?.defaultCountry ?? null,
    isSentTo: (number) => {
      const settings = protectionOf(policy, { app: app?.id ?? '', country: number.country })
      return faultsOfNumber(number, settings, where).every(
        ({ rule }) => settings.rules[rule] !== undefined,
      )
    },
  }
}
