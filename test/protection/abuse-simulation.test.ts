import { afterAll, describe, expect, jest, test } from '@jest/globals'
import { attackOf, ringOf } from '../../bench/abuse/attacks'
import { BadLines, readEvents, type TrafficEvent } from '../../bench/abuse/event'
import { drawBlock, drawForeignBlock, drawNumber } from '../../bench/abuse/numbers'
import { preparedDatabase } from '../../bench/abuse/prepared-database'
import { type Random, randomOf } from '../../bench/abuse/random'
import { runTraffic } from '../../bench/abuse/run-traffic'
import { scenarios, trafficOf } from '../../bench/abuse/scenarios'
import { Tally } from '../../bench/abuse/tally'
import { usersOf } from '../../bench/abuse/users'
import { openKeyFile } from '../../codes/key-file'
import type { ProtectionPolicy } from '../../core/protection/protection'
import { freshDatabase } from '../harness/database'
import { tempKeyFile } from '../harness/seed'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const noon = dayMs + 12 * hourMs
const budget = { hour: '200', day: '1000' }

// Days of traffic, on whatever machine.
jest.setTimeout(180_000)

const keyring = openKeyFile(tempKeyFile(), { strict: true })
afterAll(() => keyring.close())

/** Runs traffic in a database of its own. */
async function run(events: readonly TrafficEvent[], policy: ProtectionPolicy = {}) {
  const { url, drop } = await freshDatabase()
  const db = preparedDatabase(url)
  try {
    const sorted = events.toSorted((one, other) => one.t - other.t)
    return await runTraffic(db, sorted, { name: 'users', keyring, policy, budget })
  } finally {
    await db.close()
    await drop()
  }
}

const people = (random: Random, perDay = 60): TrafficEvent[] =>
  usersOf(random, { app: 'shop', countries: { GH: 3, NG: 1 }, perDay, days: 1.6, from: 0 })

