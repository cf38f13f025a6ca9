import { describe, expect, test } from '@jest/globals'
import fc from '../harness/properties'
import {
  expectedPending,
  judgeMatured,
  judgeSend,
  type KnownScope,
  pendingLimit,
} from '../../core/protection/rules'
import {
  blockOf,
  rangeOf,
  rowsOf,
  scopeNamed,
  scopeOfRow,
  scopesOf,
} from '../../core/protection/scopes'
import { closeGaps, noStanding, type Standing, wilsonUpper } from '../../core/protection/standing'
import { verdictOf } from '../../core/protection/verdict'

const send = {
  app: 'shop',
  environment: 'production' as const,
  number: '+233241234567',
  country: 'GH',
  ip: 'ab12',
  keys: { device: 'cd34' },
}

/** The send's scopes with what is given of some, the rest being as good as new. */
const known = (given: Partial<Record<KnownScope['kind'], Partial<Standing>>>): KnownScope[] =>
  scopesOf(send).map(({ kind, name }) => ({
    kind,
    name,
    standing: { ...noStanding, pending: 1, ...given[kind] },
  }))
const rulesOf = (...args: Parameters<typeof judgeSend>) =>
  judgeSend(...args).map(({ rule }) => rule)

/** What an app's counts settle at whose users come at a pace, of whom so many come back with their code. */
const steady = (perSecond: number, converts: number, typingSeconds = 30): Standing => ({
  ...noStanding,
  pending: perSecond * (600 * (1 - converts) + converts * typingSeconds),
  passed: perSecond * converts * 600,
  passedHour: perSecond * converts * 3_600,
  failed: perSecond * (1 - converts) * 86_400,
  passedDay: perSecond * converts * 86_400,
  passedEver: perSecond * converts * 30 * 86_400,
  failedEver: perSecond * (1 - converts) * 30 * 86_400,
})

describe('scopes', () => {
  test('a number is counted by its block of ten thousand and its range of a million', () => {
    expect(blockOf(send.number)).toBe('+23324123')
    expect(rangeOf(send.number)).toBe('+233241')
    expect(scopesOf(send).map(({ kind }) => kind)).toEqual([
      'app',
      'cold',
      'country',
      'range',
      'block',
      'ip',
      'key',
    ])
  })

  test('no name tells the number, and apps and environments do not meet', () => {
    const names = scopesOf(send).map(({ name }) => name)
    expect(names.join()).not.toContain(send.number)
    for (const other of [{ app: 'bank' }, { environment: 'staging' as const }])
      expect(scopesOf({ ...send, ...other }).some(({ name }) => names.includes(name))).toBe(false)
  })

  test('a row leads back to its scope, and a name to its kind', () => {
    for (const scope of scopesOf(send)) {
      expect(rowsOf(scope).map(scopeOfRow)).toEqual(rowsOf(scope).map(() => scope.name))
      expect(scopeNamed(scope.name)?.kind).toBe(scope.kind)
    }
    expect(scopeNamed('production|shop|nothing')).toBeUndefined()
  })

  test('an e-mail is counted by who asks for it only', () => {
    const { number: _, ...mail } = send
    expect(scopesOf({ ...mail, country: null }).map(({ kind }) => kind)).toEqual(['ip', 'key'])
  })
})

