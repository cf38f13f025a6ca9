import { createServer, type Server } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createAuthenticate } from '../../api/authenticate'
import { Problem } from '../../api/problem'
import { idOfKey, keyMatches, makeApiKey } from '../../codes/api-key'
import { environments } from '../../core/requests/state'
import { createDatabase } from '../../db'
import { createApiKey, revokeKey } from '../../db/apps/api-keys'
import { clientOf, until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

let system: System
const servers: Server[] = []

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
})
afterAll(async () => {
  await Promise.all(servers.map(closeServer))
  await system.stop()
})

const scopes = ['send', 'verify', 'read']
const newKey = (given: object = {}) =>
  createApiKey(system.db, { appId: 'app', environment: 'staging', scopes, ...given })

/** What the pattern in docs/api.md finds, for whoever scans code and logs for keys. */
const documentedPattern = /\botpk_(?:live|test|operator)_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}\b/

describe('the text of a key', () => {
  test('says what it is: kind, id, secret, checksum', () => {
    for (const environment of environments) {
      const ofApp = environment === 'production' ? /^otpk_live_/ : /^otpk_test_/
      for (const appId of ['app', null]) {
        const { key, id, digest } = makeApiKey({ appId, environment })
        expect(key).toMatch(appId === null ? /^otpk_operator_/ : ofApp)
        expect(idOfKey(key)).toBe(id)
        expect(keyMatches(key, digest)).toBe(true)
        expect(key.length).toBeLessThanOrEqual(255)
        expect(`"token": "${key}",`.match(documentedPattern)?.[0]).toBe(key)
      }
    }
  })

  test('no two are alike, and each has more than 128 random bits', () => {
    const keys = Array.from(
      { length: 2_000 },
      () => makeApiKey({ appId: 'app', environment: 'staging' }).key,
    )
    expect(new Set(keys).size).toBe(keys.length)
    // 32 characters out of 62, every one of them in use at every place.
    expect(32 * Math.log2(62)).toBeGreaterThan(128)
    for (let place = 0; place < 32; place++)
      expect(new Set(keys.map((key) => key[23 + place])).size).toBe(62)
  })

  test('any one character changed is a wrong checksum', () => {
    const { key } = makeApiKey({ appId: 'app', environment: 'staging' })
    for (let i = 'otpk_test_'.length; i < key.length; i++) {
      if (key[i] === '_') continue
      const changed = key.slice(0, i) + (key[i] === 'a' ? 'b' : 'a') + key.slice(i + 1)
      expect([i, idOfKey(changed)]).toEqual([i, undefined])
    }
  })
})

