import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { clientOf, freshPhone, type TestClient, until } from './harness/client'
import { startSystem, type System } from './harness/system'

let system: System
let client: TestClient

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
})
afterAll(() => system.stop())

interface Screen {
  message: string
  code: string | null
}

/** The user dials on the sandbox's phone. */
const dial = async (phone: string, service_code = '*920*1#') => {
  const response = await fetch(`${system.sandboxUrl}/phones/${encodeURIComponent(phone)}/dial`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ service_code }),
  })
  return (await response.json()) as Screen
}

/** Opens a session straight at the API, as the network would. */
async function session(phone_number: string, secret: string, account = 'sandbox-a') {
  const id = randomUUID()
  const at = new Date()
  const body = JSON.stringify({ session_id: id, phone_number })
  const response = await fetch(`${system.url}/ussd/${account}/session`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign(id, at, body),
    },
    body,
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

const sentByUssd = async (phone: string) => {
  const id = await client.sent(phone, { channels: ['ussd'] })
  const status = await until(async () => {
    const seen = await client.status(id)
    return seen.steps[0]?.status === 'succeeded' && seen
  })
  return { id, status }
}

describe('USSD', () => {
  test.concurrent(
    'the phone dials, the screen shows the code, and that is its delivery',
    async () => {
      const phone = freshPhone()
      const { id, status } = await sentByUssd(phone)
      expect(status).toMatchObject({ channel: 'ussd', delivered_at: expect.any(String) })
      const [{ text, code } = { text: '', code: '' }] = await client.inbox(phone)
      expect(code).toMatch(/^\d{6}$/)
      expect(text).toContain(code)
      // A screen is gone when the session ends: who dials again sees it again, until it was used.
      expect((await dial(phone)).message).toContain(code)
      expect((await client.verify({ phone_number: phone, code })).body.status).toBe('verified')
      expect((await dial(phone)).code).toBeNull()
      expect((await client.status(id)).state).toBe('verified')
    },
  )

  test.concurrent('a number for which no code waits gets a sentence and no code', async () => {
    const screen = await dial(freshPhone())
    expect(screen.code).toBeNull()
    expect(screen.message).toMatch(/^[A-Z].*\.$/)
    expect(screen.message).not.toMatch(/\d/)
    const bySms = freshPhone()
    await client.sent(bySms, { channels: ['sms'] })
    expect((await dial(bySms)).code).toBeNull()
  })

  test.concurrent(
    'a code waits at the account that it was announced by, and for its number only',
    async () => {
      const phone = freshPhone()
      const { status } = await sentByUssd(phone)
      expect(status.steps[0]?.attempts[0]?.provider).toBe('sandbox-a')
      const own = await session(phone, system.sandboxSecret)
      expect(own).toMatchObject({ status: 200, body: { code: expect.any(String), end: true } })
      const elsewhere = await session(phone, system.sandboxSecret, 'sandbox-b')
      expect(elsewhere).toMatchObject({ status: 200, body: { code: null } })
      const stranger = await session(freshPhone(), system.sandboxSecret)
      expect(stranger).toMatchObject({ status: 200, body: { code: null } })
    },
  )

  test.concurrent('a session that the network did not open is refused', async () => {
    const phone = freshPhone()
    await sentByUssd(phone)
    const forged = await session(phone, `whsec_${randomBytes(32).toString('base64')}`)
    expect(forged).toMatchObject({ status: 401, body: { error_code: 'INVALID_SIGNATURE' } })
    const [message] = await client.inbox(phone)
    expect(JSON.stringify(forged.body)).not.toContain(message?.code)
    expect(await session(phone, system.sandboxSecret, 'nobody')).toMatchObject({ status: 404 })
  })
})
