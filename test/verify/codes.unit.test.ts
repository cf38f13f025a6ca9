import { createHash } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import fc from '../harness/properties'
import { type CodeSeed, deriveCode, macMatches, macOfCode, normaliseCode } from '../../codes/code'
import { type Keyring, UnknownKey } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { type Alphabet, alphabets, charactersOf, codeSpace } from '../../core/verify/alphabet'
import { codeLengths } from '../../core/limits'
import type { SendBody } from '../../api/contract/send'
import { lifetimeOf } from '../../api/send-wish'
import type { App } from '../../db/apps/apps'
import { messageText } from '../../core/messages/text'

/** Keys that are the same in every run. */
const keyOf = (kid: string) => ({ kid, key: createHash('sha256').update(`key ${kid}`).digest() })
const known = ['a', 'b']
const keyring: Keyring = {
  active: () => keyOf('a'),
  oldest: () => keyOf('a'),
  all: () => known.map(keyOf),
  find(purpose, kid) {
    if (!known.includes(kid)) throw new UnknownKey(purpose, kid)
    return keyOf(kid)
  },
}

const saltOf = (i: number) => createHash('sha256').update(`salt ${i}`).digest().subarray(0, 16)

const seedOf = (given: Partial<CodeSeed> = {}): CodeSeed => ({
  requestId: 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa',
  generation: 1,
  kid: 'a',
  salt: saltOf(0),
  length: 6,
  alphabet: 'digits',
  ...given,
})

const anySeed = fc.record({
  requestId: fc.stringMatching(/^otp_[a-z2-7]{26}$/),
  generation: fc.integer({ min: 1, max: 1_000 }),
  kid: fc.constantFrom(...known),
  salt: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
  length: fc.integer(codeLengths),
  alphabet: fc.constantFrom(...alphabets),
})

/** Of chi-square at p = 0.001, by degrees of freedom. */
const critical: Record<Alphabet, number> = { digits: 27.88, alphanumeric: 59.7 }

describe('a code', () => {
  test('of digits is what it was before there were other alphabets', () => {
    const requestId = 'otp_k3v7x2m4q6t5z7a2b4c6d3e5f7'
    const lengths = [6, 7, 8, 9, 10]
    // Written down from the version before: requests that were live then are still checked.
    expect(lengths.map((length) => deriveCode(keyring, seedOf({ requestId, length })))).toEqual([
      '299899',
      '3862603',
      '76605179',
      '123631895',
      '1843326670',
    ])
  })

  test.each(alphabets)('has no character likelier than another, at any place (%s)', (alphabet) => {
    const characters = charactersOf[alphabet]
    const count = 40_000
    const length = 6
    const seen = Array.from({ length }, () => new Map<string, number>())
    for (let i = 0; i < count; i++) {
      const code = deriveCode(keyring, seedOf({ salt: saltOf(i), alphabet, length }))
      for (const [place, character] of [...code].entries())
        seen[place]?.set(character, (seen[place]?.get(character) ?? 0) + 1)
    }
    const expected = count / characters.length
    for (const counts of seen) {
      expect([...counts.keys()].sort().join('')).toBe(characters)
      const chiSquare = [...counts.values()].reduce(
        (sum, found) => sum + (found - expected) ** 2 / expected,
        0,
      )
      expect(chiSquare).toBeLessThan(critical[alphabet])
    }
  })

  test('is the same at every call, of its length and its alphabet', () => {
    fc.assert(
      fc.property(anySeed, (seed) => {
        const code = deriveCode(keyring, seed)
        expect(deriveCode(keyring, { ...seed, salt: Buffer.from(seed.salt) })).toBe(code)
        expect(code).toHaveLength(seed.length)
        for (const character of code) expect(charactersOf[seed.alphabet]).toContain(character)
      }),
      { numRuns: 500 },
    )
  })

  test('changes with the request, the generation, the salt, the key and the length', () => {
    const others: Partial<CodeSeed>[] = [
      { requestId: 'otp_baaaaaaaaaaaaaaaaaaaaaaaaa' },
      { generation: 2 },
      { salt: saltOf(1) },
      { kid: 'b' },
    ]
    for (const alphabet of alphabets) {
      for (const other of others) {
        const same = Array.from({ length: 50 }, (_, i) => {
          const seed = seedOf({ alphabet, length: 10, salt: saltOf(100 + i) })
          const changed = 'salt' in other ? { salt: saltOf(900 + i) } : other
          return deriveCode(keyring, seed) === deriveCode(keyring, { ...seed, ...changed })
        })
        expect(same).not.toContain(true)
      }
      const [six, seven] = [6, 7].map((length) => deriveCode(keyring, seedOf({ alphabet, length })))
      expect(seven?.endsWith(six ?? '')).toBe(false)
    }
  })

  test('has as many possible values as are counted with', () => {
    expect(codeSpace('digits', 6)).toBe(1_000_000)
    expect(codeSpace('alphanumeric', 6)).toBe(31 ** 6)
    for (const mistaken of '0O1IL') expect(charactersOf.alphanumeric).not.toContain(mistaken)
  })

  test('under a key that is not known here cannot be derived or checked', () => {
    expect(() => deriveCode(keyring, seedOf({ kid: 'c' }))).toThrow(UnknownKey)
    expect(() => macOfCode(keyring, seedOf({ kid: 'c' }), '000000')).toThrow(UnknownKey)
  })

  test('is read aloud character by character', () => {
    const read = (channel: 'voice' | 'sms', code: string) =>
      messageText({
        ...{ channel, message: '{{code}}', template: undefined, locale: 'en' },
        ...{ brand: 'Acme', lifetimeSeconds: 300, code },
      }).text
    expect(read('voice', '482910')).toBe('4 8 2 9 1 0')
    expect(read('voice', 'A7K2MZ')).toBe('A, 7, K, 2, M, Z')
    expect(read('sms', 'A7K2MZ')).toBe('A7K2MZ')
  })
})

