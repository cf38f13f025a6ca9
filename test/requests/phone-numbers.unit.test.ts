import { describe, expect, test } from '@jest/globals'
import {
  type CountryCode,
  getCountries,
  getExampleNumber,
  parsePhoneNumberFromString,
} from 'libphonenumber-js/max'
import examples from 'libphonenumber-js/mobile/examples'
import { readingFor } from '../../api/number-reading'
import { type Reading, readPhoneNumber } from '../../api/phone-number'
import { Problem } from '../../api/problem'
import { randomOf } from '../../bench/abuse/random'
import type { ProtectionPolicy } from '../../core/protection/protection'

const readingOf = (
  defaultCountry: string | null,
  protection: ProtectionPolicy['protection'] = {},
): Reading =>
  readingFor(
    { routing: { policy: { protection } }, isProduction: false },
    { id: 'app', defaultCountry },
  )

const read = (
  text: string,
  defaultCountry: string | null = null,
  protection?: ProtectionPolicy['protection'],
) => {
  try {
    return readPhoneNumber(text, readingOf(defaultCountry, protection)).number
  } catch (error) {
    return error instanceof Problem ? error.code : error
  }
}

/** Random valid mobiles of a country, the same in every run. */
function mobilesOf(country: string, count: number): { number: string; national: string }[] {
  const length = getExampleNumber(country as CountryCode, examples)?.nationalNumber.length ?? 0
  const found: { number: string; national: string }[] = []
  const random = randomOf(country, 12)
  while (found.length < count) {
    const digits = Array.from({ length }, () => random.below(10)).join('')
    const parsed = parsePhoneNumberFromString(digits, country as CountryCode)
    if (parsed?.isValid() && /MOBILE/.test(parsed.getType() ?? '') && parsed.country === country)
      found.push({ number: parsed.number, national: parsed.formatNational() })
  }
  return found
}

describe('international forms', () => {
  test.each([
    '+233241234567',
    '00233241234567',
    '233241234567',
    '+233 24 123 4567',
    '+233-24-123-4567',
    '+233.24.123.4567',
    '+233 (24) 123 4567',
    '(+233) 24 123 4567',
    '  233 24 123 4567 ',
    '+233\u00a024\u2011123\u20134567',
    '00 233 24 123 4567',
    '+233 (0)24 123 4567',
    // As contacts and messengers copy it, and as keyboards of other scripts type it.
    '\u202a+233241234567\u202c',
    '+٢٣٣٢٤١٢٣٤٥٦٧',
    '+۲۳۳ ۲۴ ۱۲۳ ۴۵۶۷',
    '＋２３３（２４）１２３－４５６７',
    '+233 24/123 4567',
    '+233 [24] 123·45•67',
    '+233ー24ー123ー4567',
    '+233\u2800241234567\u0085',
    // Out of a link, a table and a sentence.
    'tel:+233-24-123-4567',
    "'+233241234567",
    '“+233 24 123 4567”,',
  ])('%s is +233241234567', (text) => {
    expect(read(text)).toBe('+233241234567')
  })

  test('with a default country they mean the same', () => {
    for (const text of ['+233241234567', '00233241234567', '233241234567']) {
      expect(read(text, 'GH')).toBe('+233241234567')
      expect(read(text, 'US')).toBe('+233241234567')
    }
  })

  test('every country’s example mobile number is read, with +, with 00 and with nothing', () => {
    const misread = getCountries().filter((country) => {
      const { number, country: home } = getExampleNumber(country, examples) ?? {}
      // Some territories share a number plan: there the metadata itself names another home.
      if (!number || home !== country) return false
      const forms = [number, `00${number.slice(1)}`, number.slice(1)]
      return forms.some((form) => read(form) !== number)
    })
    expect(misread).toEqual([])
  })

  test('the sandbox’s reserved numbers are valid mobiles', () => {
    for (let last = 0; last < 100; last++) {
      const number = `+2335550000${String(last).padStart(2, '0')}`
      expect(readPhoneNumber(number, null)).toEqual({
        number,
        country: 'GH',
        lineType: 'mobile',
      })
    }
  })

  test('the country comes with the number, also where several share a calling code', () => {
    const countryOf = (text: string) => readPhoneNumber(text, null).country
    expect(
      ['+447400123456', '+447911123456', '+12025550123', '+77012345678'].map(countryOf),
    ).toEqual(['GB', 'GG', 'US', 'KZ'])
  })
})

