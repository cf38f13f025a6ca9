import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { startApiProcess } from '../harness/api-process'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let second: Awaited<ReturnType<typeof startApiProcess>>
/** One client for each of two API processes over one database. */
let clients: [TestClient, TestClient]

beforeAll(async () => {
  system = await startSystem()
  second = await startApiProcess(system)
  clients = [clientOf(system), clientOf({ ...system, url: second.url })]
})
afterAll(async () => {
  await second.stop()
  await system.stop()
})

/** Makes `count` calls at once, by turns over both processes. */
const atOnce = <T>(count: number, call: (client: TestClient) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, turn) => call(clients[turn % 2 === 0 ? 0 : 1])))

const tally = (words: (string | number | undefined)[]) =>
  Object.fromEntries(
    [...Map.groupBy(words, String)].map(([word, { length }]) => [word, length] as const),
  )

async function sentCode() {
  const phone = freshPhone()
  const id = await clients[0].sent(phone)
  const message = await until(async () => (await clients[0].inbox(phone))[0])
  return { phone, id, code: message.code }
}

test('200 wrong checks at once: five count, and the request is locked', async () => {
  const { phone, id, code } = await sentCode()
  const wrong = code.replace(/^./, (digit) => String((Number(digit) + 1) % 10))
  const answers = await atOnce(200, (client) => client.verify({ phone_number: phone, code: wrong }))
  expect(tally(answers.map(({ status, body }) => `${status} ${body.error_code}`))).toEqual({
    '200 INVALID_CODE': 5,
    '429 LOCKED': 195,
  })
  const left = answers.flatMap(({ status, body }) =>
    status === 200 ? [body.attempts_remaining] : [],
  )
  expect(new Set(left)).toEqual(new Set([0, 1, 2, 3, 4]))
  expect(await clients[1].status(id)).toMatchObject({
    state: 'locked',
    checks: { used: 5, max: 5 },
  })
  expect((await clients[1].verify({ phone_number: phone, code })).body.error_code).toBe('LOCKED')
})

test('40 right checks at once: one verifies', async () => {
  const { id, code } = await sentCode()
  const answers = await atOnce(40, (client) => client.verify({ request_id: id, code }))
  expect(
    tally(answers.map(({ status, body }) => `${status} ${body.error_code ?? body.status}`)),
  ).toEqual({ '200 verified': 1, '200 ALREADY_USED': 39 })
  const { events } = await clients[1].status(id)
  expect(events.filter(({ type }) => type === 'verified')).toHaveLength(1)
})

test('100 equal sends with one Idempotency-Key: one request, one message, 100 times 200', async () => {
  const phone = freshPhone()
  const headers = { 'idempotency-key': `key-${phone}` }
  const answers = await atOnce(100, (client) => client.send(phone, {}, headers))
  expect(tally(answers.map(({ status }) => status))).toEqual({ 200: 100 })
  expect(new Set(answers.map(({ body }) => body.request_id)).size).toBe(1)
  const replays = answers.filter(
    ({ headers: answered }) => answered.get('idempotent-replayed') === 'true',
  )
  expect(replays).toHaveLength(99)
  const rows = await system.db.many(
    sql`select id from otp_requests where id = ${answers[0]?.body.request_id}`,
  )
  expect(rows).toHaveLength(1)
  await until(async () => (await clients[0].inbox(phone)).length > 0)
  // A second message would come at once: nothing comes after it that could be waited for.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  expect(await clients[0].inbox(phone)).toHaveLength(1)
})

test('100 sends to one number at once: three pass, as one request with one message', async () => {
  const phone = freshPhone()
  const answers = await atOnce(100, (client) => client.send(phone))
  expect(
    tally(answers.map(({ status, body }) => `${status} ${body.error_code ?? body.status}`)),
  ).toEqual({
    '200 sent': 3,
    '429 RATE_LIMITED': 97,
  })
  const ids = answers.flatMap(({ status, body }) => (status === 200 ? [body.request_id] : []))
  expect(new Set(ids).size).toBe(1)
  await until(async () => (await clients[0].inbox(phone)).length > 0)
  // A second message would come at once: nothing comes after it that could be waited for.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  expect(await clients[0].inbox(phone)).toHaveLength(1)
})
