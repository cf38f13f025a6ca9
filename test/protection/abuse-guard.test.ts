import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { creditSends, settleSends } from '../../db/protection/decisions'
import type { Environment } from '../../core/requests/state'
import { raiseBlock } from '../../db/protection/blocks'
import type { GuardedSend } from '../../db/protection/guard'
import { isKnown } from '../../db/recipients/known'
import { holdRecipient } from '../../db/recipients/recipients'
import { after, guardedApp, start } from '../harness/guarded-app'
import { requestsOnly } from '../harness/requests'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

/** An app of its own, whose sends meet no other test's. */
const freshApp = (given: Partial<GuardedSend> = {}) => guardedApp(requests, given)

const inBlock = (index: number) => `+23324123${String((index * 1_733) % 10_000).padStart(4, '0')}`

describe('a block of numbers under attack', () => {
  test('five messages go out, then the block is raised, and stands as long as it is attacked', async () => {
    const { send, guard, blocks, decisions } = await freshApp()
    const verdicts: string[] = []
    for (let index = 0; index < 40; index++)
      verdicts.push((await guard(send(inBlock(index)), after(index))).verdict)
    expect(verdicts.filter((verdict) => verdict === 'allowed')).toHaveLength(5)
    expect(new Set(verdicts.slice(5))).toEqual(new Set(['blocked']))
    expect(await blocks()).toEqual([
      expect.objectContaining({
        scope: 'block',
        label: '+23324123',
        rule: 'block_velocity',
        level: 1,
        refused: 34,
      }),
    ])
    const all = await decisions()
    expect(all).toHaveLength(40)
    expect(all.at(5)?.findings.map(({ rule }) => rule)).toContain('block_velocity')
    expect(all.at(-1)?.findings.map(({ rule }) => rule)).toEqual(['blocked'])
    // An attack that goes on keeps it up, beyond the 15 minutes of its first life.
    for (let minute = 1; minute <= 40; minute += 3)
      expect((await guard(send(inBlock(100 + minute)), after(60 * minute))).verdict).toBe('blocked')
    // And what ends lets go of it.
    expect((await guard(send(inBlock(999)), after(60 * 60))).verdict).toBe('allowed')
  })

  test('it comes back for longer each time, at last until somebody lifts it', async () => {
    const { send, guard, blocks } = await freshApp()
    let at = 0
    const seen: (number | null)[] = []
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 7; index++)
        await guard(send(inBlock(round * 10 + index)), after((at += 1)))
      seen.push((await blocks()).at(-1)?.seconds ?? null)
      at += 90_000
    }
    expect(seen).toEqual([900, 3_600, 21_600, 86_400, null])
  })

  test('other blocks, other apps and other environments go on', async () => {
    const attacked = await freshApp()
    const other = await freshApp()
    for (let index = 0; index < 8; index++)
      await attacked.guard(attacked.send(inBlock(index)), after(index))
    expect((await attacked.guard(attacked.send('+233209999999'), after(9))).verdict).toBe('allowed')
    expect((await other.guard(other.send(inBlock(1)), after(9))).verdict).toBe('allowed')
    const staging = attacked.send(inBlock(50), { environment: 'staging' })
    expect((await attacked.guard(staging, after(9))).verdict).toBe('allowed')
  })

  test('a user who came back before gets a code from within it, and is counted', async () => {
    const { app, send, guard, decisions } = await freshApp()
    const address = { appId: app, kind: 'phone' as const, value: inBlock(77) }
    const { id: recipientId } = await holdRecipient(requests.db, requests.keyring, address)
    const earlier = send(address.value, { recipientId })
    await guard(earlier, start)
    await creditSends(requests.db, [earlier.requestId], after(20))
    for (let index = 0; index < 8; index++) await guard(send(inBlock(index)), after(100 + index))
    const day = 86_400
    const knownAt = (seconds: number, environment: Environment = 'production') =>
      isKnown(requests.db, { recipientId, environment }, after(seconds))
    const again = async (seconds: number) => {
      const known = send(address.value, { recipientId, isKnown: await knownAt(seconds) })
      return (await guard(known, after(seconds))).verdict
    }
    expect([await knownAt(89 * day), await knownAt(91 * day)]).toEqual([true, false])
    // The code came back in production.
    expect(await knownAt(100, 'staging')).toBe(false)
    expect(await again(120)).toBe('allowed')
    const [last] = (await decisions()).slice(-1)
    expect(last).toMatchObject({
      verdict: 'allowed',
      scopes: expect.arrayContaining([expect.stringContaining('|block|')]),
      findings: expect.arrayContaining([expect.objectContaining({ rule: 'blocked' })]),
    })
    // Three messages without a code: it might be anybody's by now.
    expect([await again(130), await again(140), await again(150)]).toEqual([
      ...['allowed', 'allowed', 'challenge'],
    ])
    await settleSends(requests.db, 100, after(2 * 3_600))
    expect(await knownAt(2 * 3_600)).toBe(false)
    expect(await knownAt(3 * day)).toBe(false)
    // Until the next code.
    const later = send(address.value, { recipientId })
    await guard(later, after(4 * day))
    await creditSends(requests.db, [later.requestId], after(4 * day + 30))
    expect(await knownAt(4 * day + 60)).toBe(true)
  })

  test('observed only, all of it goes out, and is written down', async () => {
    const { send, guard, decisions } = await freshApp({ mode: 'observe', environment: 'staging' })
    for (let index = 0; index < 10; index++)
      expect((await guard(send(inBlock(index)), after(index))).verdict).toBe('allowed')
    const all = await decisions()
    expect(all.map(({ verdict }) => verdict)).toEqual(Array.from({ length: 10 }, () => 'allowed'))
    expect(all.at(-1)?.findings).not.toEqual([])
  })

  test('parallel sends share no room: as many go out as one after the other', async () => {
    const { send, guard } = await freshApp()
    const verdicts = await Promise.all(
      Array.from({ length: 60 }, (_, index) => guard(send(inBlock(index)), start)),
    )
    expect(verdicts.filter(({ verdict }) => verdict === 'allowed')).toHaveLength(5)
  })

  test('parallel sends of many places wait for nobody in a circle', async () => {
    const { send, guard } = await freshApp({ mode: 'observe' })
    const numbers = Array.from(
      { length: 200 },
      (_, index) => `+2332${20 + (index % 8)}${1_000_000 + index * 7}`,
    )
    const both = async (number: string, index: number) => {
      const one = send(number, { ip: `ip${index % 5}` })
      await guard(one, start)
      return creditSends(requests.db, [one.requestId], after(10))
    }
    // As many at once as there are connections.
    for (let first = 0; first < numbers.length; first += 20)
      expect(await Promise.all(numbers.slice(first, first + 20).map(both))).toEqual(
        Array.from({ length: 20 }, () => 1),
      )
  })
})