describe('national forms', () => {
  test.each([
    ['024 123 4567', 'GH', '+233241234567'],
    ['(020) 7946-0958', 'GB', '+442079460958'],
    ['202-555-0123', 'US', '+12025550123'],
    ['0151 23456789', 'DE', '+4915123456789'],
    ['0151/23456789', 'DE', '+4915123456789'],
    ['0664/123 4567', 'AT', '+436641234567'],
    ['07 01 23 45 67', 'CI', '+2250701234567'],
  ])('%s with the default country %s is %s', (text, country, number) => {
    expect(read(text, country)).toBe(number)
  })

  test('without a default country they are refused, with a hint', () => {
    expect(() => readPhoneNumber('0241234567', null)).toThrow('+233241234567')
    expect(read('202-555-0123')).toBe('INVALID_NUMBER')
  })

  test('a number that is valid with and without a country code is refused, not guessed', () => {
    // 131 2345 6790 in China, where nobody writes a digit before mobiles, is also +1 312 345 6790 in Chicago.
    expect(read('13123456790')).toBe('+13123456790')
    expect(read('13123456790', 'CN')).toBe('INVALID_NUMBER')
    expect(() => readPhoneNumber('13123456790', readingOf('CN'))).toThrow('leading +')
    expect(read('+13123456790', 'CN')).toBe('+13123456790')
    expect(read('+8613123456790', 'CN')).toBe('+8613123456790')
  })

  test('a reading that is not sent to is no rival', () => {
    // +43 1 4764650 in Vienna is also (431) 476-4650 in Manitoba: a landline the one, perhaps a mobile the other.
    expect(read('4314764650', 'CA')).toBe('+14314764650')
    expect(read('4314764650', 'CA', { lineTypes: ['mobile', 'fixed_line'] })).toBe('+4314764650')
    expect(read('13123456790', 'CN', { countries: ['CN', 'HK'] })).toBe('+8613123456790')
    expect(read('13123456790', 'CN', { countries: ['US'] })).toBe('+13123456790')
    // What is refused by a rule that only observes is sent to.
    const observing = { countries: ['CN'], rules: { country: 'observe' } } as const
    expect(read('13123456790', 'CN', observing)).toBe('INVALID_NUMBER')
  })

  test.each([
    ['CN', '131 2345 6790', '+8613123456790', { countries: ['CN'] }],
    ['IT', '326 066 0289', '+393260660289', {}],
    ['CO', '322 4448247', '+573224448247', {}],
    ['ML', '68 64 68 41', '+22368646841', {}],
    ['PL', '508 448 003', '+48508448003', { countries: ['PL'] }],
    ['US', '(201) 555-0124', '+12015550124', { countries: ['US'] }],
  ])('%s: %s is %s', (country, text, number, protection) => {
    expect(read(text, country, protection)).toBe(number)
  })

  // A seed of its own for each country: the figures are the same in every run.
  test.each(['CA', 'CO', 'IT', 'ML', 'TD', 'SN', 'ZA', 'GH', 'DE', 'GB'])(
    'random mobiles of %s as people there write them are read, doubtful ones but for a few',
    (country) => {
      const wrong = mobilesOf(country, 300).filter(({ number, national }) => {
        const seen = read(national, country)
        return seen !== number && seen !== 'INVALID_NUMBER'
      })
      expect(wrong).toEqual([])
      const doubtful = mobilesOf(country, 300).filter(
        ({ national }) => read(national, country) === 'INVALID_NUMBER',
      )
      expect(doubtful.length).toBeLessThanOrEqual(3)
    },
  )

  test.each(['CN', 'US', 'MX', 'PL', 'IT'])(
    'where only %s is sent to none of its mobiles is doubtful',
    (country) => {
      for (const { number, national } of mobilesOf(country, 300))
        expect(read(national, country, { countries: [country] })).toBe(number)
    },
  )

  test('where national numbers begin with 0, digits without it are international', () => {
    expect(read('4915123456789', 'DE')).toBe('+4915123456789')
    expect(read('233241234567', 'GH')).toBe('+233241234567')
  })

  test('a national number that lacks its 0 is still read where nothing else fits', () => {
    expect(read('241234567', 'GH')).toBe('+233241234567')
  })
})

