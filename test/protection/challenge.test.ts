import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type Challenge, solveChallenge } from 'altcha-lib'
import { deriveKey } from 'altcha-lib/algorithms/pbkdf2'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { type Challenges, createChallenges } from '../../api/challenges'
import type { ChallengeUse } from '../../api/challenges/challenge'
import type { Keyring } from '../../codes/keyring'
import { deleteOutlived } from '../../db/upkeep/cleanup'
import { solvedText } from '../harness/challenge'
import { requestsOnly } from '../harness/requests'

const logger = pino({ level: 'silent' })
let base: Awaited<ReturnType<typeof requestsOnly>>
let challenges: Challenges

beforeAll(async () => {
  base = await requestsOnly()
  challenges = createChallenges({ ...base, logger })
})
afterAll(() => base.close())

const useOf = (app: string, given: Partial<ChallengeUse> = {}): ChallengeUse => ({
  app,
  action: 'send',
  accepted: { kinds: ['altcha'] },
  ...given,
})
const spend = async (app: string, text: string, by = challenges) =>
  (await by.spend(text, useOf(app))).outcome === 'solved'

const solved = async (challenge?: Challenge) =>
  solvedText(challenge ?? (await challenges.issue({ app: 'app' })))

interface Payload {
  challenge: Challenge
  solution: { counter: number; derivedKey: string }
}
/** A solved challenge with something changed in it. */
const altered = async (change: (payload: Payload) => void) => {
  const payload = JSON.parse(Buffer.from(await solved(), 'base64').toString()) as Payload
  change(payload)
  return Buffer.from(JSON.stringify(payload)).toString('base64')
}

describe('a solved challenge', () => {
  test('counts once', async () => {
    const text = await solved()
    expect(await spend('app', text)).toBe(true)
    expect(await spend('app', text)).toBe(false)
  })

  test('counts once of 50 tries at the same time', async () => {
    const text = await solved()
    const tries = await Promise.all(Array.from({ length: 50 }, () => spend('app', text)))
    expect(tries.filter(Boolean)).toHaveLength(1)
  })

  test('written differently is still the same one', async () => {
    const text = await solved()
    const again = await altered((payload) => {
      Object.assign(payload, JSON.parse(Buffer.from(text, 'base64').toString()))
      payload.challenge.parameters = Object.fromEntries(
        Object.entries(payload.challenge.parameters).reverse(),
      ) as unknown as Challenge['parameters']
    })
    expect(again).not.toBe(text)
    expect(await spend('app', text)).toBe(true)
    expect(await spend('app', again)).toBe(false)
  })

  test('is of one app, and a try with another does not spend it', async () => {
    const text = await solved()
    expect(await spend('other', text)).toBe(false)
    expect(await spend('app', text)).toBe(true)
  })

  test('is still good after the key that signed it was replaced', async () => {
    const text = await solved()
    const other = { kid: 'newer', key: Buffer.alloc(32, 7) }
    const rotated: Keyring = {
      ...base.keyring,
      active: () => other,
      all: (purpose) => [other, ...base.keyring.all(purpose)],
    }
    const after = createChallenges({ ...base, logger, keyring: rotated })
    expect(await spend('app', text, after)).toBe(true)
  })

  test('of keys that nobody holds any more is worth nothing', async () => {
    const text = await solved()
    const other = { kid: 'other', key: Buffer.alloc(32, 7) }
    const keyring: Keyring = { ...base.keyring, active: () => other, all: () => [other] }
    const after = createChallenges({ ...base, logger, keyring })
    expect(await spend('app', text, after)).toBe(false)
  })
})