describe('what a send alone shows', () => {
  test('five messages of a block may wait for their code, the sixth is of an attack', () => {
    expect(rulesOf(known({ block: { pending: 5 } }))).toEqual([])
    const [finding] = judgeSend(known({ block: { pending: 6 } }))
    expect(finding).toMatchObject({
      rule: 'block_velocity',
      scope: 'block',
      asks: 'block',
      count: 6,
    })
  })

  test('where many come back with their codes, many may wait for theirs', () => {
    const busy = steady(0.05, 0.85)
    expect(busy.pending).toBeGreaterThan(5)
    expect(rulesOf(known({ block: busy }))).toEqual([])
  })

  test.each([
    ['range', 'range_velocity', 25, 'block'],
    ['cold', 'cold_velocity', 60, 'challenge'],
    ['ip', 'ip_velocity', 10, 'block'],
    ['key', 'key_velocity', 5, 'block'],
    ['app', 'app_velocity', 60, 'challenge'],
  ] as const)('%s: %s over %d, which asks for a %s', (kind, rule, floor, asks) => {
    expect(rulesOf(known({ [kind]: { pending: floor } }))).not.toContain(rule)
    const finding = judgeSend(known({ [kind]: { pending: floor + 1 } })).find(
      (one) => one.rule === rule,
    )
    expect(finding).toMatchObject({ rule, asks, scope: kind })
  })

  test('a country that nobody has ever come back from has less; one with users is asked for a challenge', () => {
    const app = { passedEver: 100 }
    const [unknown] = judgeSend(known({ app, country: { pending: 16 } }))
    expect(unknown).toMatchObject({ rule: 'country_velocity', asks: 'block' })
    expect(rulesOf(known({ country: { pending: 16, passedEver: 10 } }))).toEqual([])
    // While an app is new every country is: its first users are asked for a challenge at most.
    expect(rulesOf(known({ country: { pending: 16 } }))).toEqual([])
    const [first] = judgeSend(known({ country: { pending: 41 } }))
    expect(first).toMatchObject({ rule: 'country_velocity', asks: 'challenge' })
    const [usual] = judgeSend(known({ app, country: { pending: 41, passedEver: 10 } }))
    expect(usual).toMatchObject({ rule: 'country_velocity', asks: 'challenge' })
  })

  test('in a block where people came back, a challenge is asked for before it is shut', () => {
    const asked = (pending: number) =>
      judgeSend(known({ block: { pending, passedEver: 1 } }))[0]?.asks
    expect([asked(5), asked(6), asked(10), asked(11)]).toEqual([
      undefined,
      'challenge',
      'challenge',
      'block',
    ])
  })

  test('while an app has more waiting than its users explain, places count for less', () => {
    const place = { block: { pending: 3 } }
    expect(rulesOf(known(place))).toEqual([])
    expect(rulesOf(known({ ...place, app: { pending: 31 } }))).toContain('block_velocity')
    const busy = steady(0.5, 0.85)
    expect(busy.pending).toBeGreaterThan(31)
    expect(rulesOf(known({ ...place, app: busy }))).toEqual([])
  })

  test('a block that stands is found, and nothing else of its scope', () => {
    const scopes = known({ block: { pending: 50 } }).map((scope) =>
      scope.kind === 'block' ? { ...scope, blocked: 'block' as const } : scope,
    )
    expect(rulesOf(scopes)).toEqual(['blocked'])
  })

  test('the usual traffic of apps of any size, and of any honest conversion, passes', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.0001, max: 20, noNaN: true }),
        fc.double({ min: 0.5, max: 0.95, noNaN: true }),
        fc.double({ min: 10, max: 60, noNaN: true }),
        (perSecond, converts, typing) => {
          const standing = steady(perSecond, converts, typing)
          expect(standing.pending).toBeLessThan(pendingLimit(standing, 5))
        },
      ),
    )
  })

  test('the users who came back explain those who are about to', () => {
    expect(expectedPending(noStanding)).toBe(0)
    const usual = steady(1, 0.85, 30)
    expect(expectedPending(usual)).toBeGreaterThan(usual.pending * 0.9)
    expect(expectedPending(usual)).toBeLessThan(usual.pending * 2)
  })
})

describe('neighbours', () => {
  const placed = (places: number[]) =>
    known({ block: { pending: Math.min(places.length, 5), places } })

  test.each([
    ['one after the other', [100, 101, 102, 103]],
    ['every seventh, shuffled', [121, 100, 114, 107]],
    ['over the end of the circle', [9_998, 3, 9_993, 8]],
  ])('numbers %s are of an attack', (_, places) => {
    expect(rulesOf(placed(places))).toContain('neighbours')
  })

  test('numbers of users are seldom neighbours: less than one in a thousand of full blocks', () => {
    let found = 0
    const runs = 5_000
    // A generator of our own: the same numbers at every run.
    let seed = 1
    const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647
    for (let run = 0; run < runs; run++) {
      const places = Array.from({ length: 12 }, () => Math.floor(random() * 10_000))
      if (rulesOf(placed(places)).includes('neighbours')) found++
    }
    expect(found / runs).toBeLessThan(0.001)
  })

  test('the same number again is no neighbour of itself', () => {
    expect(closeGaps([5, 5, 5, 5, 5], 10)).toBe(0)
    expect(closeGaps([], 10)).toBe(0)
  })
})

