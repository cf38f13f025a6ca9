import { describe, expect, test } from '@jest/globals'
import { readNetworkNumber } from '../../api/network-number'
import { isSameSubscriber, spellingsOf } from '../../core/recipients/subscriber'
import fc from '../harness/properties'

/** Each line is one subscriber, today's spelling first. */
const subscribers: [country: string, ...spellings: string[]][] = [
  ['Mexico', '+525512345678', '+5215512345678'],
  ['Brazil', '+5531996883193', '+553196883193'],
  ['Brazil, beginning with 9', '+5511999998888', '+551199998888'],
  ['Argentina, Buenos Aires', '+5491123456789', '+541123456789', '+54111523456789'],
  ['Argentina, three digits', '+5493512345678', '+543512345678', '+54351152345678'],
  ['Argentina, four digits', '+5492966412345', '+542966412345', '+54296615412345'],
  ['Côte d’Ivoire, Orange', '+2250707123456', '+22507123456'],
  ['Côte d’Ivoire, MTN', '+2250545123456', '+22545123456'],
  ['Côte d’Ivoire, Moov', '+2250102123456', '+22502123456'],
  ['Benin', '+2290197123456', '+22997123456'],
  ['Gabon', '+24166031234', '+24106031234'],
  ['Gabon, Airtel', '+24174123456', '+24104123456'],
  ['Cameroon', '+237677123456', '+23777123456'],
  ['Vietnam', '+84392345678', '+841692345678'],
]

describe.each(subscribers)('%s', (_country, ...spellings) => {
  test('every spelling leads to all, today’s first', () => {
    for (const spelling of spellings) {
      expect(spellingsOf(spelling)[0]).toBe(spellings[0])
      expect(spellingsOf(spelling)).toEqual(expect.arrayContaining(spellings))
      expect(spellingsOf(spelling)).toEqual(spellingsOf(spellings[0] ?? ''))
    }
  })

  test.each([
    (digits: string) => `+${digits}`,
    (digits: string) => digits,
    (digits: string) => `00${digits}`,
    (digits: string) => ` ${digits}`,
    (digits: string) => `whatsapp:+${digits}`,
    (digits: string) => `tel:+${digits}`,
    (digits: string) => `\u202a+${digits}\u202c`,
  ])('as a network may write it: %#', (written) => {
    for (const spelling of spellings)
      expect(readNetworkNumber(written(spelling.slice(1)))).toEqual(
        expect.arrayContaining(spellings),
      )
  })
})

test.each([
  ['a landline of Brazil', '+553132345678', '+5531932345678'],
  ['another area of Mexico', '+525512345678', '+523312345678'],
  ['another operator of Côte d’Ivoire', '+2250707123456', '+2250507123456'],
  ['a number without other spellings', '+233241234567', '+233241234568'],
])('%s is another subscriber', (_title, one, other) => {
  expect([isSameSubscriber(one, other), isSameSubscriber(other, one)]).toEqual([false, false])
})

test.each([
  ['+233241234567', ['+233241234567']],
  ['2330241234567', ['+233241234567', '+2330241234567']],
  ['33 6 12 34 56 78', ['+33612345678']],
])('%s is read as %j', (written, spellings) => {
  expect(readNetworkNumber(written)).toEqual(spellings)
})

test.each(['', 'Acme', '0241234567', '12345', '+', 'whatsapp:', '+1234567890123456', '\u0000'])(
  '%j is no international number',
  (written) => expect(readNetworkNumber(written)).toBeUndefined(),
)

test('spellings are an equivalence, whatever the number', () => {
  const countries = ['52', '521', '55', '54', '549', '225', '229', '241', '237', '84', '233', '1']
  const number = fc
    .tuple(fc.constantFrom(...countries), fc.stringMatching(/^[0-9]{7,12}$/))
    .map(([country, rest]) => `+${country}${rest}`.slice(0, 16))
  fc.assert(
    fc.property(number, (one) => {
      const all = spellingsOf(one)
      expect(all).toContain(one)
      expect(new Set(all).size).toBe(all.length)
      for (const spelling of all) expect(spellingsOf(spelling)).toEqual(all)
    }),
    { numRuns: 2_000 },
  )
})
