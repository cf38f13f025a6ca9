import { attackOf, sprayOf } from './attacks'
import type { TrafficEvent } from './event'
import {
  dearCountries,
  drawBlock,
  drawBlocksOfRange,
  drawForeignBlock,
  drawNumber,
} from './numbers'
import { paying } from './paying'
import { randomOf } from './random'
import {
  attacked,
  dayMs,
  hourMs,
  many,
  middle,
  monday,
  noonOf,
  onlyUsers,
  type Scenario,
  small,
} from './scenario'
import { type Population, usersOf } from './users'

const perDay = (count: number) => dayMs / count
/** A drip goes on for days: the app's users too. */
const forDays = (days: number): Population => ({ ...small, days })

const usersAlone: Scenario[] = [
  onlyUsers('users: small app', { ...small, days: 4 }),
  onlyUsers('users: middle app', { ...middle, perDay: 3_000, days: 1 }),
  onlyUsers('users: big app', { ...middle, app: 'big', perDay: 20_000, days: 2 }, true),
  onlyUsers('users: launch day', {
    ...middle,
    app: 'launch',
    days: 1,
    perDay: 2_000,
    newShare: 0.9,
  }),
  onlyUsers('users: launch of a small app abroad', {
    ...small,
    ...{ countries: { IN: 3, US: 1 }, days: 1, newShare: 0.95 },
  }),
  onlyUsers('users: marketing spike', {
    ...middle,
    ...{
      days: 1,
      perDay: 1_500,
      newShare: 0.8,
      spikes: [{ at: monday + 12 * hourMs, minutes: 60, times: 5 }],
    },
  }),
  onlyUsers('users: provider outage', {
    ...{ ...middle, days: 1, outages: [{ at: monday + 13 * hourMs, minutes: 20 }] },
  }),
  onlyUsers('users: dense numbers', {
    ...{ ...middle, countries: { KE: 1 }, starts: ['7012', '7013', '1104'], days: 1 },
    carrierAddresses: 2,
  }),
  onlyUsers('users: bad route', { ...middle, countries: { CI: 3, GH: 1 }, days: 1, arrival: 0.6 }),
  {
    name: 'users: a company on one morning',
    make: (random) => [
      ...usersOf(random, small),
      ...usersOf(random, {
        ...small,
        // One number block, one address, one hour.
        ...{ countries: { GH: 1 }, starts: ['24417'], office: '154.160.1.20', newShare: 1 },
        ...{ perDay: 70 * 24, days: 1 / 24, from: monday + dayMs + 9 * hourMs },
      }).map((event) => ({ ...event, id: `c-${event.id}` })),
    ],
  },
  onlyUsers('users: one country, no addresses', {
    ...{ ...middle, countries: { CI: 1 }, days: 1, isTold: false },
  }),
]

