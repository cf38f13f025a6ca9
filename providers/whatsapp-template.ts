import { list } from './adapter'

/** The languages that a template was approved in, as WhatsApp writes them; the first serves every other locale. */
export const templateLanguages = list.transform((given) => (given.length > 0 ? given : ['en']))

const plain = (language: string) => language.replaceAll('_', '-').toLowerCase()

/** The template's language for a BCP 47 locale: the same one, else the first of the same language, else the first. */
export function templateLanguage(locale: string, languages: readonly string[]): string {
  const wanted = plain(locale)
  const [tongue = wanted] = wanted.split('-')
  return (
    languages.find((language) => plain(language) === wanted) ??
    languages.find((language) => plain(language).split('-')[0] === tongue) ??
    languages[0] ??
    'en'
  )
}

/**
 * What fills an authentication template with a copy-code button (providers.md section 3 [D]): WhatsApp keeps that
 * button as one of type URL, so the code is given as its parameter too.
 */
export const codeComponents = (code: string) => [
  { type: 'body', parameters: [{ type: 'text', text: code }] },
  { type: 'button', sub_type: 'url', index: '0', parameters: [{ type: 'text', text: code }] },
]
