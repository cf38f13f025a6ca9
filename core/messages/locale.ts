import { foldTyped } from '../input/fold'
import { fallback, languages, type LanguageTag } from './languages'

/** Longer texts are no language tags, with all the extensions that there are. */
export const longestLocale = 255

/** The tags of RFC 5646 (section 2.2.8, "irregular") that have a language's code by now. */
const irregular: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'i-ami': 'ami',
    'i-bnn': 'bnn',
    'i-hak': 'hak',
    'i-klingon': 'tlh',
    'i-lux': 'lb',
    'i-navajo': 'nv',
    'i-pwn': 'pwn',
    'i-tao': 'tao',
    'i-tay': 'tay',
    'i-tsu': 'tsu',
  }),
)
/** Codes that say that there is no one language. */
const noLanguage: readonly string[] = ['und', 'mul', 'mis', 'zxx']

/** What begins with the code of a language, as {@link readLocale} reads it; of the codes it knows, some say no language. */
export const localeShape = new RegExp(
  `^(?:${['[A-Za-z]{2,3}', ...irregular.keys()].join('|')})(?:[-_.@,;:#\\s][\\s\\S]*)?$`,
)
/** Parts beside the language that are kept: script, region and a variant. */
const mostParts = 3

/**
 * Reads what devices and servers call a reader's language: BCP 47 tags, their extensions and private parts dropped
 * (`en-US-u-hc-h12`), Java's locales (`zh_CN_#Hans`), and those of POSIX and Apple (`fr_FR.UTF-8`, `en_US@rg=gbzzzz`).
 * @returns the tag as BCP 47 likes it written, `fr-CI` or `zh-Hant-TW`; undefined where no language is in it
 */
export function readLocale(text: string): string | undefined {
  const [bare = ''] = foldTyped(text)
    .replace(/\p{Pd}/gu, '-')
    .trim()
    .split(/[.@,;:\s]/)
  const old = irregular.get(bare.toLowerCase())
  if (old !== undefined) return old
  const isJava = bare.includes('_')
  // Java writes the script last, behind a number sign.
  const [main = '', behind = ''] = bare.split(/_*#/)
  const [script] = /^[A-Za-z]{4}(?![A-Za-z0-9])/.exec(behind) ?? []
  const [language = '', ...others] = main.split(/[-_]/)
  const code = language.toLowerCase()
  if (!/^[a-z]{2,3}$/.test(code) || noLanguage.includes(code)) return undefined
  const end = others.findIndex((part) => part.length === 1)
  const parts = (end === -1 ? others : others.slice(0, end)).filter(isJava ? isPlace : isPart)
  return [shortCode(code), ...(script ? [script] : []), ...parts]
    .slice(0, mostParts + 1)
    .map(spelled)
    .join('-')
}

/**
 * BCP 47 writes a language's code of two letters where it has one: `fr` for `fra` and `fre`, `sw` for `swh`. Java keeps some
 * that were given up in 1989: `in` for `id`, `iw` for `he`.
 */
function shortCode(code: string): string {
  const [short] = Intl.getCanonicalLocales(code)
  return short?.length === 2 ? short : code
}

const isPart = (part: string): boolean => /^[A-Za-z0-9]{2,8}$/.test(part)

/** A script or a region: what else Java has in a locale (`POSIX`, `WIN`, `TH` twice) is no part of a tag. */
const isPlace = (part: string, at: number, all: string[]): boolean =>
  /^([A-Za-z]{2}|[A-Za-z]{4}|[0-9]{3})$/.test(part) && all.indexOf(part) === at

function spelled(part: string, at: number): string {
  const small = part.toLowerCase()
  if (at === 0) return small
  if (/^[a-z]{2}$/.test(small)) return small.toUpperCase()
  return /^[a-z]{4}$/.test(small) ? small.charAt(0).toUpperCase() + small.slice(1) : small
}

/** The language of a tag, without region: `fr` of `fr-CI`. */
export const languageIn = (locale: string): string => (locale.split('-')[0] ?? '').toLowerCase()

const isOurs = (tag: string): tag is LanguageTag => Object.hasOwn(languages, tag)

/** The language of ours that a locale is in; undefined when we have no texts in it. */
export function ownLanguage(locale: string): LanguageTag | undefined {
  const tag = languageIn(locale)
  return isOurs(tag) ? tag : undefined
}

/** As {@link ownLanguage}, English for all others. */
export const spokenLanguage = (locale: string): LanguageTag => ownLanguage(locale) ?? fallback

/**
 * Where a language of ours is what most people read official messages in; English everywhere else. Ours to decide:
 * where several are official, the one that mobile operators write in (Kenya and Uganda: English).
 */
const countriesOf: Record<Exclude<LanguageTag, 'en'>, string> = {
  fr: 'BF BI BJ BL CD CF CG CI CM DJ FR GA GF GN GP HT KM LU MC MF MG ML MQ NC NE PF PM RE SN TD TG WF YT',
  pt: 'AO BR CV GW MZ PT ST TL',
  es: 'AR BO CL CO CR CU DO EC ES GQ GT HN MX NI PA PE PR PY SV UY VE',
  sw: 'TZ',
  ar: 'AE BH DZ EG IQ JO KW LB LY MA MR OM PS QA SA SD SY TN YE',
}

const languageOfCountry: ReadonlyMap<string, string> = new Map(
  Object.entries(countriesOf).flatMap(([language, countries]) =>
    countries.split(' ').map((country) => [country, language] as const),
  ),
)

/**
 * The locale that a message gets when nobody gives one.
 * @param country two letters, of the number; null when it is not known
 */
export const localeOfCountry = (country: string | null): string =>
  country === null ? fallback : `${languageOfCountry.get(country) ?? fallback}-${country}`
