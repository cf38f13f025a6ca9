import { findingOf, riskyScore } from '../../core/abuse/number'
import type { ProtectionSettings } from '../../core/abuse/protection'
import type { Finding } from '../../core/abuse/rules'
import { isLive } from '../../core/state'
import { keepLookup, type KeptLookup, readLookup } from '../../db/abuse/number-lookups'
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
  settings: ProtectionSettings,
  asked: Asked,
): Promise<CarrierWord> {
  const { lookup, simSwap } = settings
  const signal = AbortSignal.timeout(patienceMs)
  const [line, change] = await Promise.all([
    lookup && lookUp(deps, call, { asked, signal, ...lookup }),
    simSwap && hasChanged(deps, call, { asked, signal, ...simSwap }),
  ])
  const signals: Finding[] = []
  if (line === 'unanswered' || change === 'unanswered')
    signals.push(findingOf('lookup_unanswered', 'challenge'))
  if (change === true) signals.push(findingOf('sim_swap', 'challenge'))
  const heard = line === 'unanswered' ? undefined : line
  const score = heard?.riskScore ?? 0
  if (score >= riskyScore)
    signals.push({ ...findingOf('pumping_risk', 'challenge'), count: score, limit: riskyScore })
  return { lookup: heard, signals }
}

interface Ask {
  asked: Asked
  signal: AbortSignal
  provider: string
}

/** A test key reaches no real provider: not to ask either. */
const accountFor = (
  { routing }: ApiDeps,
  { key }: KeyCall<SendBody>,
  name: string,
): ProviderAccount | undefined => {
  const account = routing.accounts.get(name)
  return account?.test === !isLive(key.environment) ? account : undefined
}

async function lookUp(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { asked, signal, provider, risk = false }: Ask & { risk?: boolean | undefined },
): Promise<KeptLookup | 'unanswered' | undefined> {
  const { db, keyring } = deps
  const { app, environment } = call.key
  const looked = { appId: app.id, provider, number: asked.number }
  const known = await readLookup(db, keyring, looked, { app: app.id, environment, ...asked })
  if (known.kept ?? known.isRefused) return known.kept
  const account = accountFor(deps, call, provider)
  if (!account) return isAskedFor(deps, call, provider) ? 'unanswered' : undefined
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
  if (!account) return isAskedFor(deps, call, provider) && 'unanswered'
  const withinHours = maxAgeHours
  const answer = await inTime(deps, { provider, signal }, () =>
    account.simSwap?.hasChanged(asked.number, { withinHours }, signal),
  )
  return answer ?? 'unanswered'
}

/** Whether the lack of an account is a fault, and not only that this key may not reach it. */
const isAskedFor = ({ routing }: ApiDeps, { key }: KeyCall<SendBody>, name: string): boolean =>
  isLive(key.environment) && !routing.accounts.has(name)

/** @returns undefined when the account cannot be asked, or does not answer before the signal */
async function inTime<Answer>(
  { logger }: ApiDeps,
  { provider, signal }: Pick<Ask, 'provider' | 'signal'>,
  ask: () => Promise<Answer> | undefined,
): Promise<Answer | undefined> {
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('no answer in time')), { once: true })
  })
  try {
    return await Promise.race([ask(), late])
  } catch (error) {
    logger.warn({ provider, err: error }, 'an account was asked about a number and did not answer')
    return undefined
  }
}