test('a challenge that most do not solve is asked for as long as that goes on', async () => {
  const attacked = await freshApp()
  const usual = await freshApp()
  const finding = (app: string) =>
    ({
      rule: 'app_loss',
      scope: 'app',
      name: `production|${app}|app`,
      asks: 'challenge',
      count: 41,
      limit: 40,
    }) as const
  for (const { app, send, guard } of [attacked, usual]) {
    await raiseBlock(requests.db, {
      appId: app,
      environment: 'production',
      finding: finding(app),
      label: app,
      at: start,
    })
    for (let index = 0; index < 40; index++) {
      const number = `+2332${20 + (index % 8)}${2_000_000 + index * 31_337}`
      expect((await guard(send(number), after(index))).verdict).toBe('challenge')
      if (app === attacked.app && index % 2 === 1) continue
      const solved = send(number, { isSolved: true })
      expect((await guard(solved, after(index))).verdict).toBe('allowed')
      await creditSends(requests.db, [solved.requestId], after(index))
    }
  }
  const later = after(910)
  expect((await usual.guard(usual.send('+233209999999'), later)).verdict).toBe('allowed')
  expect((await attacked.guard(attacked.send('+233209999999'), later)).verdict).toBe('challenge')
})

describe('codes that come back', () => {
  test('their messages wait no longer, and their places are known for it, once', async () => {
    const { send, guard, standing, decisions } = await freshApp()
    const one = send(inBlock(1))
    await guard(one, start)
    await guard(send(inBlock(2)), start)
    expect(await standing('block', inBlock(1), start)).toMatchObject({ pending: 2, passed: 0 })
    expect(await creditSends(requests.db, [one.requestId], after(30))).toBe(1)
    expect(await creditSends(requests.db, [one.requestId], after(40))).toBe(0)
    const now = await standing('block', inBlock(1), after(30))
    expect(now.pending).toBeCloseTo(Math.exp(-30 / 600), 6)
    expect(now).toMatchObject({ passed: 1, passedDay: 1, passedEver: 1 })
    expect(now.places).toHaveLength(1)
    const [first, second] = await decisions()
    expect(first).toMatchObject({ outcome: 'converted', scopes: null })
    expect(second).toMatchObject({ outcome: null })
  })

  test('a request of several messages is one code that came back', async () => {
    const { send, guard, standing } = await freshApp()
    const one = send(inBlock(1))
    for (const seconds of [0, 30, 60]) await guard(one, after(seconds))
    expect((await standing('block', inBlock(1), after(60))).pending).toBeGreaterThan(2.5)
    expect(await creditSends(requests.db, [one.requestId], after(60))).toBe(3)
    const now = await standing('block', inBlock(1), after(60))
    expect(now.pending).toBeCloseTo(0, 6)
    expect(now.passed).toBeCloseTo(1, 6)
  })

  test('counts fade by the time that is given, never by going back in it', async () => {
    const { send, guard, standing } = await freshApp()
    await guard(send(inBlock(1)), start)
    expect((await standing('block', inBlock(1), after(600))).pending).toBeCloseTo(Math.exp(-1), 6)
    await guard(send(inBlock(2)), after(-100))
    expect((await standing('block', inBlock(1), start)).pending).toBeCloseTo(2, 6)
  })
})

