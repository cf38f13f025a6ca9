import { camara, findingOf, riskyScore } from '../../core/abuse/number'
import type { ProtectionSettings } from '../../core/abuse/protection'
import type { Finding } from '../../core/abuse/rules'
import { isLive } from '../../core/state'
import { isOverLimits } from '../../db/abuse/limits'
import { isBlocked, keepLookup, type KeptLookup, readLookup } from '../../db/abuse/number-lookups'
import { isKnown } from '../../db/recipients/known'
import { findRecipient } from '../../db/recipients/recipients'
import type { SendProtection } from '../../db/requests/new-request'
import type { ProviderAccount } from '../../providers/provider'
import type { SendBody } from '../contract/send'
import type { ApiDeps } from '../deps'
import type { KeyCall } from '../route'

/** What carriers have together to answer, in milliseconds: a send never waits for them any longer. */
const patienceMs = 800

interface Asked {
  /** E.164 with `+`. */
  number: string
  country: string | null
}

/** What else stands between a send and its message. */
export type Met = Omit<SendProtection, 'signals'>

export interface CarrierWord {
  /** Undefined where nobody was asked, or nobody answered. */
  lookup: KeptLookup | undefined
  signals: Finding[]
}

/**
 * Asks the accounts that the policy names what carriers know of a number: its kind, how likely it is pumped, and whether
 * its SIM card was changed of late. Who does not answer in time becomes a finding that asks for a challenge.
 */
export async function askCarriers(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { lookup, simSwap }: ProtectionSettings,
  { met, ...asked }: Asked & { met: Met },
): Promise<CarrierWord> {
  if (!lookup && !simSwap) return { lookup: undefined, signals: [] }
  if (await isRefusedAnyway(deps, call, asked, met))
    return { lookup: undefined, signals: [unheard] }
  const signal = AbortSignal.timeout(patienceMs)
  const [line, change] = await Promise.all([
    lookup && lookUp(deps, call, { asked, signal, ...lookup }),
    simSwap && hasChanged(deps, call, { asked, signal, ...simSwap }),
  ])
  const signals: Finding[] = []
  if (line === 'unanswered' || change === 'unanswered') signals.push(unheard)
  if (change === true) signals.push(findingOf('sim_swap', 'challenge'))
  const heard = line === 'unanswered' ? undefined : line
  const score = heard?.riskScore ?? 0
  if (score >= riskyScore)
    signals.push({ ...findingOf('pumping_risk', 'challenge'), count: score, limit: riskyScore })
  return { lookup: heard, signals }
}

const unheard = findingOf('lookup_unanswered', 'challenge')

/**
 * Whether a limit or a block refuses the send, whatever carriers say: nobody is asked then, since an attack must not be
 * paid for by what is asked about it.
 */
async function isRefusedAnyway(
  { db, keyring }: ApiDeps,
  { key: { app, environment, publishable } }: KeyCall<SendBody>,
  asked: Asked,
  { mode, rules, isTrusted, isSolved, limits, ip, keys }: Met,
): Promise<boolean> {
  const { number } = asked
  const known = await findRecipient(db, keyring, { appId: app.id, kind: 'phone', value: number })
  const recipientId = known?.id ?? ''
  const taken = { app: app.id, environment, recipientId, number }
  const asTaken = { ...limits, ...(isSolved && { ip: undefined }) }
  if (await isOverLimits(db, keyring, { ...taken, limits: asTaken })) return true
  const isHeeded = mode === 'block' || (mode === 'challenge' && !isSolved)
  if (!isHeeded || isTrusted || rules.blocked !== undefined) return false
  // Whom a back end knows gets through a block, and their SIM card is asked about all the same.
  if (known && !publishable && (await isKnown(db, { recipientId, environment }))) return false
  return isBlocked(db, { app: app.id, environment, ip, keys, ...asked })
}

interface Ask {
  asked: Asked
  signal: AbortSignal
  provider: string
}

type Askable = Pick<ProviderAccount, 'test' | 'lookup' | 'simSwap'>

const accountNamed = ({ routing, camara: simSwap }: ApiDeps, name: string): Askable | undefined =>
  name === camara && simSwap ? { test: false, simSwap } : routing.accounts.get(name)

/** A test key reaches no real provider: not to ask either. */
const accountFor = (
  deps: ApiDeps,
  { key }: KeyCall<SendBody>,
  name: string,
): Askable | undefined => {
  const account = accountNamed(deps, name)
  return account?.test === !isLive(key.environment) ? account : undefined
}

async function lookUp(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { asked, signal, provider, risk = false }: Ask & { risk?: boolean | undefined },
): Promise<KeptLookup | 'unanswered' | undefined> {
  const { db, keyring } = deps
  const account = accountFor(deps, call, provider)
  if (!account) return isMissed(deps, call, provider) ? 'unanswered' : undefined
  const looked = { appId: call.key.app.id, provider, number: asked.number }
  const kept = await readLookup(db, keyring, looked)
  if (kept) return kept
  const answer = await inTime(deps, { provider, signal }, () =>
    account.lookup?.lookUp(asked.number, signal, { risk }),
  )
  if (!answer) return 'unanswered'
  const { valid, lineType, riskScore = null } = answer
  await keepLookup(db, keyring, looked, { valid, lineType, riskScore })
  return { valid, lineType, riskScore }
}

async function hasChanged(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { asked, signal, provider, maxAgeHours }: Ask & { maxAgeHours: number },
): Promise<boolean | 'unanswered'> {
  const account = accountFor(deps, call, provider)
  if (!account) return isMissed(deps, call, provider) && 'unanswered'
  const withinHours = maxAgeHours
  const answer = await inTime(deps, { provider, signal }, () =>
    account.simSwap?.hasChanged(asked.number, { withinHours }, signal),
  )
  return answer ?? 'unanswered'
}

/** Whether the lack of an account is a fault, and not only that test keys reach no real one. */
const isMissed = (deps: ApiDeps, { key }: KeyCall<SendBody>, name: string): boolean =>
  isLive(key.environment) && accountNamed(deps, name)?.test !== false

/** @returns undefined when the account has no such question, or does not answer before the signal */
async function inTime<Answer>(
  { logger }: ApiDeps,
  { provider, signal }: Pick<Ask, 'provider' | 'signal'>,
  ask: () => Promise<Answer> | undefined,
): Promise<Answer | undefined> {
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('no answer in time')), { once: true })
  })
  try {
    const answer = ask()
    if (!answer) throw new Error('this kind of account cannot be asked that')
    return await Promise.race([answer, late])
  } catch (error) {
    logger.warn({ provider, err: error }, 'an account was asked about a number and did not answer')
    return undefined
  }
}
