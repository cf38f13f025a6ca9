import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { clientOf, freshPhone, type TestClient } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let operator: TestClient
beforeAll(async () => {
  system = await startSystem({ channels: ['sms', 'email'] })
  client = clientOf(system)
  operator = clientOf(system, system.operatorKey)
})
afterAll(() => system.stop())

async function blocked(kind: string, value: string): Promise<() => Promise<unknown>> {
  const entry = { app_id: 'app', verdict: 'block', kind, value }
  const { body } = await operator.call<{ entry_id: string }>('POST', '/admin/lists', entry)
  return () => operator.call('DELETE', `/admin/lists/${body.entry_id}`)
}
const statusOf = async (recipient: { phone_number: string } | { email: string }) =>
  (await client.call('POST', '/otp/send', recipient)).status

test('a block of a number is one of each spelling that its subscriber has', async () => {
  const rest = freshPhone().slice(-6)
  const [today, old, another] = [`+24166${rest}`, `+24106${rest}`, `+24174${rest}`]
  const lift = await blocked('phone_number', today)
  expect(await statusOf({ phone_number: old })).toBe(403)
  expect(await statusOf({ phone_number: another })).toBe(200)
  await lift()
  expect(await statusOf({ phone_number: old })).toBe(200)
})

test('a block of an address is one of its mailbox', async () => {
  const lift = await blocked('email', 'Ann@Example.com')
  expect(await statusOf({ email: 'Ann+1@example.com' })).toBe(403)
  expect(await statusOf({ email: 'a.nn@example.com' })).toBe(200)
  await lift()
  expect(await statusOf({ email: 'Ann+1@example.com' })).toBe(200)
})
