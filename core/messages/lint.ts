import type { Channel } from '../channel'
import { type Autofill, longestForAndroid } from './autofill'
import { languages } from './languages'
import { ownLanguage } from './locale'
import { segmentsOf } from './segments'
import { messageText, type OwnTemplate, type Template } from './text'
import { type Placeholder, placeholders, withoutPlaceholders } from './template'

/** What a template's author is told. Rules are words for machines, the rest is for people. */
export interface Finding {
  field: keyof Template
  rule: string
  message: string
}

const parts = ['text', 'subject', 'html', 'keyPrompt'] as const

/** Other names that people give to what we call so. */
const aliases: Record<string, Placeholder> = {
  otp: 'code',
  pin: 'code',
  token: 'code',
  passcode: 'code',
  expiry: 'minutes',
  ttl: 'minutes',
  app: 'brand',
  appname: 'brand',
  company: 'brand',
}

/** Cyrillic and Greek letters that look like those of our placeholders. */
const latinOf: Record<string, string> = {
  ...{ а: 'a', с: 'c', е: 'e', ѕ: 's', і: 'i', о: 'o', ԁ: 'd', т: 't', м: 'm', һ: 'h', ո: 'n' },
  ...{ α: 'a', ε: 'e', ι: 'i', ο: 'o', ν: 'n', τ: 't', μ: 'm' },
}

/** Why a template cannot be used; none when it can. */
export function faultsOf(template: Template): Finding[] {
  return parts.flatMap((field) => {
    const text = template[field]
    if (text === null || text === undefined) return []
    const faults = placeholderFaults(text).map((fault) => ({ field, ...fault }))
    const hasCode = text.includes('{{code}}')
    if ((field === 'text' || field === 'html') && !hasCode)
      faults.push({ field, rule: 'code_missing', message: 'must hold {{code}}' })
    if (field === 'keyPrompt' && hasCode)
      faults.push({
        ...{ field, rule: 'code_in_key_prompt' },
        message: 'must not hold {{code}}: a voicemail hears it',
      })
    return faults
  })
}

type Fault = Omit<Finding, 'field'>

function placeholderFaults(text: string): Fault[] {
  const rest = withoutPlaceholders(text)
  const names = [...rest.matchAll(/\{\{([^{}]*)\}\}/g)].map(([, name = '']) => name)
  if (names.length > 0)
    return names.map((name) => {
      const meant = meantBy(name)
      return meant === undefined
        ? {
            rule: 'placeholder_unknown',
            message: `has a placeholder that is none of ${placeholders.map(inBraces).join(', ')}`,
          }
        : {
            rule: 'placeholder_lookalike',
            message: `has what looks like ${inBraces(meant)} and is not: write it exactly so`,
          }
    })
  return /\{\{|\}\}/.test(rest)
    ? [{ rule: 'braces_unpaired', message: 'has braces in pairs that hold no placeholder' }]
    : []
}

const inBraces = (name: string): string => `{{${name}}}`

/** The placeholder that somebody meant; undefined when none is near. */
function meantBy(name: string): Placeholder | undefined {
  const plain = [...name.normalize('NFKC').toLowerCase()]
    .map((letter) => latinOf[letter] ?? letter)
    .join('')
    .replace(/[^a-z]/g, '')
  return aliases[plain] ?? placeholders.find((known) => isNear(plain, known))
}

/** Equal but for one letter: another, one too many, or one missing. */
function isNear(one: string, other: string): boolean {
  if (Math.abs(one.length - other.length) > 1) return false
  let at = 0
  while (at < one.length && at < other.length && one[at] === other[at]) at += 1
  const [restOne, restOther] = [one.slice(at), other.slice(at)]
  return [
    [restOne.slice(1), restOther.slice(1)],
    [restOne.slice(1), restOther],
    [restOne, restOther.slice(1)],
  ].some(([left, right]) => left === right)
}

/** What a template is tried out with. */
export interface Sample {
  channel: Channel
  brand: string
  code: string
  lifetimeSeconds: number
  autofill: Autofill
}