const pumping: Scenario[] = [
  attacked('one block, fast', middle, (random) => ({
    ...{ blocks: [drawBlock(random, 'GH')], count: 900, everyMs: 300 },
  })),
  attacked('one block, slow', small, (random) => ({
    ...{ blocks: [drawBlock(random, 'NG')], count: 300, everyMs: 90_000 },
  })),
  attacked('50 blocks of one range', middle, (random) => ({
    ...{ blocks: drawBlocksOfRange(random, 'GH', 50), count: 1_200, everyMs: 1_000 },
  })),
  attacked('50 blocks at home', middle, (random) => ({
    ...{ blocks: many(50, () => drawBlock(random, 'GH')), count: 1_200, everyMs: 2_000 },
  })),
  attacked('50 blocks at home, slowly', middle, (random) => ({
    ...{ blocks: many(50, () => drawBlock(random, 'NG')), count: 900, everyMs: 12_000 },
  })),
  attacked('40 countries in turn', middle, (random) => ({
    blocks: dearCountries.map((country) => drawForeignBlock(random, country)),
    ...{ count: 1_200, everyMs: 2_000 },
  })),
  attacked('40 countries in turn, small app', small, (random) => ({
    blocks: dearCountries.map((country) => drawForeignBlock(random, country)),
    ...{ count: 900, everyMs: 5_000 },
  })),
  attacked('sequential numbers', middle, (random) => ({
    ...{ blocks: [drawBlock(random, 'KE')], count: 700, everyMs: 1_500, order: 'sequential' },
  })),
  attacked('shuffled numbers', middle, (random) => ({
    ...{ blocks: many(10, () => drawBlock(random, 'KE')), count: 900, everyMs: 1_500 },
    ...{ order: 'shuffled', turn: 'chance' },
  })),
  attacked('every seventh number', middle, (random) => ({
    ...{ blocks: [drawBlock(random, 'CI')], count: 700, everyMs: 3_000, order: 'stride' },
  })),
  attacked('one address', middle, (random) => ({
    ...{ blocks: many(200, () => drawBlock(random, 'GH')), count: 900, everyMs: 1_000, ips: 1 },
  })),
  attacked('few devices', middle, (random) => ({
    ...{ blocks: many(200, () => drawBlock(random, 'GB')), count: 900, everyMs: 1_500 },
    devices: 5,
  })),
  attacked('resends to few numbers', middle, (random) => ({
    ...{ blocks: many(4, () => drawBlock(random, 'DE')), count: 900, everyMs: 5_000, numbers: 5 },
  })),
  attacked('random numbers of a country', middle, (random) => ({
    ...{ blocks: () => drawNumber(random, 'GH'), count: 1_200, everyMs: 2_000 },
  })),
  attacked('random numbers of a country, slowly', middle, (random) => ({
    ...{ blocks: () => drawNumber(random, 'NG'), count: 900, everyMs: 15_000 },
  })),
  attacked('no address told', small, (random) => ({
    ...{ blocks: many(20, () => drawBlock(random, 'GH')), count: 900, everyMs: 2_000 },
    ...{ ips: 0, devices: 0 },
  })),
  attacked('at night', small, (random) => ({
    ...{ blocks: many(30, () => drawBlock(random, 'GH')), count: 900, everyMs: 3_000 },
    at: monday + 2 * dayMs + 2 * hourMs,
  })),
]

const patient: Scenario[] = [
  attacked('drip: one block', forDays(3.6), (random) => ({
    ...{ blocks: [drawBlock(random, 'GH')], count: 380, everyMs: perDay(150) },
    at: monday + dayMs,
  })),
  attacked('drip: ten blocks', forDays(3.6), (random) => ({
    ...{ blocks: many(10, () => drawBlock(random, 'GH')), count: 500, everyMs: perDay(200) },
    at: monday + dayMs,
  })),
  attacked('drip: countries', forDays(3.6), (random) => ({
    blocks: dearCountries.slice(0, 8).map((country) => drawForeignBlock(random, country)),
    ...{ count: 500, everyMs: perDay(200), at: monday + dayMs },
  })),
  attacked('drip: one block, 50 a day', forDays(3.6), (random) => ({
    ...{ blocks: [drawBlock(random, 'NG')], count: 150, everyMs: perDay(50) },
    at: monday + dayMs,
  })),
  attacked('pulses for a day', { ...small, days: 3.5 }, (random) => ({
    ...{ blocks: many(10, () => drawBlock(random, 'GH')), count: 1_500, everyMs: 2_000 },
    ...{ pulse: { onMs: 300_000, offMs: 16 * 60_000 }, at: monday + 2 * dayMs + 8 * hourMs },
  })),
  attacked('pulses in turn through blocks', middle, (random) => ({
    ...{ blocks: many(60, () => drawBlock(random, 'KE')), turn: 40, count: 1_200, everyMs: 1_500 },
    pulse: { onMs: 60_000, offMs: 240_000 },
  })),
  attacked('a few own numbers verified', middle, (random) => ({
    ...{ blocks: many(20, () => drawBlock(random, 'GH')), count: 900, everyMs: 3_000 },
    verifiedShare: 0.05,
  })),
  attacked('one block, some verified', middle, (random) => ({
    ...{ blocks: [drawBlock(random, 'GH')], count: 700, everyMs: 5_000, verifiedShare: 0.1 },
  })),
]

