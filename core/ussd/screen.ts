import { segmentsOf } from '../messages/segments'
import { type MessageParts, messageText, ussdTexts } from '../messages/text'

/** What a screen holds in GSM-7 (providers.md section 9, [3P]). */
export const screenLength = 182

/** Of a name the characters that every network's screens show: accents go, what has no Latin letter goes. */
function plain(text: string): string {
  const bare = text.normalize('NFKD').replace(/[^\x20-\x7e]/g, '')
  return bare.replace(/\s+/g, ' ').trim() || '?'
}

const fits = (text: string): boolean => {
  const { encoding, units } = segmentsOf(text)
  return encoding === 'GSM-7' && units <= screenLength
}

/** The screen with a code. Of an app's text that no screen holds, or that would be cut, ours stands in its place. */
export function codeScreen({
  template,
  brand,
  ...parts
}: Omit<MessageParts, 'channel' | 'message'>): string {
  const all = { ...parts, brand: plain(brand), channel: 'ussd' as const, message: undefined }
  const { text } = messageText({ ...all, template })
  return fits(text) ? text : messageText({ ...all, template: undefined }).text
}

/** The screen of a number for which several brands have a code: the user answers with a digit. */
export const choiceScreen = (locale: string, brands: readonly string[]): string =>
  [ussdTexts(locale).choose, ...brands.map((brand, at) => `${at + 1} ${plain(brand)}`)].join('\n')

/** No code waits for the number. */
export const nothingScreen = (locale: string): string => ussdTexts(locale).nothing

/** The number dialled too often. */
export const laterScreen = (locale: string): string => ussdTexts(locale).later
