import { describe, expect, test } from '@jest/globals'
import {
  choiceScreen,
  codeScreen,
  laterScreen,
  nothingScreen,
  screenLength,
} from '../../core/ussd/screen'
import { segmentsOf } from '../../core/messages/segments'

const locales = ['en', 'fr', 'pt', 'sw', 'es', 'ar', 'de']
const longBrand = 'The Longest Brand of All 12345'
const parts = { code: '482913', brand: 'Acme', lifetimeSeconds: 235, template: undefined }

const fits = (screen: string) => {
  const { encoding, units } = segmentsOf(screen)
  expect({ encoding, fits: units <= screenLength }).toEqual({ encoding: 'GSM-7', fits: true })
}

describe('USSD screens', () => {
  test.each(locales)('%s: every one fits, and holds what it must', (locale) => {
    const code = codeScreen({ ...parts, locale, brand: longBrand, code: 'ABCD234567' })
    expect(code).toContain('ABCD234567')
    expect(code).toContain(longBrand)
    const choice = choiceScreen(locale, [longBrand, longBrand, longBrand])
    expect(choice.split('\n').slice(1)).toEqual([1, 2, 3].map((at) => `${at} ${longBrand}`))
    for (const screen of [code, choice, nothingScreen(locale), laterScreen(locale)]) fits(screen)
    for (const screen of [nothingScreen(locale), laterScreen(locale)])
      expect(screen).not.toMatch(/\d/)
  })

  test('the minutes are those that are left', () => {
    expect(codeScreen({ ...parts, locale: 'en' })).toContain('4 minutes')
    expect(codeScreen({ ...parts, locale: 'en', lifetimeSeconds: 20 })).toContain('1 minute.')
  })

  test.each([
    ['Café Ümläut', 'Cafe Umlaut'],
    ['日本銀行', '?'],
    ['Банк 24', '24'],
  ])('the brand %s is shown as %s', (brand, shown) => {
    expect(codeScreen({ ...parts, locale: 'en', brand })).toContain(`Your ${shown} code is 482913`)
    expect(choiceScreen('en', [brand, 'Acme'])).toMatch(
      new RegExp(`\n1 ${shown.replace('?', '\\?')}\n`),
    )
  })

  test('an app’s own text is taken as it is, unless no screen holds it', () => {
    const template = (text: string) => ({ locale: 'en', text })
    const own = codeScreen({ ...parts, locale: 'en', template: template('{{code}}: {{brand}}') })
    expect(own).toBe('482913: Acme')
    const long = codeScreen({
      ...{ ...parts, locale: 'en' },
      template: template(`${'so '.repeat(60)}{{code}}`),
    })
    expect(long).toMatch(/^Your Acme code is 482913/)
    const foreign = codeScreen({ ...parts, locale: 'en', template: template('代码 {{code}}') })
    expect(foreign).toMatch(/^Your Acme code is 482913/)
  })
})
