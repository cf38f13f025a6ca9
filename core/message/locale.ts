import { fallback, languages, type LanguageTag } from './languages'

/** Language, then script, region or variants: what BCP 47 tags of people's languages look like. */
export const localeShape = /^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$/

/** A tag as BCP 47 likes it written: `fr-CI`, `zh-Hant-TW`. */
export const canonicalLocale = (tag: string): string =>
  tag
    .split('-')
    .map((part, at) => {
      const small = part.toLowerCase()
      if (at === 0) return small
      if (/^[a-z]{2}$/.test(small)) return small.toUpperCase()
      return /^[a-z]{4}$/.test(small) ? small.charAt(0).toUpperCase() + small.slice(1) : small
    })
    .join('-')

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
