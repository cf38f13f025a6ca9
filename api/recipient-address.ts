import type { LineType } from '../core/protection/protection'
import type { RecipientKind } from '../core/channel'
import { foldTyped } from '../core/input/fold'
import { readEmail } from './email-address'
import { type Reading, readPhoneNumber } from './phone-number'
import { Problem } from './problem'

/** Whom a call is about, normalised. */
export interface RecipientAddress {
  kind: RecipientKind
  /** E.164 with `+`, or an e-mail address in lower case with its domain in ASCII. */
  value: string
  /** Two letters, of a phone number that has a country. */
  country: string | null
  /** Of a phone number. */
  lineType?: LineType
}

/** One text that is either: whether it is an e-mail address shows in its @. */
export const eitherAddress = (text: string): { email: string } | { phone_number: string } =>
  foldTyped(text).includes('@') ? { email: text } : { phone_number: text }

/** @throws {Problem} INVALID_NUMBER or INVALID_EMAIL, or INVALID_REQUEST unless exactly one is given. */
export function readAddress(
  { phone_number, email }: { phone_number?: string | undefined; email?: string | undefined },
  by: Reading | null,
): RecipientAddress {
  if (phone_number !== undefined && email === undefined) {
    const { number, country, lineType } = readPhoneNumber(phone_number, by)
    return { kind: 'phone', value: number, country, lineType }
  }
  if (email !== undefined && phone_number === undefined) {
    return { kind: 'email', value: readEmail(email), country: null }
  }
  throw new Problem('INVALID_REQUEST', { detail: 'Give exactly one of phone_number and email.' })
}
