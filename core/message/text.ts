import type { Channel } from '../channel'

/** One GSM-7 segment with any brand of up to 30 characters. */
const ownText = 'Your {{brand}} code is {{code}}. It is valid for {{minutes}} min. Do not share it.'

export interface TextParts {
  /** The caller's template: used as it is on sms, voice and e-mail. */
  template: string | undefined
  code: string
  brand: string
  /** The lifetime that the caller asked for. */
  lifetimeSeconds: number
}

/** One by one, and letters with a pause after each: "A 7" would be read as an article and a number. */
const aloud = (code: string): string => [...code].join(/[A-Z]/.test(code) ? ', ' : ' ')

/** The text of a message. Voice gets the characters of its code apart; WhatsApp and USSD have texts of their own. */
export function messageText(
  channel: Channel,
  { template, code, brand, lifetimeSeconds }: TextParts,
): string {
  const callers = channel === 'sms' || channel === 'voice' || channel === 'email'
  const values: Record<string, string> = {
    code: channel === 'voice' ? aloud(code) : code,
    brand,
    minutes: String(Math.ceil(lifetimeSeconds / 60)),
  }
  return (callers && template ? template : ownText).replace(
    /\{\{\s*(code|brand|minutes)\s*\}\}/g,
    (placeholder, name: string) => values[name] ?? placeholder,
  )
}
