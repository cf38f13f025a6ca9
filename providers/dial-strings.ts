import type { ProviderAccount } from './provider'

/** What users dial at this account to see a code of ours; undefined where it shows none, or makes codes itself. */
export const dialStringOf = ({ channels, ussd, delegated }: ProviderAccount): string | undefined =>
  channels.includes('ussd') && !delegated?.channels.includes('ussd') ? ussd?.serviceCode : undefined

/** The same for all accounts that have one, by their names. */
export const dialStringsOf = (
  accounts: ReadonlyMap<string, ProviderAccount>,
): Map<string, string> =>
  new Map(
    [...accounts.values()].flatMap((account) => {
      const dialString = dialStringOf(account)
      return dialString === undefined ? [] : [[account.name, dialString] as const]
    }),
  )