describe('what shows once codes had their time', () => {
  const talking = {
    ...noStanding,
    passedDay: 200,
    failed: 40,
    passedEver: 4_000,
    failedEver: 800,
  }
  const numbers = (count: number) => Array.from({ length: count }, (_, index) => index * 900)
  const matured = (
    kind: KnownScope['kind'],
    standing: Partial<Standing>,
    app: Standing = talking,
    standingBlocks = 0,
  ) =>
    judgeMatured(
      { kind, name: kind, standing: { ...noStanding, ...standing } },
      { standing: app, standingBlocks },
    ).map(({ rule }) => rule)

  test('the upper end of what a share may be', () => {
    expect(wilsonUpper(0, 20)).toBeCloseTo(0.161, 3)
    expect(wilsonUpper(0, 35)).toBeCloseTo(0.099, 3)
    expect(wilsonUpper(0, 100)).toBeCloseTo(0.037, 3)
    expect(wilsonUpper(0, 0)).toBe(1)
  })

  test('none of 35 is of an attack, 3 of 35 are not, and 20 are too few to say', () => {
    expect(matured('ip', { failed: 35 })).toEqual(['conversion'])
    expect(matured('ip', { failed: 32, passedDay: 3 })).toEqual([])
    expect(matured('ip', { failed: 20 })).toEqual([])
  })

  test('a block is silent after as many numbers as chance does not explain, where the app’s others come back', () => {
    expect(matured('block', { failed: 3, places: numbers(3) })).toEqual([])
    expect(matured('block', { failed: 4, places: numbers(4) })).toEqual(['block_silence'])
    expect(matured('block', { failed: 4, places: numbers(4), passedDay: 1 })).toEqual([])
    // An app that loses every second message needs more to say so.
    const lossy = { ...talking, failed: 200, failedEver: 4_010 }
    expect(matured('block', { failed: 8, places: numbers(8) }, lossy)).toEqual([])
    expect(matured('block', { failed: 9, places: numbers(9) }, lossy)).toEqual(['block_silence'])
    // Nobody at all comes back: that is an outage, not a place.
    expect(
      matured('block', { failed: 9, places: numbers(9) }, { ...noStanding, failed: 500 }),
    ).toEqual([])
  })

  test('one user who tries ten times and never types the code is no attack', () => {
    expect(matured('block', { failed: 10, places: numbers(1) })).toEqual([])
  })

  test('a range and a country without users are silent after fifteen, where users live after none', () => {
    expect(matured('range', { failed: 14 })).toEqual([])
    expect(matured('range', { failed: 15 })).toEqual(['range_silence'])
    expect(matured('country', { failed: 15 })).toEqual(['country_silence'])
    expect(matured('country', { failed: 15, passedEver: 300 })).toEqual([])
  })

  test('an app that loses more than it ever did asks for challenges, and its places are judged by less', () => {
    const drained = { ...talking, failed: 90 }
    expect(matured('block', { failed: 3, places: numbers(3) }, drained)).toEqual(['block_silence'])
    expect(
      judgeMatured(
        { kind: 'app', name: 'app', standing: drained },
        { standing: drained, standingBlocks: 0 },
      ),
    ).toEqual([])
    const lost = { ...talking, failed: 250 }
    const [finding] = judgeMatured(
      { kind: 'app', name: 'app', standing: lost },
      { standing: lost, standingBlocks: 0 },
    )
    expect(finding).toMatchObject({ rule: 'app_loss', asks: 'challenge' })
  })

  test('where users live, a challenge is asked for instead of a block', () => {
    const [known] = judgeMatured(
      { kind: 'country', name: 'GH', standing: { ...noStanding, failed: 50, passedEver: 500 } },
      { standing: talking, standingBlocks: 0 },
    )
    expect(known).toMatchObject({ rule: 'conversion', asks: 'challenge' })
  })
})

describe('what a finding does', () => {
  const [block] = judgeSend(known({ block: { pending: 6 } }))
  const [doubt] = judgeSend(known({ app: { pending: 61 } }))
  const found = (findings: (typeof block)[]) => findings.flatMap((one) => one ?? [])
  const rules = {}

  test.each([
    ['observe', 'allowed', 'allowed', 'allowed'],
    ['challenge', 'challenge', 'challenge', 'allowed'],
    ['block', 'blocked', 'challenge', 'blocked'],
  ] as const)(
    '%s: a block %s, a doubt %s, a block with a solved challenge %s',
    (mode, first, second, third) => {
      expect(verdictOf(found([block]), { mode, rules, isSolved: false })).toBe(first)
      expect(verdictOf(found([doubt]), { mode, rules, isSolved: false })).toBe(second)
      expect(verdictOf(found([doubt]), { mode, rules, isSolved: true })).toBe('allowed')
      expect(verdictOf(found([block]), { mode, rules, isSolved: true })).toBe(third)
    },
  )

  test('a rule that only observes refuses nothing', () => {
    const observed = {
      mode: 'block',
      rules: { block_velocity: 'observe' },
      isSolved: false,
    } as const
    expect(verdictOf(found([block]), observed)).toBe('allowed')
  })
})
