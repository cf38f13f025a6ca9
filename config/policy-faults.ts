import type { Channel } from '../core/channel'
import { otherAccounts } from '../core/routing/policy'
import type { Policy } from './policy-schema'

/** One sentence about one place of the file. */
export interface PolicyFault {
  path: PropertyKey[]
  message: string
}

/** Sections that are well-formed by themselves; one that is not is told apart and absent here. */
export type WellFormed = Partial<Policy>

/** What sections can have wrong about each other. */
export const faultsBetween = (policy: WellFormed): PolicyFault[] => [
  ...faultsOfNames(policy),
  ...faultsOfGroups(policy),
  ...faultsOfAccountsNamed(policy),
  ...faultsOfPrices(policy),
]

function faultsOfNames({ accounts = [], rules = [] }: WellFormed): PolicyFault[] {
  const names = (section: string, list: readonly { name: string }[], what: string) =>
    list.flatMap(({ name }, index) => {
      const isFirst = list.findIndex((other) => other.name === name) === index
      return isFirst
        ? []
        : [{ path: [section, index, 'name'], message: `${what} is named ${name}` }]
    })
  const reserved = accounts.flatMap(({ name }, index) =>
    // It would hide the address of the generic callback.
    name === 'otp-status'
      ? [{ path: ['accounts', index, 'name'], message: 'no account can be named otp-status' }]
      : [],
  )
  return [
    ...names('accounts', accounts, 'another account'),
    ...names('rules', rules, 'another rule'),
    ...reserved,
  ]
}

function faultsOfGroups({ countryGroups, rules = [] }: WellFormed): PolicyFault[] {
  if (!countryGroups) return []
  return rules.flatMap(({ when }, rule) =>
    (when?.countries ?? []).flatMap((name, index) =>
      /^[a-z]/.test(name) && !Object.hasOwn(countryGroups, name)
        ? [
            {
              path: ['rules', rule, 'when', 'countries', index],
              message: `there is no group ${name} in countryGroups`,
            },
          ]
        : [],
    ),
  )
}

function faultsOfAccountsNamed(policy: WellFormed): PolicyFault[] {
  const { rules = [] } = policy
  return [
    ...faultsOfSettings(policy, policy, []),
    ...rules.flatMap((rule, index) => faultsOfSettings(policy, rule, ['rules', index])),
  ]
}

function faultsOfSettings(
  policy: WellFormed,
  { providers = {}, steps = {} }: Pick<WellFormed, 'providers' | 'steps'>,
  at: PropertyKey[],
): PolicyFault[] {
  const chosen = Object.entries(providers).flatMap(([channel, choice]) => {
    if (typeof choice === 'string') return []
    const named = Array.isArray(choice)
      ? choice.map((name, index) => ({ name, key: index }))
      : Object.keys(choice).map((name) => ({ name, key: name }))
    return named
      .filter(({ name }) => name !== otherAccounts)
      .flatMap(({ name, key }) =>
        faultOfAccount(policy, name, channel as Channel, [...at, 'providers', channel, key]),
      )
  })
  const judged = Object.entries(steps).flatMap(([channel, { successBy = {} }]) =>
    Object.keys(successBy).flatMap((name) =>
      faultOfAccount(policy, name, channel as Channel, [
        ...at,
        'steps',
        channel,
        'successBy',
        name,
      ]),
    ),
  )
  return [...chosen, ...judged]
}

function faultsOfPrices(policy: WellFormed): PolicyFault[] {
  const prices = policy.costs?.prices ?? []
  const sameAs = (index: number) =>
    prices.findIndex(
      ({ provider, channel, to }) =>
        provider === prices[index]?.provider &&
        channel === prices[index]?.channel &&
        to === prices[index]?.to,
    )
  return prices.flatMap(({ provider, channel }, index) => {
    const at = ['costs', 'prices', index]
    const first = sameAs(index)
    return [
      ...(provider === undefined
        ? []
        : faultOfAccount(policy, provider, channel, [...at, 'provider'])),
      ...(first < index ? [{ path: at, message: `is for the same as prices.${first}` }] : []),
    ]
  })
}

function faultOfAccount(
  { accounts }: WellFormed,
  name: string,
  channel: Channel,
  path: PropertyKey[],
): PolicyFault[] {
  if (!accounts) return []
  const account = accounts.find((account) => account.name === name)
  if (!account) return [{ path, message: `there is no account ${name}` }]
  return account.channels.includes(channel)
    ? []
    : [{ path, message: `the account ${name} does not serve ${channel}` }]
}