describe('traffic of our own making', () => {
  test.each([
    ['one block', (random: Random) => [drawBlock(random, 'GH')]],
    ['many blocks', (random: Random) => Array.from({ length: 50 }, () => drawBlock(random, 'GH'))],
    ['any number', (random: Random) => () => drawNumber(random, 'NG')],
    [
      'countries in turn',
      (random: Random) =>
        (['BD', 'UZ', 'TN', 'LK', 'PK'] as const).map((country) =>
          drawForeignBlock(random, country),
        ),
    ],
  ])('an attack on %s leaks little and keeps nobody out', async (name, blocksOf) => {
    const random = randomOf(name, 1)
    const attack = attackOf(random, {
      ...{ scenario: name, app: 'shop', at: noon, count: 200, everyMs: 2_000 },
      blocks: blocksOf(random),
    })
    const { results } = await run([...people(random), ...attack])
    const [result, ...others] = results
    expect(others).toEqual([])
    expect(result).toMatchObject({ name, sends_attack: 200, found: true })
    expect(result?.leaked).toBeLessThanOrEqual(200)
    expect(result?.leaked).toBe(200 - (result?.refused_attack ?? 0))
    expect(result?.leaked_worst_block).toBeLessThanOrEqual(50)
    expect(result?.time_to_block_s).toEqual(expect.any(Number))
    expect(result?.users).toBeGreaterThan(30)
    expect(result?.false_block_rate).toBeLessThanOrEqual(0.005)
    // Only what leaked costs: less than a dollar a message, whatever its country.
    expect(result?.spend).toBeLessThan(result?.leaked ?? 0)
  })

  test('an attacker who solves every challenge gets no further into a block of numbers', async () => {
    const random = randomOf('solving', 1)
    const attack = attackOf(random, {
      ...{ scenario: 'solving', app: 'shop', at: noon, count: 200, everyMs: 2_000, solves: true },
      blocks: Array.from({ length: 5 }, () => drawBlock(random, 'GH')),
    })
    const { results } = await run([...people(random), ...attack])
    expect(results[0]).toMatchObject({ sends_attack: 200, found: true })
    expect(results[0]?.leaked).toBeLessThanOrEqual(40)
    expect(results[0]?.leaked_worst_block).toBeLessThanOrEqual(8)
    expect(results[0]?.false_block_rate).toBeLessThanOrEqual(0.005)
  })

  test.each([false, true])(
    'a ring that completes one code of each of its numbers gets three more of each out of it (solving: %p)',
    async (solves) => {
      const random = randomOf('ring', 1)
      const block = drawBlock(random, 'GH')
      const numbers = Array.from(
        { length: 10 },
        (_, nth) => `${block}${String(1_000 + nth * 397).padStart(4, '0')}`,
      )
      const attack = ringOf(random, {
        ...{ scenario: 'ring', app: 'shop', at: noon - 2 * hourMs, numbers, solves },
        ...{ restMs: 2 * hourMs, count: 150, everyMs: 30_000 },
      })
      const { results } = await run([...people(random), ...attack])
      const [result] = results
      // Its own ten codes, and what a place may have pending at most once nobody of it is known any more.
      expect(result).toMatchObject({ sends_attack: 160, found: true })
      expect(result?.leaked).toBeLessThanOrEqual(10 + 10 * 3 + 8)
      expect(result?.false_block_rate).toBeLessThanOrEqual(0.005)
    },
  )

  test('a slow drip is found within a day', async () => {
    const random = randomOf('drip', 1)
    const attack = attackOf(random, {
      ...{ scenario: 'drip', app: 'shop', at: hourMs, count: 100, everyMs: dayMs / 150 },
      blocks: [drawBlock(random, 'GH')],
    })
    const { results } = await run([...people(random), ...attack])
    expect(results[0]?.time_to_block_s).toBeLessThan(86_400)
  })

  test('users alone are left alone, and counted as a scenario', async () => {
    const { results, falseBlocks } = await run(people(randomOf('users', 1), 150))
    expect(results).toHaveLength(1)
    expect(results[0]).toMatchObject({ name: 'users', leaked: 0, spend: 0, time_to_block_s: null })
    expect(results[0]?.false_block_rate).toBeLessThanOrEqual(0.005)
    expect(falseBlocks).toHaveLength(results[0]?.false_blocks ?? -1)
  })

  test('is the same for the same seed, and another for another', () => {
    const scenario = scenarios.find(({ name }) => name === 'one block, slow')
    if (!scenario) throw new Error('The scenario is not there.')
    expect(trafficOf(scenario, 7)).toEqual(trafficOf(scenario, 7))
    expect(trafficOf(scenario, 8)).not.toEqual(trafficOf(scenario, 7))
  })

  test('five wrong codes count for each message, and none without one', async () => {
    const about = { id: 's', app: 'shop', phone: '+233244170001' }
    const guesses = Array.from({ length: 7 }, (_, nth): TrafficEvent => {
      const at = { t: 1_000 * (nth + 1), type: 'verify', ok: false } as const
      return { ...about, ...at, truth: 'attack' }
    })
    const { results } = await run([
      { ...about, t: 0, type: 'send', truth: 'user' },
      ...guesses,
      ...guesses.map((guess) => ({ ...guess, id: 'other', phone: '+233244170002' })),
    ])
    expect(results[0]).toMatchObject({ name: 'attack', guesses: 5, takeovers_expected: 0.000005 })
  })

  test('the thousandth wrong code of a day is the alarm', () => {
    const alarmOf = (everyMs: number) => {
      const tally = new Tally()
      const about = { id: 's', app: 'shop', phone: '+233244170001', ok: false } as const
      for (let nth = 0; nth < 1_200; nth++)
        tally.guessed({ ...about, t: nth * everyMs, type: 'verify', truth: 'attack' })
      const [result] = tally.results('users', { raised: [], budgetOf: () => null })
      return result?.guess_alarm_after_s
    }
    expect(alarmOf(60_000)).toBe(999 * 60)
    expect(alarmOf(100_000)).toBeNull()
  })
})