describe('comparing', () => {
  test('capital and small letters are the same where there are letters', () => {
    expect(normaliseCode('a7k2mz', 'alphanumeric')).toBe('A7K2MZ')
    expect(normaliseCode('482910', 'digits')).toBe('482910')
  })

  test('only the code of the same request and generation matches, and nothing where nothing is stored', () => {
    const seed = seedOf()
    const code = deriveCode(keyring, seed)
    const stored = macOfCode(keyring, seed, code)
    expect(stored).toHaveLength(32)
    expect(macMatches(macOfCode(keyring, seed, code), stored)).toBe(true)
    expect(macMatches(macOfCode(keyring, { ...seed, generation: 2 }, code), stored)).toBe(false)
    expect(macMatches(macOfCode(keyring, { ...seed, requestId: 'otp_b' }, code), stored)).toBe(
      false,
    )
    expect(macMatches(macOfCode(keyring, { ...seed, kid: 'b' }, code), stored)).toBe(false)
    expect(macMatches(Buffer.alloc(32), null)).toBe(false)
  })

  test('whatever is typed is compared without a fault', () => {
    const stored = macOfCode(keyring, seedOf(), deriveCode(keyring, seedOf()))
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (typed) => {
        for (const alphabet of alphabets)
          expect(
            macMatches(macOfCode(keyring, seedOf(), normaliseCode(typed, alphabet)), stored),
          ).toBe(false)
      }),
      { numRuns: 300 },
    )
  })
})

describe('the lifetime of a code', () => {
  const app = (maxExpirySeconds: number, highRiskExpirySeconds = 180) =>
    ({ maxExpirySeconds, highRiskExpirySeconds }) as App
  const wish = (given: Partial<SendBody>) => given as SendBody

  test('is 300 s, or what was asked for within what the app allows', () => {
    expect(lifetimeOf(wish({}), app(300))).toBe(300)
    expect(lifetimeOf(wish({}), app(600))).toBe(300)
    expect(lifetimeOf(wish({}), app(120))).toBe(120)
    for (const seconds of [30, 600])
      expect(lifetimeOf(wish({ expiry_seconds: seconds }), app(600))).toBe(seconds)
    for (const [seconds, most] of [
      [29, 600],
      [601, 600],
      [301, 300],
      [601, 6_000],
    ] as const)
      expect(() => lifetimeOf(wish({ expiry_seconds: seconds }), app(most))).toThrow(
        expect.objectContaining({ code: 'INVALID_EXPIRY' }),
      )
  })

  test('is shorter at high risk, as the app says', () => {
    expect(lifetimeOf(wish({ risk: 'high' }), app(300))).toBe(180)
    expect(lifetimeOf(wish({ risk: 'high' }), app(600, 60))).toBe(60)
    expect(lifetimeOf(wish({ risk: 'high', expiry_seconds: 45 }), app(600, 60))).toBe(45)
    expect(lifetimeOf(wish({ risk: 'high' }), app(100, 180))).toBe(100)
  })
})

test('a request id has 130 random bits: 26 characters of 32, each as likely as the others', () => {
  const count = 4_000
  const ids = Array.from({ length: count }, () => randomId('otp'))
  expect(new Set(ids).size).toBe(count)
  const seen = new Map<string, number>()
  for (const id of ids) {
    expect(id).toMatch(/^otp_[a-z2-7]{26}$/)
    for (const character of id.slice(4)) seen.set(character, (seen.get(character) ?? 0) + 1)
  }
  const expected = (count * 26) / 32
  const chiSquare = [...seen.values()].reduce(
    (sum, found) => sum + (found - expected) ** 2 / expected,
    0,
  )
  expect(seen.size).toBe(32)
  // 31 degrees of freedom; random ids exceed this once in some 10 million runs.
  expect(chiSquare).toBeLessThan(92)
})
