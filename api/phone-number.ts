import {
  type CountryCode,
  getCountryCallingCode,
  isSupportedCountry,
  type NumberType,
  parsePhoneNumberFromString,
  validatePhoneNumberLength,
} from 'libphonenumber-js/max'
import { faultsOfNumber, type PlannedNumber } from '../core/protection/number'
import { type LineType, usualProtection } from '../core/protection/protection'
import { argentineMobile, currentForm, isOldIvorian } from '../core/input/changed-plans'
import { withoutSeparators } from '../core/input/typed-number'
import { Problem } from './problem'

/** A number as its numbering plan has it. */
export type PhoneNumber = PlannedNumber

/** For whom a number is read: see `number-reading.ts`. */
export interface Reading {
  /** Whose national numbers and prefixes are read; null: international numbers alone. */
  country: string | null
  /** Whether such a number is sent to: decides between two readings of one text. */
  isSentTo: (number: PhoneNumber) => boolean
}

/** For numbers that are of no app: international ones. */
const ofNoApp: Reading = {
  country: null,
  isSentTo: (number) =>
    faultsOfNumber(number, usualProtection, { groups: {}, everywhere: true }).length === 0,
}

interface Candidate extends PhoneNumber {
  /** Of the default country's plan, and not by its prefix for calls abroad. */
  isNational: boolean
  /** Whether people put a digit, mostly a 0, before its national form. */
  isWrittenWithPrefix: boolean
  /** It was read as a number of an earlier plan. */
  isRenewed: boolean
}

/**
 * Reads a number as people write it. With `+` or `00`, or with nothing before the country code, it is
 * international; with a default country it may also be one of that country's plan: a national number, or one with that
 * country's own prefix for calls abroad (`0011` in Australia, `000` in Kenya). Numbers of plans that changed are read as
 * what they are today.
 * @throws {Problem} INVALID_NUMBER unless it is one valid number: of two readings that are both sent to, none is taken.
 */
export function readPhoneNumber(text: string, by: Reading | null): PhoneNumber {
  const { country, isSentTo } = by ?? ofNoApp
  const [, plus, digits = ''] = /^(\+?)(\d{4,22})$/.exec(withoutSeparators(text)) ?? []
  if (!digits) throw new Problem('INVALID_NUMBER')
  const international = `+${!plus && digits.startsWith('00') ? digits.slice(2) : digits}`
  const readings = [
    candidate(international, isSentTo),
    plus || country === null ? undefined : candidate(digits, isSentTo, country),
  ].filter((reading) => reading !== undefined)
  const one = chosen(readings, isSentTo)
  if (!one) throw new Problem('INVALID_NUMBER', { detail: hintFor(international, digits, by) })
  return { number: one.number, country: one.country, lineType: one.lineType }
}

/** @throws {Problem} where two readings are equally good */
function chosen(
  readings: readonly Candidate[],
  isSentTo: Reading['isSentTo'],
): Candidate | undefined {
  const plain = readings.filter(({ isRenewed }) => !isRenewed)
  const [one, other] = plain.length > 0 ? plain : readings
  if (!one || !other || one.number === other.number) return one
  // A reading that no message could go to is not what its writer meant.
  if (isSentTo(one) !== isSentTo(other)) return isSentTo(one) ? one : other
  // Where people write a digit before national numbers, those without it are international.
  if (other.isNational && other.isWrittenWithPrefix) return one
  throw new Problem('INVALID_NUMBER', {
    detail: 'This number is valid with and without a country code: write it with a leading +.',
  })
}

function candidate(
  text: string,
  isSentTo: Reading['isSentTo'],
  country?: string,
): Candidate | undefined {
  const written = parsed(text, country)
  if (!written) return undefined
  const renewed = written.isValid() ? undefined : currentForm(written.number)
  const number = renewed === undefined ? written : parsed(renewed)
  if (!number?.isValid()) return undefined
  const found = planned(number)
  return {
    ...(isSentTo(found) ? found : (mobileOf(found) ?? found)),
    isNational:
      isSupported(country) && number.countryCallingCode === getCountryCallingCode(country),
    isWrittenWithPrefix: number.formatNational().replace(/\D/g, '') !== number.nationalNumber,
    isRenewed: renewed !== undefined,
  }
}

type Parsed = NonNullable<ReturnType<typeof parsePhoneNumberFromString>>

const isSupported = (country: string | undefined): country is CountryCode =>
  country !== undefined && isSupportedCountry(country)

const parsed = (text: string, country?: string): Parsed | undefined =>
  text.startsWith('+') || isSupported(country)
    ? parsePhoneNumberFromString(text, {
        ...(isSupported(country) && { defaultCountry: country }),
        extract: false,
      })
    : undefined

const planned = (number: Parsed): PhoneNumber => ({
  number: number.number,
  country: number.country ?? null,
  lineType: lineTypeOf(number.getType()),
})

/** Of a landline that is not sent to: the mobile that people write in the same way. */
function mobileOf({ number }: PhoneNumber): PhoneNumber | undefined {
  const mobile = argentineMobile(number)
  const read = mobile === undefined ? undefined : parsed(mobile)
  return read?.isValid() ? planned(read) : undefined
}

/** In small letters the plans' kinds are called as ours. */
const lineTypeOf = (type: NumberType): LineType =>
  type === undefined ? 'unknown' : (type.toLowerCase() as Lowercase<typeof type>)

const lengthHints: Partial<Record<string, string>> = {
  INVALID_COUNTRY: 'This number begins with no country code that there is.',
  TOO_SHORT: 'This number has too few digits for its country.',
  TOO_LONG: 'This number has too many digits for its country.',
}

/** What is wrong with a number that no plan knows; nothing of the number itself. */
function hintFor(international: string, digits: string, by: Reading | null): string | undefined {
  if (digits.startsWith('0') && !digits.startsWith('00') && !by?.country)
    return 'This looks like a national number: write it with its country code, as in +233241234567.'
  const own = digits.startsWith('00') ? undefined : parsed(digits, by?.country ?? undefined)
  const number = own?.number ?? international
  if (isOldIvorian(number))
    return 'Numbers of Côte d’Ivoire have ten digits since 2021: write 01, 05 or 07, by the network, before the eight of a mobile.'
  return lengthHints[validatePhoneNumberLength(number) ?? '']
}
