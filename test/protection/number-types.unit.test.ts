import { describe, expect, test } from '@jest/globals'
import { getCountries, getExampleNumber } from 'libphonenumber-js/max'
import examples from 'libphonenumber-js/mobile/examples'
import { readPhoneNumber } from '../../api/phone-number'
import { faultsOfNumber } from '../../core/protection/number'
import { judgeLists, type ListMatch } from '../../core/protection/lists'
import { type LineType, usualProtection } from '../../core/protection/protection'

const groups = { caribbean: ['BS', 'JM', 'DO'] }
const rulesOf = (
  text: string,
  given: { countries?: string[]; lineTypes?: LineType[]; everywhere?: boolean } = {},
) => {
  const { everywhere = true, countries, lineTypes = usualProtection.lineTypes } = given
  const faults = faultsOfNumber(
    readPhoneNumber(text, null),
    { countries, lineTypes },
    { groups, everywhere },
  )
  return faults.map(({ rule }) => rule)
}

describe('the kind of a number', () => {
  test.each<[string, LineType, string]>([
    ['+233241234567', 'mobile', 'GH'],
    ['+2250701234567', 'mobile', 'CI'],
    ['+491771234567', 'mobile', 'DE'],
    ['+12015550123', 'fixed_line_or_mobile', 'US'],
  ])('%s (%s, %s) is sent to', (number, lineType, country) => {
    expect(readPhoneNumber(number, null)).toEqual({ number, country, lineType })
    expect(rulesOf(number)).toEqual([])
  })

  test.each<[string, LineType, string]>([
    ['+233302123456', 'fixed_line', 'GH'],
    ['+449012345678', 'premium_rate', 'GB'],
    ['+33891000000', 'premium_rate', 'FR'],
    ['+448001111111', 'toll_free', 'GB'],
    ['+498001234567', 'toll_free', 'DE'],
    ['+4918012345', 'shared_cost', 'DE'],
    ['+447640123456', 'pager', 'GB'],
    ['+447012345678', 'personal_number', 'GB'],
    ['+445512345678', 'uan', 'GB'],
    ['+33912345678', 'voip', 'FR'],
  ])('%s (%s, %s) is not, unless its kind is named', (number, lineType, country) => {
    expect(readPhoneNumber(number, null)).toEqual({ number, country, lineType })
    expect(rulesOf(number)).toEqual(['number_type'])
    expect(rulesOf(number, { lineTypes: [lineType] })).toEqual([])
  })

  test('the example mobile of every country is sent to', () => {
    const refused = getCountries().filter((country) => {
      const number = getExampleNumber(country, examples)?.number
      return number !== undefined && rulesOf(number).length > 0
    })
    expect(refused).toEqual([])
  })

  test.each<[string, LineType]>([
    ['+870773111632', 'mobile'],
    ['+881612345678', 'mobile'],
    ['+883510012345678', 'voip'],
    ['+878101234567890', 'voip'],
    ['+979123456789', 'premium_rate'],
    ['+80012345678', 'toll_free'],
    ['+80812345678', 'shared_cost'],
  ])('%s is of no country, and not sent to whatever its kind', (number, lineType) => {
    expect(readPhoneNumber(number, null)).toEqual({ number, country: null, lineType })
    expect(rulesOf(number, { lineTypes: [lineType] })).toEqual(['satellite'])
    expect(rulesOf(number, { lineTypes: [lineType, 'satellite'] })).toEqual([])
    expect(rulesOf(number, { lineTypes: [lineType, 'satellite'], countries: ['GH'] })).toEqual([
      'country',
    ])
  })
})

