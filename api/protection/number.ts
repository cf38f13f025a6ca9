import {
  faultOfType,
  faultsOfNumber,
  findingOf,
  type NumberFault,
} from '../../core/protection/number'
import { judgeLists } from '../../core/protection/lists'
import {
  type LineType,
  modeFor,
  type ProtectionSettings,
  protectionOf,
} from '../../core/protection/protection'
import type { Finding, RuleName } from '../../core/protection/rules'
import type { Risk } from '../../core/protection/risk'
import { noteTurnedAway } from '../../db/protection/decision-log'
import { readKnownBefore } from '../../db/protection/number-standing'
import type { SendBody } from '../contract/send'
import type { ApiDeps } from '../deps'
import { listValuesOf } from '../list-value'
import { Problem } from '../problem'
import type { RecipientAddress } from '../recipient-address'
import type { KeyCall } from '../route'
import { type Asking, askCarriers } from './carrier'
import { endUserOf } from './end-user'

/** Whom a send is to, before its request exists. */
export interface Recipient extends RecipientAddress {
  /** Of the request that it may become, for the decision's row. */
  requestId: string
}

export interface CheckedNumber {
  /** On an allow list: the fraud rules do not look at it. */
  isTrusted: boolean
  /** The very number is on an allow list: neither its kind nor its country matters. */
  isExempt: boolean
  /** Of a test number. */
  fixedCode?: string
  /** What is only written down. */
  signals: Finding[]
}

/** Why a send is refused, and what a secret key is told. */
interface Fault {
  rule: RuleName
  detail: string
}

/**
 * Checks whom a send is to, before anything is counted or asked: test numbers, lists, and the number's country and kind.
 * What it refuses is written down as a decision.
 * @throws {Problem} BLOCKED, to a secret key with the setting that would have to change.
 */
export async function checkNumber(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  recipient: Recipient,
): Promise<CheckedNumber> {
  const { kind, value: number, country, lineType } = recipient
  const { app } = call.key
  const { matches, fixedCode } = await readKnownBefore(deps.db, deps.keyring, {
    appId: app.id,
    values: listValuesOf(recipient, endUserOf(call)?.address),
    phoneNumber: kind === 'phone' ? number : undefined,
  })
  if (fixedCode !== undefined) return { isTrusted: true, isExempt: true, fixedCode, signals: [] }
  const { policy } = deps.routing
  const settings = protectionOf(policy, { app: app.id, country })
  const { isBlocked, isAllowed: isTrusted, isExempt } = judgeLists(matches)
  const faults: Fault[] = isBlocked ? [blockListed] : []
  if (lineType !== undefined && !isExempt) {
    const where = { groups: policy.countryGroups, everywhere: !deps.isProduction }
    faults.push(...faultsOfNumber({ number, country, lineType }, settings, where))
  }
  const signals = await refuseUnlessObserved(deps, call, settings, { recipient, faults })
  return { isTrusted, isExempt, signals }
}

/**
 * Holds another message of a live request against the lists: who was put on one since the send gets none.
 * @returns whether the fraud rules are not to look at it
 * @throws {Problem} BLOCKED
 */
export async function isOnAllowList(
  { db, keyring, routing }: ApiDeps,
  { key: { app } }: Pick<KeyCall, 'key'>,
  { kind, value, country, requestId }: RecipientAddress & { requestId: string },
): Promise<boolean> {
  const { rules } = protectionOf(routing.policy, { app: app.id, country })
  const values = listValuesOf({ kind, value, country }, undefined)
  const { matches } = await readKnownBefore(db, keyring, { appId: app.id, values })
  const { isBlocked, isAllowed } = judgeLists(matches)
  if (isBlocked && rules.listed === undefined)
    throw new Problem('BLOCKED', { requestId, detail: blockListed.detail })
  return isAllowed
}

const blockListed: Fault = {
  rule: 'listed',
  detail: 'A block list names this recipient, or the network of its end user (GET /admin/lists).',
}

/**
 * Asks carriers about the number, where the policy wants it, and holds what they say against the kinds that are sent to.
 * @returns what the fraud rules are to weigh, beside what they count
 * @throws {Problem} BLOCKED for a kind that is not sent to.
 */
export async function checkLine(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { checked, met, money, foreseen, ...recipient }: Recipient & Asking & { checked: CheckedNumber },
): Promise<Finding[]> {
  const { kind, value: number, country } = recipient
  if (kind !== 'phone') return checked.signals
  const settings = protectionOf(deps.routing.policy, { app: call.key.app.id, country })
  const { lookup, signals } = await askCarriers(deps, call, settings, {
    ...{ number, country, met, money, foreseen },
  })
  const faults = lookup && !checked.isExempt ? faultsOfLine(lookup, settings) : []
  const observed = await refuseUnlessObserved(deps, call, settings, { recipient, faults })
  return [...checked.signals, ...observed, ...signals]
}

/** What the carrier's word adds to the numbering plan's: it knows of numbers that moved. */
function faultsOfLine(
  { valid, lineType }: { valid: boolean; lineType: LineType },
  { lineTypes }: ProtectionSettings,
): NumberFault[] {
  if (!valid) return [{ rule: 'number_type', detail: 'Carriers know of no such number.' }]
  return lineType === 'unknown' || lineTypes.includes(lineType) ? [] : [faultOfType(lineType)]
}

/** @returns what is only written down. @throws {Problem} BLOCKED for anything else that is not off */
async function refuseUnlessObserved(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  settings: ProtectionSettings,
  { recipient, faults }: { recipient: Recipient; faults: readonly Fault[] },
): Promise<Finding[]> {
  const fault = faults.find(({ rule }) => settings.rules[rule] === undefined)
  if (!fault) {
    const observed = faults.filter(({ rule }) => settings.rules[rule] === 'observe')
    return observed.map(({ rule }) => findingOf(rule))
  }
  const { app, environment, publishable } = call.key
  const { requestId, country } = recipient
  await noteTurnedAway(deps.db, {
    requestId,
    appId: app.id,
    environment,
    country,
    verdict: 'blocked',
    mode: modeFor(settings, environment),
    rule: fault.rule,
  })
  throw new Problem('BLOCKED', publishable ? {} : { detail: fault.detail })
}

/** A SIM card that was changed of late asks for a challenge where the risk is high; else it is only written down. */
export const rulesFor = (
  { rules }: Pick<ProtectionSettings, 'rules'>,
  risk: Risk | undefined,
): ProtectionSettings['rules'] => (risk === 'high' ? rules : { sim_swap: 'observe', ...rules })
