import { fill, type Placeholder } from './template'

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text as HTML shows it, in content and in quoted attributes. */
const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => entities[character] ?? character)

type Values = Record<Placeholder, string>

const escapedValues = (values: Values): Values => ({
  code: escaped(values.code),
  minutes: escaped(values.minutes),
  lifetime: escaped(values.lifetime),
  brand: escaped(values.brand),
})

/** Fills a page that an app wrote; whatever a value holds stays text. */
export const fillHtml = (template: string, values: Values): string =>
  fill(template, escapedValues(values))

const codeStyle = 'font:bold 1.6em monospace;letter-spacing:.15em'

/**
 * A text template as a page: its paragraphs, with a code that is large, and written from left to right whatever
 * stands around it.
 */
export function pageOf(
  template: string,
  values: Values,
  { locale, direction }: { locale: string; direction: 'ltr' | 'rtl' | 'auto' },
): string {
  const { code, brand, ...others } = escapedValues(values)
  const marked = {
    ...others,
    code: `<bdi dir="ltr" style="${codeStyle}">${code}</bdi>`,
    brand: `<bdi>${brand}</bdi>`,
  }
  const paragraphs = escaped(template)
    .split(/\n{2,}/)
    .map((paragraph) => `<p>${fill(paragraph, marked).replaceAll('\n', '<br>')}</p>`)
  const start = `<!doctype html><html lang="${escaped(locale)}" dir="${direction}">`
  const style = 'font:16px/1.5 sans-serif;margin:2em auto;max-width:32em;padding:0 1em'
  return `${start}<head><meta charset="utf-8"></head><body style="${style}">${paragraphs.join('')}</body></html>`
}