/** How far into an sms its code may begin: what phones show of it on their lock screen. */
const earlyCharacters = 50
/** Of a screen (providers.md section 9, [3P]). */
const longestScreen = 182
const link =
  /https?:|www\.|\b[a-z0-9-]+\.(?:com|net|org|io|co|app|me|ly|info|biz|africa|gh|ng|ke|za|dev|link)\b/i
const otherBraces = /(?:\$?\{|\[\[?|%|<)\s*(?:code|otp|pin|token|minutes|brand)\s*(?:\}|\]\]?|%|>)/i

/** What is likely to be a mistake, or to cost more than need be. The template is one without faults. */
export function warningsOf(template: OwnTemplate, sample: Sample): Finding[] {
  const { channel } = sample
  const warnings: (Fault | false | undefined)[] = [
    otherBraces.test(withoutPlaceholders(template.text)) && {
      rule: 'placeholder_lookalike',
      message: 'has something in other braces, which is sent as it stands',
    },
    link.test(withoutPlaceholders(template.text)) && {
      rule: 'link',
      message: 'has a link or a host name: carriers filter codes with links, and thieves send them',
    },
    ...brandWarning(template, sample),
    ...secrecyWarning(template),
    ...(channel === 'sms' ? smsWarnings(template, sample) : []),
    ...(channel === 'ussd' ? screenWarnings(template, sample) : []),
    channel === 'whatsapp' && {
      rule: 'fallback_only',
      message: 'is used only where the account sends text: approved templates have their own words',
    },
  ]
  const found = warnings
    .filter((warning) => warning !== undefined && warning !== false)
    .map((warning): Finding => ({ field: 'text', ...warning }))
  return template.subject?.includes('{{code}}')
    ? [
        ...found,
        { field: 'subject', rule: 'code_in_subject', message: 'mail servers log subjects' },
      ]
    : found
}

const brandWarning = ({ text }: Template, { brand }: Sample): Fault[] =>
  text.includes('{{brand}}') || text.toLowerCase().includes(brand.toLowerCase())
    ? []
    : [{ rule: 'brand_missing', message: 'does not say who sends the code' }]

/** Only in languages whose words we know. */
function secrecyWarning({ text, locale }: OwnTemplate): Fault[] {
  const language = ownLanguage(locale)
  if (language === undefined) return []
  const small = text.toLowerCase()
  return languages[language].warnings.some((word) => small.includes(word))
    ? []
    : [{ rule: 'secrecy_missing', message: 'does not tell people to keep the code to themselves' }]
}

function smsWarnings(template: OwnTemplate, sample: Sample): Fault[] {
  const text = tried(template, sample)
  const { encoding, parts: count, foreign } = segmentsOf(text)
  const warnings: Fault[] = []
  if (encoding === 'UCS-2')
    warnings.push({
      rule: 'ucs2',
      message: `has characters that GSM-7 lacks (${foreign.slice(0, 5).join(' ')}): 70 fit into a part, and not 160`,
    })
  if (count > 1)
    warnings.push({ rule: 'parts', message: `goes out in ${count} parts, each of which is billed` })
  if (text.indexOf(sample.code) >= earlyCharacters)
    warnings.push({ rule: 'code_late', message: 'has its code where lock screens cut it off' })
  if (sample.autofill.appHash !== null && bytesOf(text) > longestForAndroid)
    warnings.push({
      rule: 'long_for_android',
      message: `is longer than the ${longestForAndroid} bytes that Android hands to an app`,
    })
  return warnings
}

function screenWarnings(template: OwnTemplate, sample: Sample): Fault[] {
  const text = tried(template, sample)
  const warnings: Fault[] = []
  if (/[^\n\x20-\x7e]/.test(text))
    warnings.push({ rule: 'not_ascii', message: 'has characters that many networks do not show' })
  if (text.length > longestScreen)
    warnings.push({
      rule: 'long_screen',
      message: `is longer than the ${longestScreen} characters of a screen`,
    })
  return warnings
}

/** The text as it would go out. */
const tried = (template: OwnTemplate, sample: Sample): string =>
  messageText({ ...sample, message: undefined, template, locale: template.locale }).text

/** In UTF-8. */
const bytesOf = (text: string): number =>
  [...text].reduce((sum, character) => {
    const point = character.codePointAt(0) ?? 0
    return sum + (point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4)
  }, 0)
