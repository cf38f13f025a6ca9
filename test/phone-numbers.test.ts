import { describe, expect, test } from '@jest/globals'
import { getCountries, getExampleNumber } from 'libphonenumber-js/max'
import examples from 'libphonenumber-js/mobile/examples'
import { readPhoneNumber } from '../api/phone-number'
import { Problem } from '../api/problem'

const read = (text: string, defaultCountry: string | null = null) => {
  try {
    return readPhoneNumber(text, defaultCountry).number
  } catch (error) {
    return error instanceof Problem ? error.code : error
  }
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
    ['07 01 23 45 67', 'CI', '+2250701234567'],
  ])('%s with the default country %s is %s', (text, country, number) => {
    expect(read(text, country)).toBe(number)
  })

  test('without a default country they are refused, with a hint', () => {
    expect(() => readPhoneNumber('0241234567', null)).toThrow('+233241234567')
    expect(read('202-555-0123')).toBe('INVALID_NUMBER')
  })

  test('a number that is valid with and without a country code is refused, not guessed', () => {
    // +43 1 4764650 in Vienna is also (431) 476-4650 in Manitoba, where nobody writes a digit before it.
    expect(read('4314764650')).toBe('+4314764650')
    expect(read('4314764650', 'CA')).toBe('INVALID_NUMBER')
    expect(() => readPhoneNumber('4314764650', 'CA')).toThrow('leading +')
    expect(read('+4314764650', 'CA')).toBe('+4314764650')
    expect(read('+14314764650', 'CA')).toBe('+14314764650')
  })

  test('where national numbers begin with 0, digits without it are international', () => {
    expect(read('4915123456789', 'DE')).toBe('+4915123456789')
    expect(read('233241234567', 'GH')).toBe('+233241234567')
  })

  test('a national number that lacks its 0 is still read where nothing else fits', () => {
    expect(read('241234567', 'GH')).toBe('+233241234567')
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
    'tel:+233241234567',
    '++233241234567',
    '+233+241234567',
    '+233/24/1234567',
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