test('a place that nobody sent to for years, again and again, is counted as any other', async () => {
  const { send, guard, standing } = await freshApp()
  const one = send(inBlock(1))
  await guard(one, start)
  await creditSends(requests.db, [one.requestId], after(10))
  const days = 86_400
  for (let visit = 1; visit <= 40; visit++)
    expect((await guard(send(inBlock(2)), after(visit * 20 * days))).verdict).toBe('allowed')
  expect(await standing('block', inBlock(1), after(40 * 20 * days))).toMatchObject({
    pending: 1,
    passed: 0,
  })
})

describe('messages that had their time', () => {
  const quiet = async () => {
    const app = await freshApp()
    // Users elsewhere who come back: the app speaks.
    for (let index = 0; index < 12; index++) {
      const one = app.send(`+23320${String(1_234_567 + index * 50_017)}`)
      await app.guard(one, after(index * 60))
      await creditSends(requests.db, [one.requestId], after(index * 60 + 30))
    }
    return app
  }

  test('a drip that no burst shows is found by its silence', async () => {
    const { send, guard, blocks } = await quiet()
    let sent = 0
    for (let index = 0; index < 200; index++) {
      const at = after(3_600 + index * 432)
      await settleSends(requests.db, 500, at)
      if ((await guard(send(inBlock(index)), at)).verdict === 'allowed') sent++
    }
    expect(sent).toBeLessThan(20)
    expect((await blocks()).map(({ rule }) => rule)).toEqual(
      expect.arrayContaining(['block_silence']),
    )
  })

  test('fresh messages are no failures, and nothing is settled twice', async () => {
    const { send, guard, standing } = await freshApp()
    await guard(send(inBlock(1)), start)
    await settleSends(requests.db, 500, after(359))
    expect((await standing('block', inBlock(1), after(359))).failed).toBe(0)
    const both = await Promise.all([
      settleSends(requests.db, 500, after(361)),
      settleSends(requests.db, 500, after(361)),
    ])
    expect(both.reduce((sum, { count }) => sum + count, 0)).toBe(1)
    await settleSends(requests.db, 500, after(361))
    expect((await standing('block', inBlock(1), after(361))).failed).toBeCloseTo(1, 6)
  })

  test('whoever came back with a later code did not fail', async () => {
    const { app, send, guard, standing, decisions } = await freshApp()
    const address = { appId: app, kind: 'phone' as const, value: inBlock(3) }
    const { id: recipientId } = await holdRecipient(requests.db, requests.keyring, address)
    await guard(send(address.value, { recipientId }), start)
    const second = send(address.value, { recipientId })
    await guard(second, after(200))
    await creditSends(requests.db, [second.requestId], after(230))
    await settleSends(requests.db, 500, after(700))
    expect((await standing('block', address.value, after(700))).failed).toBe(0)
    expect((await decisions()).map(({ outcome }) => outcome)).toEqual(['superseded', 'converted'])
  })

  test('a credit that a crash lost is made up for', async () => {
    const opened = await requests.open()
    await requests.check(opened.requestId, await requests.codeOf(opened.requestId))
    await settleSends(requests.db, 500, new Date(Date.now() + 400_000))
    const row = await requests.db.one<{ outcome: string }>(
      sql`select outcome from send_decisions where request_id = ${opened.requestId}`,
    )
    expect(row?.outcome).toBe('converted')
  })
})

test('nothing of it holds a number, nor what leads to one once it is known how it ended', async () => {
  const { send, guard } = await freshApp()
  const one = send(inBlock(5))
  await guard(one, start)
  await creditSends(requests.db, [one.requestId], after(5))
  for (const table of [sql`send_standings`, sql`send_blocks`, sql`send_decisions`]) {
    const rows = await requests.db.many<{ row: string }>(sql`select t::text as row from ${table} t`)
    if (rows.length === 0) throw new Error('nothing to look at')
    for (const { row } of rows) expect(row).not.toContain(inBlock(5).slice(1))
  }
})
