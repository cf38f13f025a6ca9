import { describe, expect, test } from '@jest/globals'
import fc from '../harness/properties'
import { faultsOf, warningsOf } from '../../core/messages/lint'
import { segmentsOf } from '../../core/messages/segments'
import { messageText } from '../../core/messages/text'

describe('parts of an sms', () => {
  const cases: [string, string, object][] = [
    ['nothing', '', { encoding: 'GSM-7', units: 0, parts: 1 }],
    ['160 letters', 'a'.repeat(160), { encoding: 'GSM-7', units: 160, parts: 1 }],
    ['161 letters', 'a'.repeat(161), { encoding: 'GSM-7', units: 161, parts: 2 }],
    ['two full parts', 'a'.repeat(306), { parts: 2 }],
    ['one more', 'a'.repeat(307), { parts: 3 }],
    ['the basic table’s oddities', '@£¥èéùìòÇØøÅåΔΩß¿ñüà', { encoding: 'GSM-7', units: 20 }],
    ['the extension', '^{}\\[~]|€', { encoding: 'GSM-7', units: 18, foreign: [] }],
    ['80 of the extension', '€'.repeat(80), { units: 160, parts: 1 }],
    ['81 of the extension', '€'.repeat(81), { units: 162, parts: 2 }],
    // 153 is odd: the escape and its character stay together, so a part holds 76 of them.
    ['153 of the extension', '€'.repeat(153), { units: 306, parts: 3 }],
    ['one foreign letter', 'ç', { encoding: 'UCS-2', units: 1, parts: 1, foreign: ['ç'] }],
    ['70 with a foreign one', `ó${'a'.repeat(69)}`, { encoding: 'UCS-2', units: 70, parts: 1 }],
    ['71 with a foreign one', `ó${'a'.repeat(70)}`, { units: 71, parts: 2 }],
    ['two full parts of UCS-2', 'ع'.repeat(134), { units: 134, parts: 2 }],
    ['one more', 'ع'.repeat(135), { parts: 3 }],
    ['35 emoji', '😀'.repeat(35), { encoding: 'UCS-2', units: 70, parts: 1 }],
    // 67 is odd as well: 33 in a part.
    ['67 emoji', '😀'.repeat(67), { units: 134, parts: 3 }],
    ['a tab, a curly quote and a backtick', '\t’`', { foreign: ['\t', '’', '`'] }],
  ]
  test.each(cases)('%s', (_, text, expected) => expect(segmentsOf(text)).toMatchObject(expected))

  test('property: parts hold what they can, and only just enough of them', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 400 }), (text) => {
        const { encoding, units, parts } = segmentsOf(text)
        const [alone, part] = encoding === 'GSM-7' ? [160, 153] : [70, 67]
        if (units <= alone) return parts === 1
        return parts * part >= units && (parts - 1) * (part - 1) < units
      }),
    )
  })
})

