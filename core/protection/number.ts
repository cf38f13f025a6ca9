import {
  type LineType,
  namesCountry,
  type ProtectionPolicy,
  type ProtectionSettings,
  type RateLimit,
} from './protection'
import type { Plan } from '../requests/plan'
import type { Finding, RuleName } from './rules'

/** A number as its numbering plan has it. */
export interface PlannedNumber {
  /** E.164 with `+`. */
  number: string
  /** Two letters; null where it is of no country. */
  country: string | null
  lineType: LineType
}

/** Why a number is not sent to, with what an operator would have to change. */
export interface NumberFault {
  rule: Extract<RuleName, 'number_type' | 'country' | 'satellite'>
  detail: string
}

/**
 * Calling codes of no country, as ITU-T E.164 assigns them: freephone, shared cost, satellites, personal numbers,
 * international networks, disaster relief, premium rate. Calls and messages to most of them cost dollars.
 */
const worldwideCodes = ['800', '808', '870', '878', '881', '882', '883', '888', '979']

/** Whether a number belongs to a network that spans the world. */
const isWorldwide = (number: string): boolean =>
  worldwideCodes.some((code) => number.startsWith(`+${code}`))

/**
 * What speaks against sending to a number, the gravest first.
 * @param everywhere whether every country is sent to where the settings name none
 */
export function faultsOfNumber(
  { number, country, lineType }: PlannedNumber,
  settings: Pick<ProtectionSettings, 'countries' | 'lineTypes'>,
  { groups, everywhere }: { groups: ProtectionPolicy['countryGroups']; everywhere: boolean },
): NumberFault[] {
  const { countries, lineTypes } = settings
  const faults: NumberFault[] = []
  if (isWorldwide(number) && !lineTypes.includes('satellite')) {
    const detail = `Numbers of satellite and other worldwide networks are not sent to. ${add('satellite', 'lineTypes')}`
    faults.push({ rule: 'satellite', detail })
  }
  const isNamed = countries ? namesCountry(countries, country, groups) : everywhere
  if (!isNamed) faults.push({ rule: 'country', detail: countryDetail(country, countries) })
  if (!lineTypes.includes(lineType)) faults.push(faultOfType(lineType))
  return faults
}

export const faultOfType = (lineType: LineType): NumberFault => ({
  rule: 'number_type',
  detail: `Numbers of the kind ${lineType} are not sent to. ${add(lineType, 'lineTypes')}`,
})

const add = (what: string, setting: string) =>
  `To allow them, add "${what}" to "${setting}" in the section "protection" of the policy file.`

function countryDetail(country: string | null, countries: readonly string[] | undefined): string {
  if (country === null)
    return 'Numbers of no country are sent to only where the section "protection" of the policy file names no countries, and not in production.'
  if (countries) return `Numbers of ${country} are not sent to. ${add(country, 'countries')}`
  return `No country is allowed yet. Set "countries": ["${country}"] in the section "protection" of the policy file.`
}

/** What was found out about a number itself, for the decision's row. */
export const findingOf = (rule: RuleName, asks: Finding['asks'] = 'block'): Finding => ({
  rule,
  scope: 'send',
  name: '',
  asks,
  count: 1,
  limit: 1,
})

/** What the account is called that serves test numbers; no account of the policy file can be. */
export const testNumberProvider = 'test-number'

/** Who may be asked about SIM cards without an account that carries messages; no account of the policy file is named so. */
export const camara = 'camara'

/** Whether a plan's messages go to a test number: no message of it leaves, so it counts for nothing. */
export const reachesNobody = (plan: Plan): boolean =>
  plan.some(({ providers }) => providers.includes(testNumberProvider))

/** Sends to a test number, for whoever runs tests of their own: nothing leaves, so that they cost rows only. */
export const testNumberLimits: readonly RateLimit[] = [{ max: 60, seconds: 60 }]

/** From this score on, of 100, a number's messages are likely to be pumped: a solved challenge is asked for. */
export const riskyScore = 75
