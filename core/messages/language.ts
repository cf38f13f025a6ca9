/**
 * One language that otpilot speaks. Every text is a template as apps write them (template.ts) and holds its code once.
 * Texts for sms keep to GSM-7 where the language's letters allow it, so that they are one part (security A15); screens
 * for USSD are plain ASCII (providers.md section 9, [3P]).
 */
export interface Language {
  direction: 'ltr' | 'rtl'
  /** So many minutes, 1 or more, written out after the word for "for" or "in". */
  lifetime: (minutes: number) => string
  /** What a voice pauses at. */
  comma: string
  /** Small letters of words that tell people to keep a code to themselves: what a lint looks for. */
  warnings: readonly string[]
  sms: string
  /** Where no approved template of the account stands in for it. */
  whatsapp: string
  voice: { text: string; keyPrompt: string }
  email: { subject: string; text: string }
  /** Undefined for a language that ASCII cannot write: screens are English then. */
  ussd: UssdTexts | undefined
}

/** What a screen shows: the code, or why there is none. */
export interface UssdTexts {
  text: string
  /** No code waits for the number. */
  nothing: string
  /** Above a numbered list of brands. */
  choose: string
  /** Over the limit of views or dials. */
  later: string
}

/** The usual rule: one, and everything else. */
export const counted =
  (one: string, more: string) =>
  (minutes: number): string =>
    `${minutes} ${minutes === 1 ? one : more}`