describe('countries', () => {
  test.each([
    ['GG', '+447911123456', 'GB'],
    ['IM', '+447624123456', 'GB'],
    ['JE', '+447797123456', 'GB'],
    ['BS', '+12423591234', 'US'],
    ['JM', '+18762101234', 'US'],
    ['KZ', '+77011234567', 'RU'],
  ])('%s is not what shares its calling code: %s is not of %s', (country, number, other) => {
    expect(rulesOf(number, { countries: [other] })).toEqual(['country'])
    expect(rulesOf(number, { countries: [country] })).toEqual([])
  })

  test('groups stand for their countries', () => {
    expect(rulesOf('+12423591234', { countries: ['caribbean'] })).toEqual([])
    expect(rulesOf('+12015550123', { countries: ['caribbean'] })).toEqual(['country'])
  })

  test('without a list every country is sent to where that is allowed, and none elsewhere', () => {
    expect(rulesOf('+233241234567', { everywhere: true })).toEqual([])
    expect(rulesOf('+233241234567', { everywhere: false })).toEqual(['country'])
    expect(rulesOf('+233241234567', { everywhere: false, countries: ['GH'] })).toEqual([])
  })

  test('what would have to change is said', () => {
    const { lineTypes } = usualProtection
    const where = { groups, everywhere: false }
    const ghana = readPhoneNumber('+233241234567', null)
    const details = (countries?: string[]) =>
      faultsOfNumber(ghana, { countries, lineTypes }, where).map(({ detail }) => detail)
    expect(details()).toEqual([expect.stringContaining('"countries": ["GH"]')])
    expect(details(['NG'])).toEqual([expect.stringContaining('add "GH" to "countries"')])
  })
})

describe('lists', () => {
  const entry = (
    verdict: ListMatch['verdict'],
    kind: ListMatch['kind'],
    { length = 0, isGlobal = false }: Partial<ListMatch> = {},
  ): ListMatch => ({ verdict, kind, length, isGlobal })
  const [blocked, allowed, exempt, nothing] = [
    { isBlocked: true, isAllowed: false, isExempt: false },
    { isBlocked: false, isAllowed: true, isExempt: false },
    { isBlocked: false, isAllowed: true, isExempt: true },
    { isBlocked: false, isAllowed: false, isExempt: false },
  ]
  test.each<[string, ListMatch[], object]>([
    ['nothing', [], nothing],
    ['a number blocked', [entry('block', 'phone_number')], blocked],
    ['a number allowed', [entry('allow', 'phone_number')], exempt],
    ['a prefix allowed', [entry('allow', 'prefix', { length: 5 })], allowed],
    [
      'a number beats a prefix',
      [entry('block', 'prefix', { length: 11 }), entry('allow', 'phone_number')],
      exempt,
    ],
    [
      'a longer prefix beats a shorter one',
      [entry('allow', 'prefix', { length: 5 }), entry('block', 'prefix', { length: 4 })],
      allowed,
    ],
    [
      'a prefix beats its country',
      [entry('allow', 'country'), entry('block', 'prefix', { length: 2 })],
      blocked,
    ],
    ['of two as exact the block', [entry('allow', 'email'), entry('block', 'email')], blocked],
    [
      'the address beats its domain, a domain the one it is in',
      [entry('block', 'domain', { length: 2 }), entry('allow', 'domain', { length: 3 })],
      allowed,
    ],
    [
      'a network is about somebody else: either blocks',
      [entry('allow', 'phone_number'), entry('block', 'network', { length: 24 })],
      blocked,
    ],
    [
      'a smaller network beats a larger one',
      [entry('block', 'network', { length: 8 }), entry('allow', 'network', { length: 24 })],
      allowed,
    ],
    [
      'no app lifts what the operators block',
      [entry('allow', 'phone_number'), entry('block', 'prefix', { length: 4, isGlobal: true })],
      blocked,
    ],
    [
      'nor do the operators lift what an app blocks',
      [entry('block', 'prefix', { length: 4 }), entry('allow', 'phone_number', { isGlobal: true })],
      blocked,
    ],
  ])('%s', (_title, matches, verdict) => {
    expect(judgeLists(matches)).toEqual(verdict)
    expect(judgeLists(matches.toReversed())).toEqual(verdict)
  })
})
