import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { type Answer, clientOf, freshPhone, type TestClient, until } from './harness/client'
import { closeServer, listen } from './harness/listening'
import { startSystem, type System } from './harness/system'

let system: System
let server: Server
let client: TestClient
/** Lets the starts go on that Temporal is made to keep waiting. */
let release: () => void

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  const released = new Promise<void>((resolve) => (release = resolve))
  const { engine } = system
  // A Temporal that takes its time is all that differs from the API in service.
  const slowEngine = { ...engine, start: () => released.then(() => ({ runId: 'slow' })) }
  server = createServer(system.makeApi(slowEngine))
  client = clientOf({ ...system, url: await listen(server) })
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
  expect(Date.now() - asked).toBeLessThan(1_000)
  expect(refused).toMatchObject({ status: 429, body: { error_code: 'OVERLOADED' } })
  expect(refused.headers.get('retry-after')).toBe('1')
  expect(await opened()).toBe(200)

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
