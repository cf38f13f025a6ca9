import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { setTimeout as sleep } from 'node:timers/promises'
import { type SQL, sql } from 'drizzle-orm'
import { inFlightLimits } from '../../api/admission'
import { createWatch } from '../../api/watch'
import { createDatabase } from '../../db'
import { type Answer, clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

let system: System
let server: Server
let client: TestClient
let otherClient: TestClient
/** Lets the starts go on that Temporal is made to keep waiting. */
let release: () => void

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  const released = new Promise<void>((resolve) => (release = resolve))
  const { engine } = system
  // A Temporal that takes its time is all that differs from the API in service.
  const slowEngine = { ...engine, start: () => released.then(() => ({ runId: 'slow' })) }
  server = createServer(system.makeApi(slowEngine))
  const url = await listen(server)
  client = clientOf({ ...system, url })
  otherClient = clientOf({ ...system, url }, system.otherKey)
})
afterAll(async () => {
  await closeServer(server)
  await system.stop()
})

const opened = async () =>
  (await system.db.one<{ count: number }>(sql`select count(*)::int as count from otp_requests`))
    ?.count

test('200 sends in flight are taken, the next one is refused at once, verify goes on', async () => {
  const sends: Promise<Answer<{ status: string; error_code?: string }>>[] = []
  // In waves, so that what is measured is the limit and not how fast this machine opens requests.
  for (let wave = 1; wave <= 10; wave++) {
    for (let n = 0; n < 20; n++) sends.push(client.send(freshPhone()))
    await until(async () => (await opened()) === wave * 20, { what: `wave ${wave}` })
  }

  const asked = Date.now()
  const refused = await client.send(freshPhone())
  // A send that waits for a connection does so for three seconds.
  expect(Date.now() - asked).toBeLessThan(2_500)
  expect(refused).toMatchObject({ status: 429, body: { error_code: 'OVERLOADED' } })
  expect(refused.headers.get('retry-after')).toBe('1')
  expect(await opened()).toBe(200)

  // What one app has taken keeps no other out.
  sends.push(otherClient.send(freshPhone()))
  await until(async () => (await opened()) === 201, { what: 'the send of another app' })

  const checks = await Promise.all(
    Array.from({ length: 100 }, () =>
      client.verify({ phone_number: freshPhone(), code: '123456' }),
    ),
  )
  expect(new Set(checks.map(({ body }) => body.error_code))).toEqual(new Set(['NO_ACTIVE_REQUEST']))

  release()
  const answers = await Promise.all(sends)
  expect(new Set(answers.map(({ status, body }) => `${status} ${body.status}`))).toEqual(
    new Set(['200 sent']),
  )
  expect((await client.send(freshPhone())).status).toBe(200)
})

test('callers who hang up while their key is looked up take no place with them', async () => {
  const keyLookUps = 300
  const slowDb = {
    ...system.db,
    one: async <T>(statement: SQL) => {
      await sleep(keyLookUps)
      return system.db.one<T>(statement)
    },
  }
  const slow = createServer(system.makeApi(system.engine, system.db, slowDb))
  const url = await listen(slow)
  // A key that this API has not met yet, and nobody has looked up in the meantime.
  const left = Array.from({ length: inFlightLimits.send }, async () => {
    const gone = AbortSignal.timeout(keyLookUps / 2)
    const headers = {
      authorization: `Bearer ${system.key}`,
      'content-type': 'application/json',
    }
    await fetch(`${url}/otp/send`, { method: 'POST', headers, body: '{}', signal: gone }).then(
      () => expect('answered').toBe('left'),
      () => undefined,
    )
  })
  try {
    await Promise.all(left)
    const { send } = clientOf({ ...system, url })
    // A place that was lost would never be free again.
    await until(async () => (await send(freshPhone())).status === 200, { what: 'a free place' })
  } finally {
    slow.closeAllConnections()
    await closeServer(slow)
  }
})

test('a code is checked while sends hold every connection of theirs', async () => {
  const sendsDb = createDatabase(system.databaseUrl, { max: 1 })
  const busy = createServer(system.makeApi(system.engine, sendsDb, system.db))
  const { verify } = clientOf({ ...system, url: await listen(busy) })
  await sendsDb.transaction(async () => {
    const asked = Date.now()
    expect((await verify({ phone_number: freshPhone(), code: '123456' })).status).toBe(200)
    // Its own wait for a connection would be three seconds.
    expect(Date.now() - asked).toBeLessThan(2_500)
  })
  await closeServer(busy)
  await sendsDb.close()
})

test('a caller for whom there is no place to wait gets its answer at once', async () => {
  const watch = createWatch(1)
  const { signal } = new AbortController()
  let news: string | undefined
  const look = () => Promise.resolve(news)
  const waiting = watch(look, { seconds: 10, signal })
  const asked = Date.now()
  expect(await watch(look, { seconds: 10, signal })).toBeUndefined()
  expect(Date.now() - asked).toBeLessThan(5_000)
  news = 'delivered'
  expect(await waiting).toBe('delivered')
  news = undefined
  const next = watch(look, { seconds: 10, signal })
  news = 'verified'
  expect(await next).toBe('verified')
})

test('while workers are so far behind that a code would come too late, sends are refused and checks go on', async () => {
  const fast = clientOf(system)
  await fast.sent(freshPhone())
  await system.db.many(sql`update otp_requests set workflow_started_at = now() - interval '11 s'
    where state = 'pending' and attempt_seq = 0`)
  const refused = await until(async () => {
    const answer = await fast.send(freshPhone())
    return answer.status === 429 && answer
  })
  expect(refused.body.error_code).toBe('OVERLOADED')
  expect(refused.headers.get('retry-after')).toBe('5')
  expect((await fast.verify({ phone_number: freshPhone(), code: '123456' })).status).toBe(200)
  await system.db.many(sql`update otp_requests set attempt_seq = 1 where attempt_seq = 0`)
  await until(async () => (await fast.send(freshPhone())).status === 200)
})
