import type { Speech } from '../provider'

/** What the API takes as inline TwiML, in characters (providers.md section 1 [S]). */
const maxTwimlLength = 4_000
const secondsForKey = 10
const ownPrompt = 'You asked for a code. To hear it, press any key.'

interface Voice {
  language: string
  voice: string
}

/** Voices of `<Say>` that take speech marks, by language and region: out of the SDK's own list of them [S]. */
const voices: ReadonlyMap<string, Voice> = new Map(
  Object.entries({
    en: { language: 'en-US', voice: 'Polly.Joanna' },
    'en-GB': { language: 'en-GB', voice: 'Polly.Amy' },
    'en-IN': { language: 'en-IN', voice: 'Polly.Raveena' },
    fr: { language: 'fr-FR', voice: 'Polly.Lea' },
    'fr-CA': { language: 'fr-CA', voice: 'Polly.Chantal' },
    pt: { language: 'pt-PT', voice: 'Polly.Ines' },
    'pt-BR': { language: 'pt-BR', voice: 'Polly.Camila' },
    es: { language: 'es-ES', voice: 'Polly.Lucia' },
    'es-MX': { language: 'es-MX', voice: 'Polly.Mia' },
    'es-US': { language: 'es-US', voice: 'Polly.Lupe' },
    ar: { language: 'arb', voice: 'Polly.Zeina' },
  }),
)
const english: Voice = { language: 'en-US', voice: 'Polly.Joanna' }

/** A language without a voice of its own (Swahili, for one) is read by the English one: its digits are understood. */
const voiceFor = (locale: string): Voice =>
  voices.get(locale) ?? voices.get(locale.split('-')[0] ?? '') ?? english

/** What a new call says: that it waits for a key, twice, and nothing else before there is one. */
export function callScript(
  { keyPrompt = ownPrompt, locale }: Pick<Speech, 'keyPrompt' | 'locale'>,
  answerUrl: string,
): string {
  const asking = (prompt: string, language: string) =>
    response(
      `<Gather numDigits="1" timeout="${secondsForKey}" method="POST" action="${escaped(answerUrl)}">` +
        `${say(prompt, language)}<Pause length="2"/>${say(prompt, language)}</Gather><Hangup/>`,
    )
  const script = asking(keyPrompt, locale)
  return script.length <= maxTwimlLength ? script : asking(ownPrompt, 'en')
}

/** The text with its code, slowly and twice; without one, the call ends. */
export const codeScript = (speech: Pick<Speech, 'text' | 'locale'> | undefined): string => {
  if (!speech) return response('<Hangup/>')
  const said = say(apart(speech.text), speech.locale, 'slow')
  return response(`${said}<Pause length="1"/>${said}<Hangup/>`)
}

/** A document of TwiML; without verbs, nothing is to be done. */
export const response = (verbs: string) =>
  `<?xml version="1.0" encoding="UTF-8"?><Response>${verbs}</Response>`

function say(text: string, locale: string, rate?: 'slow'): string {
  const { language, voice } = voiceFor(locale)
  const words = rate ? `<prosody rate="${rate}">${escaped(text)}</prosody>` : escaped(text)
  return `<Say voice="${voice}" language="${language}">${words}</Say>`
}

/** A comma between digits that stand alone is a pause after each. */
const apart = (text: string) =>
  text.replace(/(?<=(?<![\p{L}\p{N}])\p{Nd}) (?=\p{Nd}(?![\p{L}\p{N}]))/gu, ', ')

/** Without what XML cannot hold at all. */
const escaped = (text: string) =>
  text
    .replace(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