describe('a call', () => {
  test('with what is no key of ours is refused without asking Postgres', async () => {
    // Nobody listens there: whoever asks gets another fault than the refusal.
    const nowhere = createDatabase('postgres://nobody@127.0.0.1:9/none')
    const authenticate = createAuthenticate(nowhere, { region: undefined })
    const refusal = (presented: string | undefined) =>
      authenticate(presented, { scope: 'send' }).then(
        () => 'passed',
        (error: unknown) => (error instanceof Problem ? error.code : 'asked'),
      )
    const { key } = makeApiKey({ appId: 'app', environment: 'staging' })
    const broken = `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`
    for (const presented of [
      undefined,
      '',
      'Bearer',
      `Bearer ${broken}`,
      `Bearer ${key}0`,
      `Basic ${key}`,
      `Bearer ${'a'.repeat(255)}`,
      `Bearer ${'a'.repeat(10_000)}`,
      `Bearer ${key.replace('_test_', '_live_')}`,
      `Bearer ${key.replace('_test_', '_operator_')}`,
    ])
      expect([presented, await refusal(presented)]).toEqual([presented, 'UNAUTHENTICATED'])
    expect(await refusal(`Bearer ${key}`)).toBe('asked')
    await nowhere.close()
  })

  test('with an unknown id and with a wrong secret get the same answer', async () => {
    const unknown = makeApiKey({ appId: 'app', environment: 'staging' }).key
    const forged = await newKey()
    await system.db.many(sql`update api_keys set digest = sha256('other') where id = ${forged.id}`)
    const answerTo = async (key: string) => {
      const { status, body } = await clientOf(system, key).call('POST', '/otp/search', {})
      return { status, ...body, trace_id: '', instance: '' }
    }
    expect(await answerTo(unknown)).toMatchObject({ status: 401, error_code: 'UNAUTHENTICATED' })
    expect(await answerTo(unknown)).toEqual(await answerTo(forged.key))
    // Knowing an id is no use of the key.
    const row = await system.db.one(sql`select last_used_at from api_keys where id = ${forged.id}`)
    expect(row).toEqual({ last_used_at: null })
  })

  test('notes the use of its key, once a minute', async () => {
    const { key, id } = await newKey()
    const lastUsed = async () =>
      (
        await system.db.one<{ at: Date | null }>(
          sql`select last_used_at as at from api_keys where id = ${id}`,
        )
      )?.at
    // Each API has not seen the key before, so each writes if it may.
    const use = async () => {
      const url = await newProcess()
      expect((await clientOf({ ...system, url }, key).call('POST', '/otp/search', {})).status).toBe(
        200,
      )
    }
    await use()
    const first = await until(lastUsed, { what: 'the first use' })
    await use()
    // What is not written has nothing that comes after it.
    await pause(300)
    expect(await lastUsed()).toEqual(first)
    await system.db.many(
      sql`update api_keys set last_used_at = now() - interval '61 seconds' where id = ${id}`,
    )
    await use()
    await until(async () => ((await lastUsed()) ?? 0) >= first, { what: 'the next use' })
  })

  test('is refused once the database’s clock says that its key is over', async () => {
    const { key, id } = await newKey({ expiresInSeconds: 3 })
    const search = async () => (await clientOf(system, key).call('POST', '/otp/search', {})).status
    expect(await search()).toBe(200)
    const over = () =>
      system.db.one<{ over: boolean }>(
        sql`select expires_at <= now() as over from api_keys where id = ${id}`,
      )
    await until(async () => (await over())?.over, { what: 'the expiry' })
    // An answer of the look-up is kept for two seconds.
    await pause(2_100)
    expect(await search()).toBe(401)
  })
})

/** An API beside the system's own, with a memory of keys of its own, as another process has. */
async function newProcess(): Promise<string> {
  const server = createServer(system.makeApi())
  servers.push(server)
  return listen(server)
}

test('under load a revoked key stops within five seconds everywhere, and no other key feels it', async () => {
  const urls = [system.url, await newProcess(), await newProcess()]
  const [revoked, kept] = await Promise.all([
    newKey({ requestsPerMinute: 1_000_000 }),
    newKey({ requestsPerMinute: 1_000_000 }),
  ])
  const passed = new Map(urls.map((url) => [url, { first: 0, last: 0, refused: 0 }]))
  const others: number[] = []
  const over = new AbortController()

  const load = async (
    url: string,
    key: string,
    answered: (status: number, askedAt: number) => void,
  ) => {
    const client = clientOf({ ...system, url }, key)
    while (!over.signal.aborted) {
      const askedAt = performance.now()
      const given = { request_id: 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa', code: '123456' }
      answered((await client.verify(given)).status, askedAt)
    }
  }
  const loads = urls.flatMap((url) => [
    load(url, revoked.key, (status, askedAt) => {
      const seen = passed.get(url)
      if (!seen) return
      if (status === 401) {
        seen.refused++
        return
      }
      seen.first ||= askedAt
      seen.last = askedAt
    }),
    load(url, kept.key, (status) => others.push(status)),
  ])
  const all = () => [...passed.values()]
  await until(async () => all().every(({ first }) => first > 0), { what: 'calls everywhere' })
  await revokeKey(system.db, revoked.id)
  const since = performance.now()
  await pause(6_500)
  await until(async () => all().every(({ refused }) => refused > 10) && others.length > 100, {
    what: 'enough calls',
  })
  over.abort()
  await Promise.all(loads)

  for (const [url, { first, last }] of passed) {
    expect([url, first > 0 && first < since]).toEqual([url, true])
    expect(last - since).toBeLessThan(5_000)
  }
  expect(new Set(others)).toEqual(new Set([200]))
})
