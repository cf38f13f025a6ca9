import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { createApiKey } from '../../db/apps/api-keys'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

interface Screen {
  message: string
  code: string | null
  ends: boolean
  session_id: string
}

describe.each([
  {
    account: 'africas-talking',
    serviceCode: '*384*77#',
    body: 'sessionId=s1&phoneNumber=%2B254711000001',
  },
  {
    account: 'arkesel',
    serviceCode: undefined,
    body: '{"sessionID":"s1","msisdn":"233241234567"}',
  },
])('USSD by $account', ({ account, serviceCode, body: forged }) => {
  let system: System
  let client: TestClient
  let other: TestClient
  const logged: string[] = []
  /** Numbers and codes that went over the wire here. */
  const secrets: string[] = ['a-callback-secret-of-the-fake']

  beforeAll(async () => {
    const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) })
    system = await startSystem({ fakes: [account], log })
    client = clientOf(system, system.liveKey)
    const { key } = await createApiKey(system.db, {
      ...{ appId: 'other', environment: 'production', scopes: ['send', 'verify', 'read'] },
    })
    other = clientOf(system, key)
  })
  afterAll(() => system?.stop())

  const dial = async (phone: string, more: Record<string, unknown>) => {
    const address = `${system.sandboxUrl}/phones/${encodeURIComponent(phone)}/dial`
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(address, { method: 'POST', headers, body: JSON.stringify(more) })
    const screen = (await answer.json()) as Screen
    secrets.push(phone.slice(1), screen.message, ...(screen.code === null ? [] : [screen.code]))
    return screen
  }

  test('a live send says what to dial; who dials reads the code, and that is its delivery', async () => {
    const phone = freshPhone()
    const sent = await client.call<{ request_id: string; instruction: string }>(
      'POST',
      '/otp/send',
      { phone_number: phone, channels: ['ussd'] },
    )
    expect(sent.status).toBe(200)
    const { instruction, request_id: id } = sent.body
    expect(instruction).toMatch(/^\*\d+(\*\d+)*#$/)
    if (serviceCode) expect(instruction).toBe(serviceCode)
    const { code, message, ends } = await dial(phone, { service_code: instruction })
    expect({ message, ends }).toEqual({ message: expect.stringContaining(code ?? '?'), ends: true })
    const { steps } = await until(async () => {
      const seen = await client.status(id)
      return seen.delivered_at !== null && seen
    })
    expect(steps[0]).toMatchObject({ channel: 'ussd', status: 'succeeded', instruction })
    // The step's own attempt may be behind a user as fast as this.
    const dialled = steps[0]?.attempts.find(({ status }) => status === 'delivered')
    expect(dialled).toMatchObject({ provider: account, channel: 'ussd' })
    expect((await client.verify({ phone_number: phone, code })).body.status).toBe('verified')
    // The sandbox's own service code is another account.
    const elsewhere = await dial(phone, { service_code: '*920*1#' })
    expect(elsewhere.code).toBeNull()
  })

  test('two apps with a code at one number: a list, answered in the provider’s own way', async () => {
    const phone = freshPhone()
    await client.sent(phone, { channels: ['ussd'] })
    const second = { phone_number: phone, channels: ['ussd'] }
    const { body } = await other.call<{ instruction: string }>('POST', '/otp/send', second)
    const { instruction } = body
    const menu = await dial(phone, { service_code: instruction })
    expect(menu).toMatchObject({ code: null, ends: false })
    expect(menu.message.split('\n').slice(1)).toEqual(['1 Other', '2 Acme'])
    const { session_id } = menu
    const chosen = await dial(phone, { service_code: instruction, session_id, inputs: ['2'] })
    expect(chosen).toMatchObject({ message: expect.stringContaining('Acme'), ends: true })
    const checked = await client.verify({ phone_number: phone, code: chosen.code })
    expect(checked.body.status).toBe('verified')
  })

  test('another secret in the address is no session, and is written down', async () => {
    const answer = await fetch(`${system.url}/ussd/${account}/${'x'.repeat(40)}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: forged,
    })
    expect(answer.status).toBe(401)
    const without = await fetch(`${system.url}/ussd/${account}/session`, {
      method: 'POST',
      body: forged,
    })
    expect(without.status).toBe(401)
    const noted = await system.db
      .many(sql`select detail ->> 'provider' as provider from audit_events
      where type = 'callback_refused'`)
    expect(noted).toEqual([{ provider: account }])
  })

  test('nothing of it is in the logs but that it happened', () => {
    const sessions = logged.filter((line) => line.includes('/ussd/{provider}/{secret}'))
    expect(sessions.length).toBeGreaterThanOrEqual(4)
    expect(secrets.length).toBeGreaterThan(6)
    for (const secret of secrets) expect(logged.filter((line) => line.includes(secret))).toEqual([])
  })
})