/** Everybody, users and attacker, in the same few blocks. */
const amongUsers: Scenario = {
  name: 'inside a block of users',
  make: (random) => {
    const block = drawBlock(random, 'GH')
    const own = usersOf(random, { ...small, app: 'middle', perDay: 60, days: 1.6 })
    const homeOf = new Map<string, string>()
    const settled = own.map((event) => {
      const phone =
        homeOf.get(event.phone) ?? `${block}${String(random.below(10_000)).padStart(4, '0')}`
      homeOf.set(event.phone, phone)
      return { ...event, id: `s-${event.id}`, phone }
    })
    const attack = attackOf(random, {
      ...{ scenario: 'inside a block of users', app: 'middle', at: noonOf(middle) },
      ...{ blocks: [block], count: 900, everyMs: 2_000 },
    })
    return [...usersOf(random, middle), ...settled, ...attack]
  },
}

const launches: Scenario[] = [
  attacked('at launch', { ...middle, app: 'launch', days: 1, newShare: 0.9 }, (random) => ({
    ...{ blocks: many(30, () => drawBlock(random, 'GH')), count: 900, everyMs: 2_000 },
    at: monday + 9 * hourMs,
  })),
  attacked('at launch, random numbers', { ...small, app: 'launch', days: 1 }, (random) => ({
    ...{ blocks: () => drawNumber(random, 'GH'), count: 900, everyMs: 3_000 },
    at: monday + 9 * hourMs,
  })),
  attacked('an app without users', { ...small, days: 0.01 }, (random) => ({
    ...{ blocks: () => drawNumber(random, 'KE'), count: 900, everyMs: 3_000 },
    at: monday + hourMs,
  })),
]

const sprays: Scenario[] = [
  {
    name: 'spray of guesses at own sends',
    make: (random) => {
      const scenario = 'spray of guesses at own sends'
      const sends = attackOf(random, {
        ...{ scenario, app: 'middle', at: noonOf(middle), count: 900, everyMs: 2_000 },
        blocks: () => drawNumber(random, 'GH'),
      })
      const guesses = sprayOf(random, { scenario, at: sends, perNumber: 4 })
      return [...usersOf(random, middle), ...sends, ...guesses]
    },
  },
  {
    name: 'spray of guesses at users',
    make: (random) => {
      const users = usersOf(random, middle)
      const from = noonOf(middle) - 12 * hourMs
      const at = users.filter(({ type, t }) => type === 'send' && t >= from)
      const scenario = 'spray of guesses at users'
      return [...users, ...sprayOf(random, { scenario, at, perNumber: 3 })]
    },
  },
]

const mixed: Scenario = {
  name: 'mixed',
  make: (random) => {
    const about = (scenario: string) => ({ scenario, app: 'middle', at: noonOf(middle) })
    return [
      ...usersOf(random, middle),
      ...attackOf(random, {
        ...about('mixed: one block'),
        ...{ blocks: [drawBlock(random, 'GH')], count: 500, everyMs: 2_000 },
      }),
      ...attackOf(random, {
        ...about('mixed: countries'),
        blocks: dearCountries.map((country) => drawForeignBlock(random, country)),
        ...{ count: 700, everyMs: 4_000 },
      }),
      ...attackOf(random, {
        ...about('mixed: random numbers'),
        ...{ blocks: () => drawNumber(random, 'NG'), count: 500, everyMs: 8_000 },
      }),
    ]
  },
}

export const scenarios: readonly Scenario[] = [
  ...usersAlone,
  ...pumping,
  ...patient,
  ...paying,
  amongUsers,
  ...launches,
  ...sprays,
  mixed,
]

/** The traffic of a scenario in the order of time. */
export const trafficOf = ({ name, make }: Scenario, seed: number): TrafficEvent[] =>
  make(randomOf(name, seed)).toSorted((one, other) => one.t - other.t)
