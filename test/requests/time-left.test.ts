import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

// What a message says of its code's time is what is left of it.

let system: System
let client: TestClient
beforeAll(async () => {
  system = await startSystem({ channels: ['sms', 'voice', 'whatsapp', 'email'] })
  client = clientOf(system)
})
afterAll(() => system?.stop())

/** Some of a request's time goes by, and of its last message's. */
async function pass(requestId: string, seconds: number): Promise<void> {
  const span = sql`make_interval(secs => ${seconds})`
  await system.db
    .many(sql`update otp_requests set created_at = created_at - ${span}, expires_at = expires_at - ${span}
    where id = ${requestId}`)
  await system.db.many(
    sql`update attempts set claimed_at = claimed_at - ${span} where request_id = ${requestId}`,
  )
}
const textsTo = async (phone: string) =>
  (await client.inbox(phone)).map(({ channel, text }) => [channel, text] as const).toReversed()
const arrived = (phone: string, count: number) =>
  until(async () => (await client.inbox(phone)).length === count, { what: `${count} messages` })

test.each([
  ['in our own words', {}, /3 minutes/, /1 minute(?!s)/],
  ['by the caller’s {{minutes}}', { message: '{{code}}/{{minutes}}/' }, /\/3\/$/, /\/1\/$/],
])('a resend does not promise the whole lifetime again: %s', async (_, given, first, second) => {
  const phone = freshPhone()
  const id = await client.sent(phone, { channels: ['sms'], expiry_seconds: 130, ...given })
  await arrived(phone, 1)
  await pass(id, 86)
  expect((await client.call('POST', `/otp/${id}/resend`)).status).toBe(200)
  await arrived(phone, 2)
  const [[, before] = [], [, after] = []] = await textsTo(phone)
  expect(before).toMatch(first)
  expect(after).toMatch(second)
})

test('nor does another channel that is asked for', async () => {
  const phone = freshPhone()
  const given = { channels: ['sms', 'voice'], message: '{{code}}/{{minutes}}/' }
  const id = await client.sent(phone, given)
  await arrived(phone, 1)
  await pass(id, 200)
  expect((await client.call('POST', `/otp/${id}/next`)).status).toBe(200)
  await arrived(phone, 2)
  const [[, sms] = [], [channel, call] = []] = await textsTo(phone)
  expect([sms, channel, call]).toEqual([
    expect.stringMatching(/\/5\/$/),
    'voice',
    expect.stringMatching(/\/2\/$/),
  ])
})

test('nor does a mail, or a WhatsApp message', async () => {
  const email = 'left@example.com'
  const { body } = await client.call('POST', '/otp/send', { email })
  const id = String(body.request_id)
  const phone = freshPhone()
  const other = await client.sent(phone, { channels: ['sms', 'whatsapp'] })
  await Promise.all([arrived(email, 1), arrived(phone, 1)])
  await Promise.all([pass(id, 200), pass(other, 200)])
  expect((await client.call('POST', `/otp/${id}/resend`)).status).toBe(200)
  expect((await client.call('POST', `/otp/${other}/next`)).status).toBe(200)
  await Promise.all([arrived(email, 2), arrived(phone, 2)])
  const lifetimes = async (to: string) =>
    (await textsTo(to)).map(([channel, text]) => [channel, /(\d+) minutes?/.exec(text)?.[1]])
  expect(await lifetimes(email)).toEqual([
    ['email', '5'],
    ['email', '2'],
  ])
  expect(await lifetimes(phone)).toEqual([
    ['sms', '5'],
    ['whatsapp', '2'],
  ])
})
