import { type Attack, attackOf } from './attacks'
import type { TrafficEvent } from './event'
import type { Random } from './random'
import { type Population, usersOf } from './users'

export const hourMs = 3_600_000
export const dayMs = 24 * hourMs
/** Midnight of a Monday, UTC. */
export const monday = Date.UTC(2026, 2, 2)

/** Traffic by name: the same for the same seed. */
export interface Scenario {
  name: string
  /** Too long for every day: only when it is named. */
  isLong?: boolean
  make: (random: Random) => TrafficEvent[]
}

const everywhere = { GH: 6, NG: 4, KE: 3, CI: 2, GB: 1, US: 1, DE: 1, IN: 1 }

export const small: Population = {
  ...{ app: 'small', countries: { GH: 8, NG: 1, GB: 1 }, perDay: 300, days: 2.6, from: monday },
}
export const middle: Population = {
  ...{ app: 'middle', countries: everywhere, perDay: 1_000, days: 1.6, from: monday },
}
/** When attacks begin: the app has users by then, and it is their noon. */
export const noonOf = ({ days }: Population) => monday + Math.floor(days) * dayMs + 12 * hourMs

type Pumped = Omit<Attack, 'scenario' | 'app' | 'at'> & { at?: number }

/** An attack on an app with users. */
export const attacked = (
  name: string,
  population: Population,
  plan: (random: Random) => Pumped,
): Scenario => ({
  name,
  make: (random) => [
    ...usersOf(random, population),
    ...attackOf(random, {
      ...{ scenario: name, app: population.app, at: noonOf(population) },
      ...plan(random),
    }),
  ],
})

export const onlyUsers = (name: string, population: Population, isLong = false): Scenario => ({
  name,
  isLong,
  make: (random) => usersOf(random, population),
})

export const many = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)
