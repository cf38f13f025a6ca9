import { describe, expect, test } from '@jest/globals'
import fc from '../harness/properties'
import { type Channel, channels } from '../../core/channel'
import { faultsOf, warningsOf } from '../../core/messages/lint'
import { languages, type LanguageTag } from '../../core/messages/languages'
import { localeOfCountry, readLocale } from '../../core/messages/locale'
import { segmentsOf } from '../../core/messages/segments'
import { fill } from '../../core/messages/template'
import { type MessageParts, messageText, sourceOf, ussdTexts } from '../../core/messages/text'

const tags = Object.keys(languages) as LanguageTag[]
const longestBrand = 'B'.repeat(30)

const told = (given: Partial<MessageParts>) =>
  messageText({
    channel: 'sms',
    message: undefined,
    template: undefined,
    locale: 'en',
    code: '482913',
    brand: 'Acme',
    lifetimeSeconds: 300,
    ...given,
  })

const noMarks = (text: string) => text.replace(/[\u2066-\u2069]/g, '')

describe('what otpilot says by itself', () => {
  const words: [LanguageTag, Channel, string][] = [
    ['en', 'sms', 'Your Acme code is 482913. It is valid for 5 minutes. Do not share it.'],
    ['fr', 'sms', 'Votre code Acme est 482913. Il expire dans 5 minutes. Ne le donnez à personne.'],
    ['pt', 'sms', 'O seu PIN Acme é 482913. Expira em 5 minutos. Nunca o revele a ninguém.'],
    ['es', 'sms', 'Su clave de Acme es 482913. Vence en 5 minutos. No la comparta con nadie.'],
    ['sw', 'sms', 'Msimbo wako wa Acme ni 482913. Unaisha baada ya dakika 5. Usimpe mtu yeyote.'],
    ['ar', 'sms', 'رمز Acme هو 482913، صالح 5 دقائق. لا تشاركه.'],
    ['fr', 'ussd', 'Votre code Acme est 482913. Il expire dans 5 minutes. Ne le donnez pas.'],
    // Arabic cannot be written in ASCII.
    ['ar', 'ussd', 'Your Acme code is 482913. It is valid for 5 minutes. Do not share it.'],
    ['pt', 'whatsapp', 'O seu código Acme é 482913. Expira em 5 minutos. Não o revele a ninguém.'],
    ['ar', 'whatsapp', 'رمزك لدى ⁨Acme⁩ هو ⁦482913⁩. صالح لمدة 5 دقائق. لا تشاركه مع أحد.'],
    ['es', 'voice', 'Su código de Acme es 4 8 2 9 1 3. Vence en 5 minutos. No lo diga a nadie.'],
    ['ar', 'voice', 'رمزك لدى Acme هو 4 8 2 9 1 3. صالح لمدة 5 دقائق. لا تخبر به أحدا.'],
  ]
  test.each(words)('in %s by %s', (locale, channel, text) => {
    expect(told({ locale, channel }).text).toBe(text)
  })

  test.each(tags.flatMap((tag) => channels.map((channel) => [tag, channel] as const)))(
    'in %s by %s holds code, brand and minutes once, and none of its placeholders',
    (locale, channel) => {
      const { text, subject = '', keyPrompt = '', html = '' } = told({ locale, channel })
      const shown = channel === 'voice' ? '4 8 2 9 1 3' : '482913'
      expect(text.split(shown)).toHaveLength(2)
      expect(noMarks(text)).toMatch(/Acme.*(?:\D5\D|دقائق)/s)
      for (const part of [text, subject, keyPrompt, html]) expect(part).not.toMatch(/\{\{|\}\}/)
      expect(subject !== '').toBe(channel === 'email')
      expect(html !== '').toBe(channel === 'email')
      expect(keyPrompt !== '').toBe(channel === 'voice')
      // Neither is for whoever happens to see or hear it.
      expect(subject + keyPrompt).not.toMatch(/\d/)
    },
  )

  test.each(tags)('in %s is free of what its own lint warns of', (locale) => {
    for (const channel of channels) {
      const template = sourceOf({ channel, message: undefined, template: undefined, locale })
      expect(faultsOf(template)).toEqual([])
      const sample = {
        ...{ channel, brand: 'Acme', code: '482913', lifetimeSeconds: 300 },
        autofill: { domain: null, appHash: null },
      }
      const rules = warningsOf(template, sample).map(({ rule }) => rule)
      const expected = [
        ...(locale === 'ar' && channel === 'sms' ? ['ucs2'] : []),
        ...(channel === 'whatsapp' ? ['fallback_only'] : []),
      ]
      expect([channel, rules]).toEqual([channel, expected])
    }
  })

  test.each(tags.filter((tag) => tag !== 'ar'))(
    'in %s is one part of GSM-7, however long brand, code and lifetime are',
    (locale) => {
      const { text } = told({
        ...{ locale, brand: longestBrand, code: '0123456789', lifetimeSeconds: 600 },
      })
      expect(segmentsOf(text)).toMatchObject({ encoding: 'GSM-7', parts: 1 })
    },
  )

  test('in Arabic is one part with a brand of up to 24 characters and a code of six digits', () => {
    const text = told({ locale: 'ar', brand: 'B'.repeat(24), lifetimeSeconds: 600 }).text
    expect(segmentsOf(text)).toMatchObject({ encoding: 'UCS-2', parts: 1 })
  })

  test.each(tags)('in %s fits a USSD screen, in ASCII', (locale) => {
    for (const text of Object.values(ussdTexts(locale))) {
      const screen = fill(text, {
        ...{ code: '0123456789', brand: longestBrand },
        ...{ minutes: '10', lifetime: languages[locale].lifetime(10) },
      })
      const ascii = locale === 'ar' ? screen.replace(/[^\x20-\x7e]+/, '') : screen
      expect(ascii).toMatch(/^[\x20-\x7e]{10,182}$/)
    }
  })

  test('counts minutes as each language does', () => {
    const minutes = (tag: LanguageTag) => [1, 2, 3, 10].map((n) => languages[tag].lifetime(n))
    expect(minutes('en')).toEqual(['1 minute', '2 minutes', '3 minutes', '10 minutes'])
    expect(minutes('fr')).toEqual(['1 minute', '2 minutes', '3 minutes', '10 minutes'])
    expect(minutes('pt')).toEqual(['1 minuto', '2 minutos', '3 minutos', '10 minutos'])
    expect(minutes('es')).toEqual(['1 minuto', '2 minutos', '3 minutos', '10 minutos'])
    expect(minutes('sw')).toEqual(['dakika 1', 'dakika 2', 'dakika 3', 'dakika 10'])
    expect(minutes('ar')).toEqual(['دقيقة واحدة', 'دقيقتين', '3 دقائق', '10 دقائق'])
    expect(languages.ar.lifetime(11)).toBe('11 دقيقة')
    expect(told({ lifetimeSeconds: 61 }).text).toContain('2 minutes')
    expect(told({ lifetimeSeconds: 30 }).text).toContain('1 minute.')
  })

  test('marks a code with letters in an Arabic sms, or its first digit would be torn off', () => {
    const sms = (code: string) => told({ locale: 'ar', code }).text
    expect(sms('2SFWYR')).toContain(' \u200e2SFWYR،')
    expect(sms('482913')).not.toMatch(/\p{Cf}/u)
    expect(told({ locale: 'ar', code: '2SFWYR', message: '{{code}}' }).text).toBe('2SFWYR')
  })

  test('reads letters with the pause of the language', () => {
    const said = (locale: string) => told({ channel: 'voice', locale, code: 'A7K2MZ' }).text
    expect(said('fr')).toContain('A, 7, K, 2, M, Z')
    expect(said('ar')).toContain('A، 7، K، 2، M، Z')
  })

  test('as a page: what is in it stays text, and Arabic runs from the right around the code', () => {
    const brand = '<b>"Tom" & \'Co\'</b>'
    const page = told({ channel: 'email', locale: 'ar', brand }).html
    expect(page).toContain('<html lang="ar" dir="rtl">')
    expect(page).toMatch(/<bdi dir="ltr"[^>]*>482913<\/bdi>/)
    expect(page).toContain('&lt;b&gt;&quot;Tom&quot; &amp; &#39;Co&#39;&lt;/b&gt;')
    expect(page).not.toContain('<b>')
    const callers = told({ channel: 'email', message: '<i>{{code}}</i>\nfor\n\n{{brand}}', brand })
    expect(callers.text).toBe(`<i>482913</i>\nfor\n\n${brand}`)
    expect(callers.html).toContain('dir="auto"')
    expect(callers.html).toMatch(/<p>&lt;i&gt;<bdi[^>]*>482913<\/bdi>&lt;\/i&gt;<br>for<\/p><p>/)
  })
})

