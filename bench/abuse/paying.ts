import { type Ring, ringOf } from './attacks'
import { dearCountries, drawBlock, drawForeignBlock, drawNumber } from './numbers'
import type { Random } from './random'
import { attacked, hourMs, many, middle, noonOf, type Scenario } from './scenario'
import { usersOf } from './users'

/** Attackers who pay for what stops the others: a challenge for each send. */
const solving: readonly Scenario[] = [
  attacked('solving: random numbers of a country', middle, (random) => ({
    ...{ blocks: () => drawNumber(random, 'GH'), count: 1_200, everyMs: 2_000, solves: true },
  })),
  attacked('solving: 50 blocks at home', middle, (random) => ({
    ...{ blocks: many(50, () => drawBlock(random, 'NG')), count: 1_200, everyMs: 2_000 },
    solves: true,
  })),
  attacked('solving: 40 countries in turn', middle, (random) => ({
    blocks: dearCountries.map((country) => drawForeignBlock(random, country)),
    ...{ count: 1_200, everyMs: 2_000, solves: true },
  })),
  attacked('solving: one address', middle, (random) => ({
    ...{ blocks: many(200, () => drawBlock(random, 'GH')), count: 900, everyMs: 1_000, ips: 1 },
    solves: true,
  })),
]

/** An attack on an app with users, by numbers that each brought one code back. */
const ring = (
  name: string,
  plan: (random: Random) => Pick<Ring, 'numbers' | 'count' | 'everyMs' | 'solves'>,
): Scenario => ({
  name,
  make: (random) => [
    ...usersOf(random, { ...middle, days: 2.6 }),
    ...ringOf(random, {
      ...{ scenario: name, app: middle.app, at: noonOf(middle), restMs: 6 * hourMs },
      ...plan(random),
    }),
  ],
})

const rings: readonly Scenario[] = [
  ring('known: numbers of one block', (random) => {
    const block = drawBlock(random, 'GH')
    return {
      numbers: many(60, () => `${block}${String(random.below(10_000)).padStart(4, '0')}`),
      ...{ count: 900, everyMs: 10_000 },
    }
  }),
  ring('known: random numbers of a country', (random) => ({
    ...{ numbers: many(60, () => drawNumber(random, 'NG')), count: 900, everyMs: 10_000 },
  })),
  ring('known: few numbers, solving', (random) => ({
    ...{ numbers: many(10, () => drawNumber(random, 'KE')), count: 900, everyMs: 20_000 },
    solves: true,
  })),
]

/** Attacks that pay to get on: with work for each send, or with a code that comes back. */
export const paying: readonly Scenario[] = [...solving, ...rings]
