import { describe, expect, test } from '@jest/globals'
import { foldTyped } from '../../core/input/fold'
import { faultOfLine, faultOfText, foldLines } from '../../core/input/prose'
import { readTypedCode } from '../../core/input/typed-code'

describe('what is typed into a field', () => {
  test('decimal digits of every script are digits', () => {
    for (const system of Intl.supportedValuesOf('numberingSystem'))
      for (let value = 0; value < 10; value++) {
        const digit = new Intl.NumberFormat(`en-u-nu-${system}`, { useGrouping: false }).format(
          value,
        )
        // Chinese numerals and the like are no decimal digits to Unicode.
        if (/^\p{Nd}$/u.test(digit))
          expect([system, foldTyped(digit)]).toEqual([system, `${value}`])
      }
    const all = Array.from({ length: 0x11_0000 }, (_, point) => point).filter(
      (point) => point < 0xd800 || point > 0xdfff,
    )
    const digits = all
      .map((point) => String.fromCodePoint(point))
      .filter((character) => /\p{Nd}/u.test(character))
    expect(digits.length).toBeGreaterThan(700)
    expect(digits.filter((digit) => !/^[0-9]$/.test(foldTyped(digit)))).toEqual([])
  })

  test.each([
    ['full width', '＋２３３　２４', '+233 24'],
    ['marks of direction and isolates', '\u202a\u2066+233\u2069\u200e\u202c', '+233'],
    ['zero width, soft hyphens, byte order marks', '2\u200b3\u200c3\u200d\u00ad2\ufeff4', '23324'],
    ['variation selectors and keycaps', '4\ufe0f\u20e38\ufe0e2\u{e0100}', '482'],
    ['mathematical digits', '𝟒𝟾𝟚', '482'],
    ['digits beyond the first plane', '\u{104a4}\u{1e954}\u{11136}', '440'],
  ])('%s', (_name, typed, folded) => {
    expect(foldTyped(typed)).toBe(folded)
  })

  test.each([
    ['482913', '482913'],
    ['482 913', '482913'],
    ['482\u2011913', '482913'],
    ['482913.', '482913'],
    ['482913。', '482913'],
    ['«482913»', '482913'],
    ['“482913”,', '482913'],
    ['(482913)', '482913'],
    ['<482913>', '482913'],
    ['٤٨٢٩١٣', '482913'],
    ['۴۸۲۹۱۳', '482913'],
    ['४८२९१३', '482913'],
    ['\u2066４８２-９１３\u2069', '482913'],
    ['Ａb3d\u200f', 'Ab3d'],
    ['482\u0085913\u2800', '482913'],
  ])('the code %j is %s', (typed, code) => {
    expect(readTypedCode(typed)).toBe(code)
  })

  test.each(['48_2913', '482,913', '48.29.13', 'code 482913 is', '½'])(
    '%j does not become another code',
    (typed) => {
      expect(/^[0-9]{6}$/.test(readTypedCode(typed))).toBe(false)
    },
  )
})

describe('texts', () => {
  test('line ends of every system are one', () => {
    expect(foldLines('\ufeffone\r\ntwo\rthree\u2028four\u2029five\u0085six\vseven\f')).toBe(
      'one\ntwo\nthree\nfour\nfive\nsix\nseven\n',
    )
  })

  test.each([
    ['Persian', 'می‌خواهم'],
    ['direction marks', 'رمز \u200e{{code}}\u200f \u061c'],
    ['an emoji of several', '👨‍👩‍👧'],
    ['a tab and lines', 'one\n\ttwo'],
  ])('%s is sent', (_name, text) => {
    expect(faultOfText(text)).toBeUndefined()
  })

  test.each([
    ['Persian', 'دیجی‌کالا'],
    ['Hindi', 'क्‍ष'],
    ['Bengali', 'র‍্যাব'],
    ['Sinhala', 'ශ්‍රී ලංකා'],
    ['Malayalam with the joiner at the end of a word', 'അവന്‍ വന്നു'],
    ['Khmer with its word breaks', 'ធនាគារ\u200bជាតិ'],
    ['Hebrew with a mark after the stop', 'שלום!\u200f'],
    ['a family', 'Kids 👨‍👩‍👧'],
    ['a flag of two emoji', '🏳️‍🌈'],
    ['a profession', '👩🏽‍💻'],
    ['a sign shown as a picture, and a keycap', 'I ❤\ufe0f 1\ufe0f\u20e3'],
    ['the flag of a part', 'Wales \u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}'],
    ['a variant of a Chinese character', '葛\u{e0100}城'],
    ['Mongolian with its forms', 'ᠪᠠᠶᠢᠨ\u180b\u180eᠠ'],
  ])('the name may be %s', (_name, text) => {
    expect(faultOfLine(text)).toBeUndefined()
  })

  test.each([
    ['an override', 'Acme\u202e', 'U+202E'],
    ['an embedding', '\u202aAcme', 'U+202A'],
    ['an isolate', '\u2066دیجی', 'U+2066'],
    ['a joiner between Latin letters', 'Pay\u200dPal', 'U+200D'],
    ['a non-joiner between Cyrillic letters', 'Сбер\u200cбанк', 'U+200C'],
    ['a joiner after a digit', 'A1\u200d', 'U+200D'],
    ['a joiner first', '\u200dدیجی', 'U+200D'],
    ['two joiners', 'دی\u200c\u200cجی', 'U+200C'],
    ['a direction mark among Latin letters', 'Ac\u200eme', 'U+200E'],
    ['a zero-width space among Latin letters', 'Ac\u200bme', 'U+200B'],
    ['a word joiner', 'Ac\u2060me', 'U+2060'],
    ['a soft hyphen', 'Ac\u00adme', 'U+00AD'],
    ['tags', 'Acme\u{e0041}', 'U+E0041'],
    ['a language tag', 'Ac\u{e0001}me', 'U+E0001'],
    ['tags behind a flag of no part', '\u{1f3f4}\u{e0067}\u{e0062}', 'U+E0067'],
    ['a grapheme joiner', 'Ac\u034fme', 'U+034F'],
    ['a filler of Hangul', 'Ac\u3164me', 'U+3164'],
    ['a filler of Hangul in half width', 'Ac\uffa0me', 'U+FFA0'],
    ['a vowel of Khmer that is not seen', 'Ac\u17b4me', 'U+17B4'],
    ['a separator of Mongolian', 'Ac\u180eme', 'U+180E'],
    ['a mark that was withdrawn', 'Ac\u206ame', 'U+206A'],
    ['a variation selector among Latin letters', 'Ac\ufe0fme', 'U+FE0F'],
    ['one beyond the first plane', 'Ac\u{e0100}me', 'U+E0100'],
    ['one after a digit', 'A1\ufe0f', 'U+FE0F'],
    ['a mark of annotations', 'Ac\ufff9me', 'U+FFF9'],
    ['a mark of musical notes', 'Ac\u{1d173}me', 'U+1D173'],
    ['a line break', 'Ac\nme', 'U+000A'],
    ['a control character', 'Ac\u0007me', 'U+0007'],
  ])('the name may not have %s, and which character is said', (_name, text, named) => {
    expect(faultOfLine(text)).toContain(named)
  })

  test.each([
    ['an override', '{{code}}\u202e', 'U+202E'],
    ['an embedding', '\u202b{{code}}', 'U+202B'],
    ['a NUL', '{{code}}\u0000', 'U+0000'],
    ['half a character', '{{code}}\ud800', 'surrogate'],
  ])('a text may not have %s', (_name, text, named) => {
    expect(faultOfText(text)).toContain(named)
  })
})