describe('whose words', () => {
  const template = { locale: 'en', text: 'App: {{code}}', keyPrompt: 'Press, {{brand}}' }
  const message = 'Caller: {{code}}'
  const cases: [string, Partial<MessageParts>, string, string][] = [
    ['the caller’s come first', { message, template }, 'Caller: 482913', 'en'],
    ['not by WhatsApp', { message, channel: 'whatsapp', template }, 'App: 482913', 'en'],
    ['the app’s in the reader’s language', { template, locale: 'en-GH' }, 'App: 482913', 'en-GH'],
    ['ours, when the app’s are English only', { template, locale: 'sw' }, 'Msimbo wako', 'sw'],
    ['the app’s, in a language that we lack', { template, locale: 'nl' }, 'App: 482913', 'en'],
    ['ours in English, when nobody has any', { locale: 'nl-BE' }, 'Your Acme code', 'en'],
    ['a screen, where ours are English', { template, locale: 'ar', channel: 'ussd' }, 'App', 'ar'],
  ]
  test.each(cases)('%s', (_, given, start, locale) => {
    const found = told(given)
    expect(found.text.slice(0, start.length)).toBe(start)
    expect(found.locale).toBe(locale)
  })

  test('approved WhatsApp templates go by the reader’s language, whatever ours are', () => {
    expect(told({ channel: 'whatsapp', locale: 'nl' }).locale).toBe('nl')
  })

  test('what a template leaves out is ours', () => {
    const voice = told({
      channel: 'voice',
      template: { locale: 'fr', text: '{{code}}' },
      locale: 'fr',
    })
    expect(voice.text).toBe('4 8 2 9 1 3')
    expect(voice.keyPrompt).toContain('appuyez')
    const callers = told({ channel: 'voice', message: 'Hi {{code}}', template })
    expect(callers).toMatchObject({ text: 'Hi 4 8 2 9 1 3', keyPrompt: 'Press, Acme' })
    const own = {
      locale: 'en',
      text: 'T {{code}}',
      subject: 'S {{brand}}',
      html: '<p>{{code}}</p>',
    }
    expect(told({ channel: 'email', template: own, brand: 'A&B' })).toMatchObject({
      ...{ text: 'T 482913', subject: 'S A&B', html: '<p>482913</p>' },
    })
  })

  test('are filled in once: a brand that looks like a placeholder is a name', () => {
    const odd = told({ message: '{{brand}} {{code}} $& {{minutes}}', brand: '{{code}}$1' })
    expect(odd.text).toBe('{{code}}$1 482913 $& 5')
  })

  test('property: whoever wrote them, the code is in', () => {
    const part = fc.constantFrom(
      '{{code}}',
      '{{brand}}',
      '{{minutes}}',
      '{{lifetime}}',
      '$&',
      ' ',
      '\n',
      'é',
      '{',
      '}',
    )
    const written = fc
      .array(fc.oneof(part, fc.string({ unit: 'grapheme' })))
      .map((pieces) => pieces.join(''))
      .filter((text) => faultsOf({ text }).length === 0)
    fc.assert(
      fc.property(
        written,
        fc.constantFrom(...channels),
        fc.constantFrom('en', 'ar', 'fr-CI', 'nl'),
        fc.string({ unit: 'grapheme', maxLength: 30 }),
        fc.stringMatching(/^[0-9A-Z]{6,10}$/),
        fc.boolean(),
        (text, channel, locale, brand, code, byCaller) => {
          const own = byCaller ? { message: text } : { template: { locale, text } }
          const { text: shown, html } = told({ ...own, channel, locale, brand, code })
          const read = channel === 'voice' ? shown.replace(/[ ,،]/g, '') : shown
          return read.includes(code) && (html === undefined || html.includes(code))
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('locales', () => {
  test.each([
    ['FR-ci', 'fr-CI'],
    ['en', 'en'],
    ['zh-hant-TW', 'zh-Hant-TW'],
    ['es-419', 'es-419'],
    ['DE-1996', 'de-1996'],
    ['ca-ES-valencia', 'ca-ES-valencia'],
    // Extensions and private parts say nothing about the language.
    ['en-US-u-fw-mon-mu-celsius', 'en-US'],
    ['es-u-ms-metric', 'es'],
    ['ar-EG-u-nu-latn', 'ar-EG'],
    ['en-t-jp-m0-alaloc', 'en'],
    ['pt-BR-x-mine', 'pt-BR'],
    // Java, POSIX, Apple.
    ['fr_CI', 'fr-CI'],
    ['zh_CN_#Hans', 'zh-Hans-CN'],
    ['zh__#Hans', 'zh-Hans'],
    ['sr_RS_#Latn-x-lvariant-foo', 'sr-Latn-RS'],
    ['en_US_POSIX', 'en-US'],
    ['th_TH_TH_#u-nu-thai', 'th-TH'],
    ['es__Traditional_WIN', 'es'],
    ['fr_FR.UTF-8', 'fr-FR'],
    ['ca_ES@euro', 'ca-ES'],
    ['zh-Hans_CN', 'zh-Hans-CN'],
    ['fr-CH, fr;q=0.9, en;q=0.8', 'fr-CH'],
    ['fr_CI:fr:en', 'fr-CI'],
    ['fr\u2011CI', 'fr-CI'],
    // Languages by a code of three letters that have one of two, and such that have none.
    ['fra-CI', 'fr-CI'],
    ['por_BR', 'pt-BR'],
    ['swh-TZ', 'sw-TZ'],
    ['arb', 'ar'],
    ['fil-PH', 'fil-PH'],
    ['kab', 'kab'],
    // Java's codes of before 1989, as Android's Locale.toString() still gives them.
    ['in_ID', 'id-ID'],
    ['iw', 'he'],
    ['ji-u-x', 'yi'],
    ['tl', 'tl'],
    // Grandfathered.
    ['i-lux', 'lb'],
    ['i-klingon', 'tlh'],
    ['en-GB-oed', 'en-GB-oed'],
    // As pasted.
    [' \u200efr-CI\u200f ', 'fr-CI'],
  ])('%s is read as %s', (tag, locale) => expect(readLocale(tag)).toBe(locale))

  test.each([
    '',
    'x-private',
    'i-mingo',
    '_CI',
    'und-CI',
    'C',
    'POSIX',
    'C.UTF-8',
    'Français',
    '§',
    'a'.repeat(200),
  ])('no language is in %j', (tag) => expect(readLocale(tag)).toBeUndefined())

  test.each([
    ['GH', 'en-GH'],
    ['NG', 'en-NG'],
    ['KE', 'en-KE'],
    ['TZ', 'sw-TZ'],
    ['CI', 'fr-CI'],
    ['SN', 'fr-SN'],
    ['AO', 'pt-AO'],
    ['BR', 'pt-BR'],
    ['EG', 'ar-EG'],
    ['MX', 'es-MX'],
    ['DE', 'en-DE'],
    [null, 'en'],
  ])('a number of %s reads %s', (country, locale) => expect(localeOfCountry(country)).toBe(locale))
})
