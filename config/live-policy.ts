import { isDeepStrictEqual } from 'node:util'
import { type AccountConfig, accountsLeftOut, createProviders, settingsFaults } from '../providers'
import { createDispatcher } from '../providers/http'
import type { ProviderAccount } from '../providers/provider'
import type { Config } from './index'
import { fileNameOf, type Policy, readPolicy, readPolicyText } from './policy'

const usualRereadMs = 2_000

/** The policy of a process and the accounts that it names, as the file has them now. */
export interface LivePolicy {
  /** Never half of two: whoever reads both without waiting in between gets one file's. */
  readonly policy: Policy
  readonly accounts: ReadonlyMap<string, ProviderAccount>
  close(): void
}

interface Log {
  info(fields: object, sentence: string): void
  warn(fields: object, sentence: string): void
}

interface FollowOptions {
  log: Log
  /** For tests; milliseconds. */
  rereadMs?: number
}

/**
 * Follows the policy file, which is read again every 2 s, so that a change needs no restart. A file that cannot be
 * used is refused as a whole, with one warning, and the last good one stays in use.
 */
export function followPolicy(
  config: Pick<Config, 'policy' | 'policyFile' | 'variables' | 'isProduction'>,
  { log, rereadMs = usualRereadMs }: FollowOptions,
): LivePolicy {
  const { policyFile, variables } = config
  const dispatcher = createDispatcher()
  const create = (accounts: readonly AccountConfig[]) =>
    createProviders(accounts, variables, dispatcher)
  let current = { policy: config.policy, accounts: create(config.policy.accounts) }
  // Absent at first: what the process began with may have been replaced since.
  let seen: string | undefined
  let lastFaults: string[] = []

  function take(policy: Policy): void {
    const known = current.policy.accounts
    const changed = policy.accounts.filter(
      (account) => !known.some((old) => isDeepStrictEqual(old, account)),
    )
    const fresh = create(changed)
    // One that has not changed goes on with what it holds: connections, a service's answers.
    const accounts = policy.accounts.flatMap((account) => {
      const { name } = account
      const made = changed.includes(account) ? fresh.get(name) : current.accounts.get(name)
      return made ? [[name, made] as const] : []
    })
    current = { policy, accounts: new Map(accounts) }
    for (const { reason, begun } of accountsLeftOut(changed, variables))
      log[begun ? 'warn' : 'info']({}, reason)
    log.info({ accounts: [...current.accounts.keys()] }, 'the policy file was read again')
  }

  function look(): void {
    const text = readPolicyText(policyFile)
    if (text !== undefined && text === seen) return
    seen = text
    const reading = readAgain(text, config)
    if ('policy' in reading) {
      lastFaults = []
      if (!isDeepStrictEqual(reading.policy, current.policy)) take(reading.policy)
    } else if (!isDeepStrictEqual(reading.faults, lastFaults)) {
      lastFaults = reading.faults
      log.warn(
        { faults: lastFaults },
        'the policy file cannot be used: the last good one stays in use',
      )
    }
  }

  const timer = setInterval(look, rereadMs)
  timer.unref()
  return {
    get policy() {
      return current.policy
    },
    accounts: viewOf(() => current.accounts),
    close: () => clearInterval(timer),
  }
}

function readAgain(
  text: string | undefined,
  { policyFile, variables, isProduction }: Parameters<typeof followPolicy>[0],
): { policy: Policy } | { faults: string[] } {
  const file = fileNameOf(policyFile)
  if (text === undefined) return { faults: [`${file}: cannot be read`] }
  const reading = readPolicy(text, file)
  if (!reading.success) return reading
  const faults = settingsFaults(reading.policy.accounts, variables, { isProduction })
  return faults.length > 0 ? { faults } : reading
}

/** What holds on to it sees what the map is now. */
const viewOf = <K, V>(current: () => ReadonlyMap<K, V>): ReadonlyMap<K, V> => ({
  get size() {
    return current().size
  },
  get: (key) => current().get(key),
  has: (key) => current().has(key),
  keys: () => current().keys(),
  values: () => current().values(),
  entries: () => current().entries(),
  [Symbol.iterator]: () => current().entries(),
  forEach(visit) {
    for (const [key, value] of current()) visit(value, key, this)
  },
})
