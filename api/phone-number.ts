import {
  type CountryCode,
  isSupportedCountry,
  parsePhoneNumberFromString,
  type NumberType,
} from 'libphonenumber-js/max'
import type { LineType } from '../core/abuse/protection'
import { withoutSeparators } from '../core/input/typed-number'
import { Problem } from './problem'

export interface PhoneNumber {
  /** E.164 with `+`. */
  number: string
  /** Two letters, ISO 3166; null where it is of no country, as those of satellites are. */
  country: string | null
  /** By the numbering plan of its country. */
  lineType: LineType
}

interface ValidNumber extends PhoneNumber {
  /** Whether people put a digit, mostly a 0, before its national form. */
  isWrittenWithPrefix: boolean
}

/** Digits and prefix, of what is looked at further. */
const longestInput = 40

/**
 * Reads a number as people write it. With `+` or `00`, or with nothing before the country code, it is
 * international; the national form is read only with a default country.
 * @throws {Problem} INVALID_NUMBER unless the number is valid in its country.
 */
export function readPhoneNumber(text: string, defaultCountry: string | null): PhoneNumber {
  const compact = withoutSeparators(text)
  if (compact.length > longestInput) throw new Problem('INVALID_NUMBER')
  const [, prefix = '', digits = ''] = /^(\+|00)?(\d{4,15})$/.exec(compact) ?? []
  if (!digits) throw new Problem('INVALID_NUMBER')
  const international = valid(`+${digits}`)
  if (prefix && !international) throw new Problem('INVALID_NUMBER')
  const national = prefix ? undefined : valid(digits, defaultCountry)
  const one = international ?? national
  if (!one) throw new Problem('INVALID_NUMBER', { detail: hintFor(digits, defaultCountry) })
  // Where people write a digit before national numbers, those without it are international.
  const isDoubtful = national && national.number !== one.number && !national.isWrittenWithPrefix
  if (isDoubtful) {
    throw new Problem('INVALID_NUMBER', {
      detail: 'This number is valid with and without a country code: write it with a leading +.',
    })
  }
  return { number: one.number, country: one.country, lineType: one.lineType }
}

function valid(text: string, country?: string | null): ValidNumber | undefined {
  const isNational = !text.startsWith('+')
  if (isNational && !(country && isSupportedCountry(country))) return undefined
  const parsed = parsePhoneNumberFromString(text, {
    ...(isNational && { defaultCountry: country as CountryCode }),
    extract: false,
  })
  if (!parsed?.isValid()) return undefined
  const isWrittenWithPrefix = parsed.formatNational().replace(/\D/g, '') !== parsed.nationalNumber
  const lineType = lineTypeOf(parsed.getType())
  return { number: parsed.number, country: parsed.country ?? null, lineType, isWrittenWithPrefix }
}

/** In small letters the plans' kinds are called as ours. */
const lineTypeOf = (type: NumberType): LineType =>
  type === undefined ? 'unknown' : (type.toLowerCase() as Lowercase<typeof type>)

const hintFor = (digits: string, defaultCountry: string | null): string | undefined =>
  digits.startsWith('0') && !defaultCountry
    ? 'This looks like a national number: write it with its country code, as in +233241234567.'
    : undefined