describe('a country’s own prefix for calls abroad', () => {
  test.each([
    ['KE', '000 233 24 123 4567'],
    ['TZ', '000 233 24 123 4567'],
    ['UG', '000 233 24 123 4567'],
    ['AU', '0011 233 24 123 4567'],
    ['NG', '009 233 24 123 4567'],
    ['HK', '001 233 24 123 4567'],
    ['SG', '001 233 24 123 4567'],
    ['KR', '00700 233 24 123 4567'],
    ['BR', '0014 233 24 123 4567'],
    ['TH', '001 233 24 123 4567'],
    ['ID', '008 233 24 123 4567'],
    ['JP', '010 233 24 123 4567'],
    ['US', '011 233 24 123 4567'],
    ['RU', '8 10 233 24 123 4567'],
    ['FI', '99559 233 24 123 4567'],
  ])('of %s: %s', (country, text) => {
    expect(read(text, country)).toBe('+233241234567')
  })

  test('every country’s, before every country’s example mobile', () => {
    const wrong = getCountries().flatMap((country) => {
      return (['GH', 'US', 'DE', 'IN', 'BR', 'SG'] as const).flatMap((to) => {
        const example = getExampleNumber(to, examples)
        const text = example?.format('IDD', { fromCountry: country }) || example?.number
        const seen = read(text ?? '', country)
        return seen === example?.number ? [] : [[country, text, seen]]
      })
    })
    // 009 is a prefix there, and +1 812 345 6789 a number: which one is meant cannot be told.
    expect(wrong).toEqual([['HK', '00 91 81234 56789', 'INVALID_NUMBER']])
  })

  test('is read where the app’s country has it, and nowhere else', () => {
    expect(read('0011 233 24 123 4567')).toBe('INVALID_NUMBER')
    expect(read('0011 233 24 123 4567', 'GH')).toBe('INVALID_NUMBER')
  })

  test('00 is understood everywhere', () => {
    for (const country of getCountries())
      expect(read('00233241234567', country)).toBe('+233241234567')
  })
})

describe('plans that changed', () => {
  test.each([
    ['Mexico with the 1 of mobiles', '+52 1 55 1234 5678', '+525512345678'],
    ['Brazil without the ninth digit', '+55 11 8123 4567', '+5511981234567'],
    ['Benin of eight digits', '+229 97 12 34 56', '+2290197123456'],
    ['Cameroon of eight digits', '+237 71 23 45 67', '+237671234567'],
    ['Mauritius of seven digits', '+230 712 3456', '+23057123456'],
    ['Vietnam of eleven digits', '+84 162 123 4567', '+84321234567'],
    ['Argentina without the 9', '+54 11 2345-6789', '+5491123456789'],
  ])('%s', (_name, text, number) => {
    expect(read(text)).toBe(number)
    expect(read(text.replace('+', '00'))).toBe(number)
    expect(read(number)).toBe(number)
  })

  test.each([
    ['MX', '044 55 1234 5678', '+525512345678'],
    ['MX', '01 55 1234 5678', '+525512345678'],
    ['BR', '(11) 8123-4567', '+5511981234567'],
    ['BJ', '97 12 34 56', '+2290197123456'],
    ['VN', '0162 123 4567', '+84321234567'],
    ['AR', '11 2345-6789', '+5491123456789'],
    ['AR', '011 15-2345-6789', '+5491123456789'],
  ])('at home in %s: %s', (country, text, number) => {
    expect(read(text, country)).toBe(number)
  })

  test('an Argentine landline is one where landlines are sent to', () => {
    expect(read('+54 11 2345-6789', null, { lineTypes: ['mobile', 'fixed_line'] })).toBe(
      '+541123456789',
    )
  })

  test('where today’s number does not follow, the change is said', () => {
    for (const [text, country] of [
      ['+225 07 12 34 56', null],
      ['07 12 34 56', 'CI'],
    ] as const)
      expect(() => readPhoneNumber(text, readingOf(country))).toThrow('ten digits since 2021')
  })

  test('too many and too few digits are said, and nothing of the number', () => {
    expect(() => readPhoneNumber('+2332412345', null)).toThrow('too few digits')
    expect(() => readPhoneNumber('+2332412345678901', null)).toThrow('too many digits')
    expect(() => readPhoneNumber('+999123456789', null)).toThrow('no country code')
  })
})

describe('what is no number', () => {
  test.each([
    '',
    ' ',
    '+',
    '00',
    'abc',
    '+233',
    '+2332412345',
    '+23324123456789012',
    '+233241234567x12',
    '+233241234567 ext. 1',
    'sip:+233241234567',
    '++233241234567',
    '+233+241234567',
    '+233/24/1234567',
    '+233 24 123 4567/68',
    '+233 24 123 4567 / 0201234567',
    '+233241234567,123',
    '+999123456789',
    '+8707731234',
    '+15555555555',
    '+233241234567;+233241234568',
    '1'.repeat(16),
    '9'.repeat(41),
    '233241234567\0',
  ])('%j is refused', (text) => {
    expect(read(text)).toBe('INVALID_NUMBER')
  })
})
