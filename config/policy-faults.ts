import { camara, testNumberProvider } from '../core/protection/number'
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
  ...faultsOfBudgets(policy),
  ...faultsOfLookUps(policy),
]

/** One would hide the address of the generic callback, the others are accounts that no file describes. */
const reservedNames = ['otp-status', testNumberProvider, camara]

function faultsOfNames({ accounts = [], rules = [] }: WellFormed): PolicyFault[] {
  const names = (section: string, list: readonly { name: string }[], what: string) =>
    list.flatMap(({ name }, index) => {
      const isFirst = list.findIndex((other) => other.name === name) === index
      return isFirst
        ? []
        : [{ path: [section, index, 'name'], message: `${what} is named ${name}` }]
    })
  const reserved = accounts.flatMap(({ name }, index) =>
    reservedNames.includes(name)
      ? [{ path: ['accounts', index, 'name'], message: `no account can be named ${name}` }]
      : [],
  )
  return [
    ...names('accounts', accounts, 'another account'),
    ...names('rules', rules, 'another rule'),
    ...reserved,
  ]
}

function faultsOfGroups({ countryGroups, rules = [], protection = {} }: WellFormed): PolicyFault[] {
  if (!countryGroups) return []
  const { countries = [], overrides = [] } = protection
  const lists = [
    ...rules.map(({ when }, rule) => ({
      path: ['rules', rule, 'when', 'countries'],
      names: when?.countries ?? [],
    })),
    { path: ['protection', 'countries'], names: countries },
    ...overrides.flatMap((override, index) => [
      {
        path: ['protection', 'overrides', index, 'when', 'countries'],
        names: override.when?.countries ?? [],
      },
      {
        path: ['protection', 'overrides', index, 'countries'],
        names: override.countries ?? [],
      },
    ]),
  ]
  return lists.flatMap(({ path, names }) =>
    names.flatMap((name, index) =>
      /^[a-z]/.test(name) && !Object.hasOwn(countryGroups, name)
        ? [{ path: [...path, index], message: `there is no group ${name} in countryGroups` }]
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

/** Who is asked about numbers must be an account of the file, or one that needs none. */
function faultsOfLookUps({ accounts, protection = {} }: WellFormed): PolicyFault[] {
  if (!accounts) return []
  const said = [
    { path: ['protection'], ...protection },
    ...(protection.overrides ?? []).map((override, index) => ({
      ...override,
      path: ['protection', 'overrides', index],
    })),
  ]
  return said.flatMap(({ path, lookup, simSwap }) =>
    Object.entries({ lookup, simSwap }).flatMap(([setting, asked]) =>
      asked &&
      !accounts.some(({ name }) => name === asked.provider) &&
      !(setting === 'simSwap' && asked.provider === camara)
        ? [
            {
              path: [...path, setting, 'provider'],
              message: `there is no account ${asked.provider}`,
            },
          ]
        : [],
    ),
  )
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

/** What has no price cannot be held to a budget: it would be unbounded, or nothing would be sent. */
function faultsOfBudgets({ protection, costs, channels }: WellFormed): PolicyFault[] {
  if (!protection || !channels) return []
  const priced = new Set(costs?.prices.map(({ channel }) => channel))
  const unpriced = [...channels.phone, ...channels.email].filter((channel) => !priced.has(channel))
  if (unpriced.length === 0) return []
  const message = `needs a price in costs for ${unpriced.join(', ')}, such as "0" where it is free`
  const faultAt = (budget: object | undefined, ...path: PropertyKey[]) =>
    budget && Object.keys(budget).length > 0 ? [{ path: ['protection', ...path], message }] : []
  return [
    ...faultAt(protection.budget, 'budget'),
    ...(protection.overrides ?? []).flatMap(({ budget }, index) =>
      faultAt(budget, 'overrides', index, 'budget'),
    ),
  ]
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
