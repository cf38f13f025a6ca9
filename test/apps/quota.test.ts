import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createQuota, type TakeQuota } from '../../api/quota'
import { createDatabase } from '../../db'
import { createApiKey } from '../../db/apps/api-keys'
import { deleteOutlived } from '../../db/upkeep/cleanup'
import { startApiProcess } from '../harness/api-process'
import { clientOf } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { withinOne } from '../harness/windows'

let system: System
let second: Awaited<ReturnType<typeof startApiProcess>>

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  second = await startApiProcess(system)
})
afterAll(async () => {
  await second?.stop()
  await system?.stop()
})

withinOne('minute', 20, () => system.db)

let lastKey = 0
const freshKey = (requestsPerMinute: number) => ({
  id: `key${++lastKey}`,
  requestsPerMinute,
  publishable: false,
})
type FreshKey = ReturnType<typeof freshKey>

const takenOf = async (id: string) =>
  (
    await system.db.one<{ taken: number }>(
      sql`select sum(taken)::int as taken from key_quotas where key_id = ${id}`,
    )
  )?.taken

/** How many of `count` calls at once, by turns over the instances, are let through. */
async function letThrough(takes: TakeQuota[], key: FreshKey, count: number): Promise<number> {
  const calls = Array.from({ length: count }, async (_, turn) => takes[turn % takes.length]?.(key))
  const results = await Promise.allSettled(calls)
  for (const result of results)
    if (result.status === 'rejected')
      expect(result.reason).toMatchObject({ code: 'QUOTA_EXCEEDED' })
  return results.filter(({ status }) => status === 'fulfilled').length
}

describe('over all processes', () => {
  test.each([1, 7, 100, 999])('%i a minute are let through, and not one more', async (quota) => {
    const takes = Array.from({ length: 4 }, () => createQuota(system.db))
    const key = freshKey(quota)
    const count = await letThrough(takes, key, quota + 300)
    expect(count).toBeLessThanOrEqual(quota)
    // The calls were spread evenly: what one instance holds in vain is less than its last share.
    expect(count).toBeGreaterThan(quota - takes.length * Math.ceil(quota / 20))
  })

  test('one process alone gets all of it', async () => {
    expect(await letThrough([createQuota(system.db)], freshKey(130), 200)).toBe(130)
  })

  test('a key without any gets nothing', async () => {
    expect(await letThrough([createQuota(system.db)], freshKey(0), 3)).toBe(0)
  })

  test('keys do not share', async () => {
    const take = createQuota(system.db)
    expect(await letThrough([take], freshKey(10), 20)).toBe(10)
    expect(await letThrough([take], freshKey(10), 20)).toBe(10)
  })

  test('a new minute brings a new quota; what was left of the old one is gone', async () => {
    const take = createQuota(system.db)
    const [spent, half] = [freshKey(5), freshKey(1_000)]
    expect(await letThrough([take], spent, 6)).toBe(5)
    expect(await letThrough([take], half, 10)).toBe(10)
    const realNow = performance.now.bind(performance)
    performance.now = () => realNow() + 60_000
    try {
      await system.db.many(
        sql`update key_quotas set minute = minute - interval '1 minute' where key_id in (${spent.id}, ${half.id})`,
      )
      expect(await letThrough([take], spent, 6)).toBe(5)
      expect(await letThrough([take], half, 2_000)).toBe(1_000)
    } finally {
      performance.now = realNow
    }
  })
})

describe('cost', () => {
  test('6,000 calls take 20 statements', async () => {
    let statements = 0
    const counting = {
      ...system.db,
      one: <T>(statement: Parameters<typeof system.db.one<T>>[0]) => {
        statements++
        return system.db.one<T>(statement)
      },
    }
    const take = createQuota(counting)
    const key = freshKey(6_000)
    for (let n = 0; n < 6_000; n++) await take(key)
    expect(statements).toBe(20)
    // One more finds out that there is nothing left; after it nobody asks again.
    expect(await letThrough([take], key, 500)).toBe(0)
    expect(statements).toBe(21)
  })

  test('calls that wait for the same share make one statement', async () => {
    const key = freshKey(2_000)
    expect(await letThrough([createQuota(system.db)], key, 100)).toBe(100)
    expect(await takenOf(key.id)).toBe(100)
  })
})