describe('the lint', () => {
  const sample = {
    ...{ channel: 'sms' as const, brand: 'Acme', code: '482913', lifetimeSeconds: 300 },
    autofill: { domain: null, appHash: null },
  }
  const fine = 'Your {{brand}} code is {{code}}. Do not share it.'

  const faults: [string, string[]][] = [
    [fine, []],
    ['{{code}} {{minutes}} {{lifetime}} {{brand}}', []],
    ['{a} {{code}} b}', []],
    ['Hello', ['code_missing']],
    ['{{ code }}', ['placeholder_lookalike', 'code_missing']],
    ['{{Code}}', ['placeholder_lookalike', 'code_missing']],
    ['{{cоde}}', ['placeholder_lookalike', 'code_missing']],
    ['{{cod}} {{code}}', ['placeholder_lookalike']],
    ['{{codes}} {{code}}', ['placeholder_lookalike']],
    ['{{otp}}', ['placeholder_lookalike', 'code_missing']],
    ['{{app_name}} {{code}}', ['placeholder_lookalike']],
    ['{{name}} {{code}}', ['placeholder_unknown']],
    ['{{}} {{code}}', ['placeholder_unknown']],
    ['{{code}} {{', ['braces_unpaired']],
    ['{{{code}}}', []],
    ['{{code}}}}', ['braces_unpaired']],
  ]
  test.each(faults)('%j is refused for %j', (text, rules) => {
    expect(faultsOf({ text }).map(({ rule }) => rule)).toEqual(rules)
  })

  test('a page needs its code too, and a call’s prompt must not have it', () => {
    const rules = faultsOf({ text: '{{code}}', html: '<p>', keyPrompt: '{{code}}' })
    expect(rules.map(({ field, rule }) => [field, rule])).toEqual([
      ['html', 'code_missing'],
      ['keyPrompt', 'code_in_key_prompt'],
    ])
  })

  const warned: [string, object, string[]][] = [
    [fine, {}, []],
    ['Your code is {{code}}. Do not share it.', {}, ['brand_missing']],
    ['ACME: {{code}}. Do not share it.', {}, []],
    ['Your {{brand}} code is {{code}}.', {}, ['secrecy_missing']],
    ['{{brand}}: {{code}}. Não o partilhe.', { locale: 'pt' }, ['ucs2']],
    ['{{brand}}: {{code}}', { locale: 'nl' }, []],
    [`${fine} https://acme.example/x`, {}, ['link']],
    [`${fine} See acme.com`, {}, ['link']],
    [`${fine} {code}`, {}, ['placeholder_lookalike']],
    [`${fine} %code%`, {}, ['placeholder_lookalike']],
    [`${'Dear customer, '.repeat(4)}${fine}`, {}, ['code_late']],
    [`${fine} ${'a '.repeat(80)}`, {}, ['parts']],
    [
      `${fine} Thank you for your patience.`,
      { autofill: { domain: 'a'.repeat(40) + '.example', appHash: 'FA+9qCX9VSu' } },
      ['long_for_android'],
    ],
    [fine, { channel: 'whatsapp' }, ['fallback_only']],
    [`${fine} é`, { channel: 'ussd' }, ['not_ascii']],
    [`${fine} ${'a '.repeat(80)}`, { channel: 'ussd' }, ['long_screen']],
  ]
  test.each(warned)(
    '%j, %j: %j',
    (text, { locale = 'en', ...given }: { locale?: string }, rules) => {
      const found = warningsOf({ text, locale }, { ...sample, ...given })
      expect(found.map(({ rule }) => rule)).toEqual(rules)
    },
  )

  test('a subject with the code is warned of', () => {
    const template = { text: fine, locale: 'en', subject: '{{code}}' }
    expect(warningsOf(template, { ...sample, channel: 'email' })).toMatchObject([
      { field: 'subject', rule: 'code_in_subject' },
    ])
  })

  test('names the characters that make it dear', () => {
    const [found] = warningsOf({ text: '{{brand}} {{code}} ção share', locale: 'en' }, sample)
    expect(found?.message).toContain('ç ã')
  })

  test('property: it counts the parts of what goes out', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 200 }),
        fc.stringMatching(/^[0-9]{6}$/),
        fc.boolean(),
        (words, code, withSite) => {
          const autofill = { domain: withSite ? 'shop.example' : null, appHash: null }
          const text = `{{code}} ${words.replaceAll('{', '').replaceAll('}', '')}`
          const template = { text, locale: 'en' }
          const sent = messageText({
            ...{ ...sample, channel: 'sms', message: undefined, template, locale: 'en' },
            ...{ code, autofill },
          })
          const { parts } = segmentsOf(sent.text)
          const found = warningsOf(template, { ...sample, autofill })
          const said = found.find(({ rule }) => rule === 'parts')?.message
          return parts === 1 ? said === undefined : said?.includes(` ${parts} parts`)
        },
      ),
    )
  })
})