describe('nothing else is taken', () => {
  test.each<[string, (payload: Payload) => void]>([
    ['a lower cost', ({ challenge }) => void (challenge.parameters.cost = 1)],
    [
      'a later end',
      ({ challenge }) =>
        void (challenge.parameters.expiresAt = Math.floor(Date.now() / 1_000) + 86_400),
    ],
    ['no end', ({ challenge }) => void delete challenge.parameters.expiresAt],
    ['another nonce', ({ challenge }) => void (challenge.parameters.nonce = '00'.repeat(16))],
    ['an easier prefix', ({ challenge }) => void (challenge.parameters.keyPrefix = '00')],
    [
      'no signature of the answer',
      ({ challenge }) => void delete challenge.parameters.keySignature,
    ],
    ['no signature', ({ challenge }) => void delete challenge.signature],
    ['another app', ({ challenge }) => void (challenge.parameters.data = { app: 'other' })],
    ['one field more', ({ challenge }) => void Object.assign(challenge.parameters, { x: 1 })],
    ['another answer', ({ solution }) => void (solution.derivedKey = '00'.repeat(32))],
    ['no answer', (payload) => void Object.assign(payload, { solution: {} })],
  ])('%s', async (_what, change) => {
    const text = await altered(change)
    expect(await spend('app', text)).toBe(false)
    expect(await spend('other', text)).toBe(false)
  })

  test('text that is no solution at all', async () => {
    const texts = ['', '{}', 'bm9uZQ==', btoa('null'), btoa('[]'), btoa('{"challenge":1}')]
    texts.push('A'.repeat(4_096), btoa(`${'['.repeat(2_000)}${']'.repeat(2_000)}`), '\u0000\ud800')
    for (const text of texts) expect(await spend('app', text)).toBe(false)
  })

  test('an unsolved challenge with a guess', async () => {
    const challenge = await challenges.issue({ app: 'app' })
    const guess = { counter: 1, derivedKey: `${challenge.parameters.keyPrefix}${'0'.repeat(32)}` }
    const text = Buffer.from(JSON.stringify({ challenge, solution: guess })).toString('base64')
    expect(await spend('app', text)).toBe(false)
  })
})

describe('time', () => {
  test('a challenge lives five minutes at most, and the database says when it is over', async () => {
    const challenge = await challenges.issue({ app: 'app' })
    const end = challenge.parameters.expiresAt ?? Infinity
    expect(end - Date.now() / 1_000).toBeLessThanOrEqual(300)
    const text = await solved(challenge)
    const realNow = Date.now
    // This process's clock only; the one that Postgres has goes on.
    Date.now = () => realNow() + 301_000
    try {
      expect(await spend('app', text)).toBe(false)
    } finally {
      Date.now = realNow
    }
    expect(await spend('app', text)).toBe(true)
  })

  test('a process whose clock is behind cannot spend what cleanup has taken away', async () => {
    const realNow = Date.now
    let text: string
    try {
      Date.now = () => realNow() - 400_000
      text = await solved()
      expect(await spend('app', text)).toBe(false)
    } finally {
      Date.now = realNow
    }
  })

  test('cleanup takes what is over and leaves what is not', async () => {
    const text = await solved()
    expect(await spend('app', text)).toBe(true)
    await base.db.many(
      sql`insert into spent_challenges (id, expires_at) values ('old', now() - interval '1 second')`,
    )
    await deleteOutlived(base.db, 1_000)
    const left = await base.db.many<{ id: string }>(sql`select id from spent_challenges`)
    expect(left.map(({ id }) => id)).not.toContain('old')
    expect(left.length).toBeGreaterThan(0)
    expect(await spend('app', text)).toBe(false)
  })
})

test('solving costs what docs/api.md says, within what a busy machine adds', async () => {
  const times: number[] = []
  for (let round = 0; round < 10; round++) {
    const solution = await solveChallenge({
      challenge: await challenges.issue({ app: 'app' }),
      deriveKey,
    })
    times.push(solution?.time ?? NaN)
  }
  const mean = times.reduce((sum, time) => sum + time) / times.length
  expect(mean).toBeGreaterThan(20)
  expect(mean).toBeLessThan(5_000)
})