test('without Postgres nothing is let through once the share is spent', async () => {
  const gone = createDatabase('postgres://nobody@127.0.0.1:9/none')
  const own = createDatabase(system.databaseUrl)
  let db = own
  const take = createQuota({ one: (statement) => db.one(statement), many: (s) => db.many(s) })
  const key = freshKey(40)
  await take(key)
  db = gone
  await take(key)
  await expect(take(key)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  db = own
  await take(key)
  await own.close()
  await gone.close()
})

describe('over HTTP', () => {
  const limitedKey = async (requestsPerMinute: number, given = {}) => {
    const { key } = await createApiKey(system.db, {
      appId: 'app',
      environment: 'staging',
      scopes: ['send', 'verify'],
      ...given,
    })
    const [, , id = ''] = key.split('_')
    await system.db.many(
      sql`update api_keys set requests_per_minute = ${requestsPerMinute} where id = ${id}`,
    )
    return { key, id }
  }
  const call = (url: string, key: string) =>
    clientOf({ ...system, url }, key).call('GET', '/otp/challenge')

  test('two processes let 60 of 200 calls through', async () => {
    const { key } = await limitedKey(60)
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) => call(n % 2 ? system.url : second.url, key)),
    )
    const passed = answers.filter(({ status }) => status === 200)
    const refused = answers.filter(({ status }) => status !== 200)
    expect(passed.length).toBeLessThanOrEqual(60)
    expect(passed.length).toBeGreaterThan(60 - 2 * 3)
    expect(
      new Set(refused.map(({ status, body }) => `${status} ${String(body.error_code)}`)),
    ).toEqual(new Set(['429 QUOTA_EXCEEDED']))
    for (const { headers } of refused) {
      const [, left, seconds] = /^"key";r=(\d+);t=(\d+)$/.exec(headers.get('ratelimit') ?? '') ?? []
      expect(left).toBe('0')
      expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(Number(seconds))
      expect(Number(seconds)).toBeLessThanOrEqual(60)
    }
  })

  test('the headers are structured fields, and count down', async () => {
    const { key } = await limitedKey(50)
    const first = await call(system.url, key)
    expect(first.headers.get('ratelimit-policy')).toBe('"key";q=50;w=60')
    const left = async () =>
      /^"key";r=(\d+);t=\d+$/.exec(
        (await call(system.url, key)).headers.get('ratelimit') ?? '',
      )?.[1]
    expect(first.headers.get('ratelimit')).toMatch(/^"key";r=49;t=\d{1,2}$/)
    expect(await left()).toBe('48')
    expect(await left()).toBe('47')
  })

  test('refusals of a call carry them too; a wrong key learns nothing', async () => {
    const { key } = await limitedKey(50)
    const client = clientOf(system, key)
    const refused = await client.call('GET', `/otp/otp_${'a'.repeat(26)}`)
    expect(refused.status).toBe(403)
    expect(refused.headers.get('ratelimit')).toBeNull()
    const bad = await client.verify({ code: 'x' })
    expect(bad.status).toBe(400)
    expect(bad.headers.get('ratelimit')).toMatch(/^"key";r=49;/)
    const unknown = await call(system.url, `${key.slice(0, -1)}x`)
    expect(unknown.status).toBe(401)
    expect(unknown.headers.get('ratelimit')).toBeNull()
  })

  test('strangers who read a publishable key are not told how much it is used', async () => {
    const { key } = await limitedKey(2, { publishable: true })
    const answers = [
      await call(system.url, key),
      await call(system.url, key),
      await call(system.url, key),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429])
    expect(answers[2]?.body.error_code).toBe('QUOTA_EXCEEDED')
    expect(answers[2]?.headers.get('retry-after')).toMatch(/^\d+$/)
    for (const { headers } of answers) {
      expect(headers.get('ratelimit')).toBeNull()
      expect(headers.get('ratelimit-policy')).toBeNull()
    }
  })
})

test('cleanup takes the rows of minutes that are over', async () => {
  await system.db.many(sql`insert into key_quotas (key_id, minute, taken)
    values ('old', now() - interval '1 hour', 1), ('new', date_trunc('minute', now()), 1)`)
  await deleteOutlived(system.db, 1_000)
  const left = await system.db.many<{ id: string }>(sql`select key_id as id from key_quotas`)
  expect(left.map(({ id }) => id)).toContain('new')
  expect(left.map(({ id }) => id)).not.toContain('old')
})