describe('traffic of a file', () => {
  const block = '+23324417'
  const line = (event: Partial<TrafficEvent>) =>
    JSON.stringify({ app: 'shop', truth: 'user', type: 'send', ...event })

  test('a user who came back before gets a code in the middle of an attack', async () => {
    const known = { phone: `${block}0042`, ip: '196.10.0.1' }
    const stranger = { phone: `${block}7777`, ip: '196.10.0.2' }
    const attack = Array.from({ length: 60 }, (_, nth) =>
      line({
        t: dayMs + nth * 1000,
        id: `a${nth}`,
        phone: `${block}${1000 + nth}`,
        truth: 'attack',
      }),
    )
    const lines = [
      line({ ...known, t: 0, id: 'first' }),
      line({ ...known, t: 20_000, id: 'first', type: 'verify', ok: true }),
      ...attack,
      line({ ...known, t: dayMs + 50_500, id: 'again' }),
      line({ ...stranger, t: dayMs + 50_600, id: 'new' }),
    ]
    const { results, falseBlocks } = await run(await readEvents(lines))
    expect(results[0]).toMatchObject({
      name: 'attack',
      sends_attack: 60,
      users: 2,
      false_blocks: 1,
    })
    expect(results[0]?.leaked).toBeLessThan(20)
    expect(falseBlocks).toEqual([expect.objectContaining({ block })])
  })

  test('a number’s own limits and numbers that do not exist are no false blocks', async () => {
    const often = Array.from({ length: 5 }, (_, nth) =>
      line({ t: nth * 1000, id: `s${nth}`, phone: '233244170042', app: 'My | shop' }),
    )
    const { results } = await run(
      await readEvents([...often, line({ t: 9, id: 'x', phone: '+1' })]),
    )
    expect(results[0]).toMatchObject({ users: 2, false_blocks: 0 })
    expect(results[0]).toMatchObject({ limited_users: 1, invalid_users: 1 })
  })

  test('an address that many share asks for a challenge, which only people solve', async () => {
    const sends = (truth: TrafficEvent['truth'], ip: string, at: number) =>
      Array.from({ length: 8 }, (_, nth) => {
        const phone = drawNumber(randomOf(`${truth}${nth}`, 1), 'GB')
        return line({ t: at + nth * 1000, id: `${truth}${nth}`, phone, ip, truth })
      })
    const lines = [...sends('user', '81.2.69.1', 0), ...sends('attack', '81.2.69.2', 0)]
    const { results } = await run(await readEvents(lines))
    expect(results[0]).toMatchObject({ leaked: 5, refused_attack: 3 })
    expect(results[0]).toMatchObject({ false_blocks: 0, challenged_users: 3 })
  })

  test('money that is spent stops everybody, exactly', async () => {
    const lines = Array.from({ length: 20 }, (_, nth) =>
      line({
        t: nth * 600_000,
        id: `s${nth}`,
        phone: `+2332${nth % 2 ? 4 : 0}${3000000 + nth * 71_003}`,
        truth: 'attack',
      }),
    )
    const policy = { protection: { budget: { day: '0.1' }, mode: { live: 'observe' as const } } }
    const { results } = await run(await readEvents(lines), policy)
    // At 0.021 a message.
    expect(results[0]).toMatchObject({ leaked: 4, spend: 0.084, budget: 0.1 })
  })

  test('lines come in any order, with more members than are read', async () => {
    const events = await readEvents([
      line({ t: 2, id: 'b', phone: '+233244170001' }),
      '',
      '{"t":1,"type":"receipt","id":7,"phone":"x","truth":"user","country":null,"more":{}}',
    ])
    expect(events.map(({ t, id, app }) => [t, id, app])).toEqual([
      [1, '7', 'app'],
      [2, 'b', 'shop'],
    ])
  })

  test('files of other systems are read as they are', async () => {
    const first = line({ t: 1, id: 'a', phone: '+233244170001' })
    const events = await readEvents([
      `\uFEFF${first}\r`,
      '{"t":2,"type":"receipt","id":"a","phone":"x","truth":"user","status":0}',
    ])
    expect(events.map(({ id }) => id)).toEqual(['a', 'a'])
  })

  test('names may hold what no database takes', async () => {
    const odd = { id: '\0', app: 'a\0', device: '\0', ip: '\0' }
    const { results } = await run(
      await readEvents([line({ t: noon, phone: '+233244170001', ...odd })]),
    )
    expect(results[0]).toMatchObject({ users: 1, sends_user: 1, false_blocks: 0, invalid_users: 0 })
  })

  test('bad lines are told by their number and what is wrong', async () => {
    const good = line({ t: 1, id: 'a', phone: '+233244170001' })
    const verify = line({ t: 1, id: 'a', phone: '+233244170001', type: 'verify' })
    const reading = readEvents([
      good,
      '{"t":',
      verify,
      line({ id: 'b', phone: '+2' }),
      line({ t: 1e18, id: 'c', phone: '+2' }),
    ])
    await expect(reading).rejects.toThrow(BadLines)
    await expect(reading).rejects.toThrow(
      /^line 2: no JSON\nline 3: ok: .*true or false\nline 4: t: .*\nline 5: t: no time /,
    )
    await expect(readEvents([''])).rejects.toThrow('no event')
  })
})
