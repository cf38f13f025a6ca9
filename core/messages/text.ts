import type { Channel } from '../channel'
import { type Autofill, withAutofill } from './autofill'
import { fillHtml, pageOf } from './html'
import type { UssdTexts } from './language'
import { fallback, languages } from './languages'
import { en } from './languages/en'
import { languageIn, ownLanguage, spokenLanguage } from './locale'
import { fill, minutesOf, type Placeholder } from './template'

/** The parts of a message, with placeholders. */
export interface Template {
  text: string
  /** E-mail. */
  subject?: string | null | undefined
  /** E-mail; made from the text when absent. */
  html?: string | null | undefined
  /** Voice. */
  keyPrompt?: string | null | undefined
}

/** A template that an app keeps, and what it is written in. */
export interface OwnTemplate extends Template {
  locale: string
}

export interface MessageParts {
  channel: Channel
  /** The caller's text: used as it is on sms, voice and e-mail. */
  message: string | undefined
  /** The app's template that fits the locale best: one in its language, else its English one. */
  template: OwnTemplate | undefined
  /** What the recipient reads. */
  locale: string
  code: string
  brand: string
  /** What is left of the code’s life. */
  lifetimeSeconds: number
  autofill?: Autofill | undefined
}

/** A message as an adapter gets it. Holds the code in clear. */
export interface MessageText {
  text: string
  /** What the text is to be read in: another language than the recipient's where there was no text in that. */
  locale: string
  subject?: string | undefined
  html?: string | undefined
  keyPrompt?: string | undefined
}

/** Who wrote a message's text. */
export type Author = 'caller' | 'app' | 'otpilot'

interface Source extends OwnTemplate {
  author: Author
}

/**
 * Decides what a message is made of. The caller's text comes first, on the channels that it is for. Then comes the
 * reader's language, and only then who wrote it: otpilot's own text in that language goes before an app's English one.
 */
export function sourceOf(
  parts: Pick<MessageParts, 'channel' | 'message' | 'template' | 'locale'>,
): Source {
  const { channel, message, template, locale } = parts
  const inTheirs = template && languageIn(template.locale) === languageIn(locale)
  const isCallers = channel === 'sms' || channel === 'voice' || channel === 'email'
  if (isCallers && message !== undefined && message !== '')
    return {
      subject: inTheirs ? template.subject : undefined,
      keyPrompt: inTheirs ? template.keyPrompt : undefined,
      ...{ author: 'caller', locale, text: message },
    }
  // The region of the reader's locale helps a voice to be one from there.
  if (inTheirs) return { ...template, locale, author: 'app' }
  if (shippedIn(locale, channel)) return { ...shipped(locale, channel), locale, author: 'otpilot' }
  if (template) return { ...template, author: 'app' }
  return { ...shipped(fallback, channel), locale: fallback, author: 'otpilot' }
}

/** The text of a message in all its parts, with the code in it. */
export function messageText(parts: MessageParts): MessageText {
  const { channel, code, autofill } = parts
  const source = sourceOf(parts)
  const { author, locale } = source
  const values = valuesOf(parts, source)
  const text = fill(source.text, values)
  if (channel === 'sms')
    return { text: autofill ? withAutofill(text, code, autofill) : text, locale }
  const own = languages[spokenLanguage(locale)]
  if (channel === 'voice')
    return { text, locale, keyPrompt: fill(source.keyPrompt ?? own.voice.keyPrompt, values) }
  // Approved templates are in languages of their own: those go by what the recipient reads.
  if (channel !== 'email') return { text, locale: parts.locale }
  const plain = plainValues(parts, locale)
  const direction = author === 'caller' ? 'auto' : directionOf(locale)
  return {
    text,
    locale,
    subject: fill(source.subject ?? own.email.subject, plain),
    html: source.html
      ? fillHtml(source.html, plain)
      : pageOf(source.text, plain, { locale, direction }),
  }
}

/** The words of screens for a reader, in ASCII: English where there are none in their language. */
export const ussdTexts = (locale: string): UssdTexts =>
  languages[spokenLanguage(locale)].ussd ?? en.ussd

const shippedIn = (locale: string, channel: Channel): boolean => {
  const language = ownLanguage(locale)
  return language !== undefined && (channel !== 'ussd' || languages[language].ussd !== undefined)
}

/** Our own words; of a language that has none for the channel, English. */
function shipped(locale: string, channel: Channel): Template {
  const { sms, whatsapp, voice, email } = languages[spokenLanguage(locale)]
  const texts: Record<Channel, Template> = {
    sms: { text: sms },
    whatsapp: { text: whatsapp },
    voice,
    email,
    ussd: { text: ussdTexts(locale).text },
  }
  return texts[channel]
}

/** Of a language that we do not speak, what its own letters say. */
const directionOf = (locale: string): 'ltr' | 'rtl' | 'auto' => {
  const language = ownLanguage(locale)
  return language === undefined ? 'auto' : languages[language].direction
}

type Values = Record<Placeholder, string>

function plainValues({ code, brand, lifetimeSeconds }: MessageParts, locale: string): Values {
  const minutes = minutesOf(lifetimeSeconds)
  const lifetime = languages[spokenLanguage(locale)].lifetime(minutes)
  return { code, brand, minutes: String(minutes), lifetime }
}

function valuesOf(parts: MessageParts, { author, locale }: Source): Values {
  const values = plainValues(parts, locale)
  const { code, brand } = values
  if (parts.channel === 'voice') return { ...values, code: aloud(code, locale) }
  if (author === 'caller' || directionOf(locale) !== 'rtl') return values
  if (parts.channel === 'whatsapp' || parts.channel === 'email')
    return { ...values, code: leftToRight(code), brand: asItIs(brand) }
  // Phones that do not know isolates show boxes. Digits hold together by themselves; letters after a digit do not.
  return { ...values, code: /[A-Z]/.test(code) ? `${leftToRightMark}${code}` : code }
}

/**
 * Character by character: digits with a space between, which every voice reads one by one, and letters with a pause
 * after each, since "A 7" would be read as an article and a number.
 */
const aloud = (code: string, locale: string): string =>
  [...code].join(/[A-Z]/.test(code) ? `${languages[spokenLanguage(locale)].comma} ` : ' ')

/** Isolates (Unicode bidirectional algorithm, UAX #9): what is around them does not turn what is in them. */
const leftToRight = (text: string): string => `\u2066${text}\u2069`
const leftToRightMark = '\u200e'
const asItIs = (text: string): string => `\u2068${text}\u2069`
