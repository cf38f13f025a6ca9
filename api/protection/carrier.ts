import { purseOf, type RequestMoney } from '../../core/spending/money'
import { camara, findingOf, riskyScore } from '../../core/protection/number'
import type { ProtectionSettings } from '../../core/protection/protection'
import type { Finding } from '../../core/protection/rules'
import { isLive } from '../../core/requests/state'
import { spendMoney } from '../../db/spending/spending'
import {
  isBlocked,
  keepLookup,
  type KeptLookup,
  readLookup,
} from '../../db/protection/number-lookups'
import { isKnown } from '../../db/recipients/known'
import { findRecipient } from '../../db/recipients/recipients'
import type { Refusal, SendProtection } from '../../db/requests/new-request'
import type { LookedUp, ProviderAccount } from '../../providers/provider'
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
export type Met = Omit<SendProtection, 'signals' | 'refused'>

/** What a question is asked beside: how the send is protected, what it may cost, and what refuses it anyway. */
export interface Asking {
  met: Met
  money: RequestMoney | undefined
  foreseen: () => Promise<Refusal | undefined>
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
  { lookup, simSwap }: ProtectionSettings,
  { met, money, foreseen, ...asked }: Asked & Asking,
): Promise<CarrierWord> {
  // What must not be paid for by an attack is what is asked about it.
  if ((!lookup && !simSwap) || (await foreseen())) return { lookup: undefined, signals: [] }
  if (await isBlockedAnyway(deps, call, asked, met))
    return { lookup: undefined, signals: [unheard] }
  const signal = AbortSignal.timeout(patienceMs)
  const ofLine = lookup && { asked, signal, money, ...lookup }
  const ofCard = simSwap && { asked, signal, money, ...simSwap }
  const [line, change] =
    ofLine && ofCard && isOneQuestion(deps, call, ofLine, ofCard)
      ? await askBoth(deps, call, ofLine, ofCard)
      : await Promise.all([
          ofLine && lookUp(deps, call, ofLine),
          ofCard && hasChanged(deps, call, ofCard),
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

/** Whether a block refuses the send, whatever carriers say. */
async function isBlockedAnyway(
  { db, keyring }: ApiDeps,
  { key: { app, environment, publishable } }: KeyCall<SendBody>,
  asked: Asked,
  { mode, rules, isTrusted, isSolved, ip, keys }: Met,
): Promise<boolean> {
  const isHeeded = mode === 'block' || (mode === 'challenge' && !isSolved)
  if (!isHeeded || isTrusted || rules.blocked !== undefined) return false
  // Whom a back end knows gets through a block, and their SIM card is asked about all the same.
  const recipient = { appId: app.id, kind: 'phone', value: asked.number } as const
  const known = publishable ? undefined : await findRecipient(db, keyring, recipient)
  if (known && (await isKnown(db, { recipientId: known.id, environment }))) return false
  return isBlocked(db, { app: app.id, environment, ip, keys, ...asked })
}

interface Ask {
  asked: Asked
  signal: AbortSignal
  provider: string
  /** What the question costs, in the currency of the policy's costs; undefined: nobody says. */
  price?: string | undefined
  money: RequestMoney | undefined
}

/** Pays for a question. @returns false where the app has no money left for it */
async function pay(
  { db }: ApiDeps,
  { key: { app, environment } }: KeyCall<SendBody>,
  { price, money }: Pick<Ask, 'price' | 'money'>,
): Promise<boolean> {
  if (price === undefined || !money) return true
  const { budget } = money
  return spendMoney(db, { ...purseOf({ appId: app.id, environment }, money), price, budget })
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

type LineAsk = Ask & { risk?: boolean | undefined }
type CardAsk = Ask & { maxAgeHours: number }

/** Whether the account that is asked both answers both at once. */
const isOneQuestion = (
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { provider }: LineAsk,
  { provider: another }: CardAsk,
): boolean => provider === another && accountFor(deps, call, provider)?.lookup?.asksSimSwap === true

/** One call for the line and for its SIM card; where the line is known, or not paid for, one for the card alone. */
async function askBoth(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  ofLine: LineAsk,
  ofCard: CardAsk,
): Promise<[KeptLookup | 'unanswered' | undefined, boolean | 'unanswered']> {
  const { asked, signal, provider, risk = false } = ofLine
  const { db, keyring } = deps
  const looked = { appId: call.key.app.id, provider, number: asked.number }
  const kept = await readLookup(db, keyring, looked)
  if (kept) return [kept, await hasChanged(deps, call, ofCard)]
  if (!(await pay(deps, call, ofLine))) return ['unanswered', await hasChanged(deps, call, ofCard)]
  const isPaid = await pay(deps, call, ofCard)
  const simSwapWithinHours = isPaid ? ofCard.maxAgeHours : undefined
  const account = accountFor(deps, call, provider)
  const answer = await inTime(deps, { provider, signal }, () =>
    account?.lookup?.lookUp(asked.number, signal, { risk, simSwapWithinHours }),
  )
  if (!answer) return ['unanswered', 'unanswered']
  return [await keepAnswer(deps, looked, answer), answer.simChanged ?? 'unanswered']
}

async function keepAnswer(
  { db, keyring }: ApiDeps,
  looked: Parameters<typeof keepLookup>[2],
  answer: LookedUp,
): Promise<KeptLookup> {
  const { valid, lineType, riskScore = null } = answer
  await keepLookup(db, keyring, looked, { valid, lineType, riskScore })
  return { valid, lineType, riskScore }
}

async function lookUp(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { asked, signal, provider, risk = false, ...cost }: LineAsk,
): Promise<KeptLookup | 'unanswered' | undefined> {
  const { db, keyring } = deps
  const account = accountFor(deps, call, provider)
  if (!account) return isMissed(deps, call, provider) ? 'unanswered' : undefined
  const looked = { appId: call.key.app.id, provider, number: asked.number }
  const kept = await readLookup(db, keyring, looked)
  if (kept) return kept
  if (!(await pay(deps, call, cost))) return 'unanswered'
  const answer = await inTime(deps, { provider, signal }, () =>
    account.lookup?.lookUp(asked.number, signal, { risk }),
  )
  return answer ? keepAnswer(deps, looked, answer) : 'unanswered'
}

async function hasChanged(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { asked, signal, provider, maxAgeHours, ...cost }: CardAsk,
): Promise<boolean | 'unanswered'> {
  const account = accountFor(deps, call, provider)
  if (!account) return isMissed(deps, call, provider) && 'unanswered'
  if (!(await pay(deps, call, cost))) return 'unanswered'
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
