import { withoutSeparators } from '../core/input/typed-number'
import { spellingsOf } from '../core/recipients/subscriber'
import { readPhoneNumber } from './phone-number'
import { Problem } from './problem'

/** Schemes that providers put before a number, such as `whatsapp:`. */
const scheme = /^[a-z][a-z+.-]{1,20}:/i

/**
 * Reads a number as a network or a provider reports it: with or without `+`, with `00`, with a blank where a form's `+`
 * was not encoded, with a scheme before it, and by another plan than ours.
 * @returns all spellings of its subscriber: the reported one first, then that of today's plan; undefined for what is no
 * international number
 */
export function readNetworkNumber(reported: string): [string, ...string[]] | undefined {
  const compact = withoutSeparators(
    reported
      .trim()
      .replace(scheme, '')
      .replace(/[@;].*$/s, ''),
  )
  const [, digits] = /^(?:\+|00)?([1-9]\d{6,14})$/.exec(compact) ?? []
  if (digits === undefined) return undefined
  const written = `+${digits}`
  const read = validForm(written)
  return [
    ...new Set([read ?? written, ...spellingsOf(read ?? written), ...spellingsOf(written)]),
  ] as [string, ...string[]]
}

/** Whether the numbering plan of its country knows such a number. */
export const isOfAPlan = (number: string): boolean => validForm(number) !== undefined

/** As the numbering plan has it: without a national 0 behind the country code, for one. */
function validForm(written: string): string | undefined {
  try {
    return readPhoneNumber(written, null).number
  } catch (error) {
    if (error instanceof Problem) return undefined
    throw error
  }
}
