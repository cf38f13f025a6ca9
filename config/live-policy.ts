import { isDeepStrictEqual } from 'node:util'
import { type AccountConfig, accountsLeftOut, createProviders, settingsFaults } from '../providers'
import { createDispatcher } from '../providers/http'
import type { ProviderAccount } from '../providers/provider'
import { alertFaults } from './alerts'
import { carrierFaults } from './carriers'
import { challengeFaults } from './challenges'
import type { Config } from './index'
import { fileNameOf, type Policy, readPolicy, readPolicyText } from './policy'

const usualRereadMs = 2_000
/** Processes do not read a change in the same moment: so long after its own, one still serves plans of the others. */
const usualGoneMs = 5_000
/** How often a name that nobody knows may have the file read out of turn. */
const askedEveryMs = 200

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
  goneMs?: number
}

/**
 * Follows the policy file, which is read at once and again every 2 s, so that a change needs no restart. A file that
 * cannot be used is refused as a whole, with one warning, and the last good one stays in use. One warning names all
 * values of an older version each time that a file with some is read.
 */
export function followPolicy(
  config: Pick<Config, 'policy' | 'policyFile' | 'variables' | 'isProduction'>,
  { log, rereadMs = usualRereadMs, goneMs = usualGoneMs }: FollowOptions,
): LivePolicy {
  const { policyFile, variables } = config
  const dispatcher = createDispatcher()
  const create = (accounts: readonly AccountConfig[]) =>
    createProviders(accounts, variables, dispatcher)
  let current = { policy: config.policy, accounts: create(config.policy.accounts) }
  // Absent at first: what the process began with may have been replaced since.
  let seen: string | undefined
  const complain = complainTo(log)
  let lookedAt = performance.now()
  const gone = goneFor(goneMs)

  function take(policy: Policy): void {
    const known = current.policy.accounts
    const changed = policy.accounts.filter(
      (account) => !known.some((old) => isDeepStrictEqual(old, account)),
    )
    const fresh = create(changed)
    // One that has not changed goes on with what it holds: connections, a service's answers.
    const from = (account: AccountConfig) => (changed.includes(account) ? fresh : current.accounts)
    const accounts = pick(policy.accounts, from)
    gone.add(current.accounts)
    current = { policy, accounts }
    for (const { reason, begun } of accountsLeftOut(changed, variables, fresh))
      log[begun ? 'warn' : 'info']({}, reason)
    log.info({ accounts: [...current.accounts.keys()] }, 'the policy file was read again')
  }

  function look(): void {
    lookedAt = performance.now()
    const text = readPolicyText(policyFile)
    if (text !== undefined && text === seen) return
    seen = text
    const reading = readAgain(text, config)
    complain(reading)
    if ('policy' in reading && !isDeepStrictEqual(reading.policy, current.policy))
      take(reading.policy)
  }

  /** An account that another process planned with: one that is new in the file, or was in it a moment ago. */
  function find(name: string): ProviderAccount | undefined {
    const isDue = performance.now() - lookedAt > Math.min(askedEveryMs, rereadMs)
    if (!current.accounts.has(name) && isDue) look()
    return current.accounts.get(name) ?? gone.get(name)
  }

  look()
  const timer = setInterval(look, rereadMs)
  timer.unref()
  return {
    get policy() {
      return current.policy
    },
    accounts: viewOf(() => current.accounts, find),
    close: () => clearInterval(timer),
  }
}

type Reading = { policy: Policy; outdated: string[] } | { faults: string[] }

/** Warns of faults once, until they change, and of values of an older version each time that they are read. */
function complainTo(log: Log) {
  let lastFaults: string[] = []
  return (reading: Reading): void => {
    const faults = 'faults' in reading ? reading.faults : []
    if (faults.length > 0 && !isDeepStrictEqual(faults, lastFaults))
      log.warn({ faults }, 'the policy file cannot be used: the last good one stays in use')
    lastFaults = faults
    if ('outdated' in reading && reading.outdated.length > 0)
      log.warn({ outdated: reading.outdated }, 'the policy file has values of an older version')
  }
}

/** The accounts of a list in its order, as far as there are any of these names. */
function pick(
  list: readonly AccountConfig[],
  from: (account: AccountConfig) => ReadonlyMap<string, ProviderAccount>,
): Map<string, ProviderAccount> {
  const found = list.flatMap((account) => {
    const made = from(account).get(account.name)
    return made ? [[account.name, made] as const] : []
  })
  return new Map(found)
}

/** Accounts that the file has no more, for plans that were made a moment ago. */
function goneFor(milliseconds: number) {
  let left: { accounts: ReadonlyMap<string, ProviderAccount>; until: number }[] = []
  const stillThere = () => (left = left.filter(({ until }) => until > performance.now()))
  return {
    add: (accounts: ReadonlyMap<string, ProviderAccount>) =>
      void stillThere().push({ accounts, until: performance.now() + milliseconds }),
    get: (name: string) =>
      stillThere()
        .findLast(({ accounts }) => accounts.has(name))
        ?.accounts.get(name),
  }
}

function readAgain(
  text: string | undefined,
  { policyFile, variables, isProduction }: Parameters<typeof followPolicy>[0],
): Reading {
  const file = fileNameOf(policyFile)
  if (text === undefined) return { faults: [`${file}: cannot be read`] }
  const reading = readPolicy(text, file)
  if (!reading.success) return reading
  const faults = [
    ...settingsFaults(reading.policy.accounts, variables, { isProduction }),
    ...alertFaults(reading.policy, variables, { isProduction }),
    ...challengeFaults(reading.policy, variables, { isProduction }),
    ...carrierFaults(reading.policy, variables, { isProduction }),
  ]
  return faults.length > 0 ? { faults } : reading
}

/** What holds on to it sees what the map is now; `find` knows of more than there is to list. */
const viewOf = <K, V>(
  current: () => ReadonlyMap<K, V>,
  find: (key: K) => V | undefined,
): ReadonlyMap<K, V> => ({
  get size() {
    return current().size
  },
  get: find,
  has: (key) => current().has(key),
  keys: () => current().keys(),
  values: () => current().values(),
  entries: () => current().entries(),
  [Symbol.iterator]: () => current().entries(),
  forEach(visit) {
    for (const [key, value] of current()) visit(value, key, this)
  },
})
