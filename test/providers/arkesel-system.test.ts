import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { flipped } from '../harness/adapter-rig'
import { startRecorder } from '../harness/recorder'
import { startSystem, type System } from '../harness/system'

/** Refusals of callbacks that belong to no request. */
const refusals = async ({ db }: System, provider: string) => {
  const row = await db.one<{ count: number }>(sql`select count(*)::int as count from audit_events
    where app_id is null and type = 'callback_refused' and detail->>'provider' = ${provider}`)
  return row?.count
}

describe('with Arkesel as its sandbox plays it', () => {
  let system: System
  let client: TestClient
  beforeAll(async () => {
    system = await startSystem({ fakes: ['arkesel'], channels: ['sms', 'ussd'] })
    client = clientOf(system, system.liveKey)
  })
  afterAll(() => system.stop())

  const attemptsOf = async (id: string) =>
    (await client.status(id)).steps.flatMap(({ attempts }) => attempts)

  test.concurrent('an SMS is delivered and its code verifies', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    const delivered = await until(
      async () => {
        const status = await client.status(id)
        return status.delivered_at !== null && status
      },
      { what: 'the delivery' },
    )
    expect(delivered.steps[0]?.attempts).toMatchObject([
      { provider: 'arkesel', channel: 'sms', status: 'delivered' },
    ])
    const [{ provider, text, code } = { provider: '', text: '', code: '' }] =
      await client.inbox(phone)
    expect({ provider, text }).toEqual({ provider: 'arkesel', text: expect.stringContaining(code) })
    expect((await client.verify({ phone_number: phone, code })).body.status).toBe('verified')
  })

  test.concurrent('a failure, which nobody calls back about, is found by asking', async () => {
    const phone = freshPhone()
    await client.script(phone, { on: { channel: 'sms' }, receipt: 'failed' })
    const id = await client.sent(phone)
    const attempt = await until(
      async () => (await attemptsOf(id)).find(({ status }) => status === 'failed.retryable'),
      { what: 'the failure' },
    )
    expect(attempt).toMatchObject({ provider: 'arkesel', channel: 'sms' })
    // And the next channel has its turn long before the step's 30 s.
    await until(async () => (await attemptsOf(id)).find(({ channel }) => channel === 'ussd'))
  })

  test.concurrent('a number that it does not know is said so', async () => {
    const phone = freshPhone()
    await client.script(phone, { accept: { error_code: 'INVALID_NUMBER' } })
    const id = await client.sent(phone, { channels: ['sms'] })
    const attempt = await until(async () => (await attemptsOf(id)).find(({ fault }) => fault))
    expect(attempt).toMatchObject({ fault: 'invalid_number' })
  })

  test.concurrent('a number that is blocked is found out by asking', async () => {
    const phone = freshPhone()
    await client.script(phone, { accept: { error_code: 'BLOCKED' } })
    const id = await client.sent(phone, { channels: ['sms'] })
    await until(async () => (await attemptsOf(id))[0]?.status === 'failed.permanent')
  })

  test.concurrent('a USSD session shows the code to who dials', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['ussd'] })
    const waiting = await until(async () => {
      const status = await client.status(id)
      return status.instruction !== undefined && status
    })
    expect(waiting.instruction).toBe('*928*77#')
    const answer = await fetch(`${system.sandboxUrl}/phones/${encodeURIComponent(phone)}/dial`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ service_code: waiting.instruction }),
    })
    const shown = (await answer.json()) as { message: string; code: string }
    expect(shown).toMatchObject({ message: expect.stringContaining(shown.code), ends: true })
    await until(async () => (await client.status(id)).delivered_at !== null)
    expect((await client.verify({ request_id: id, code: shown.code })).body.status).toBe('verified')
  })

  test('a session at an address with a wrong secret is refused and audited', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['ussd'] })
    const session = {
      sessionID: 's1',
      userID: 'ACME_USSD',
      newSession: true,
      msisdn: phone.slice(1),
      userData: '*928*77#',
      network: 'MTN',
    }
    const secret = 'a-callback-secret-of-the-fake'
    const ask = async (path: string) => {
      const headers = { 'content-type': 'application/json' }
      const body = JSON.stringify(session)
      const answer = await fetch(system.url + path, { method: 'POST', headers, body })
      return { status: answer.status, text: await answer.text() }
    }
    for (const path of [flipped(secret), 'session', `${secret}x`]) {
      const { status, text } = await ask(`/ussd/arkesel/${path}`)
      expect([status, text]).toEqual([401, expect.stringContaining('INVALID_SIGNATURE')])
      expect(text).not.toMatch(/\b\d{6}\b/)
    }
    expect(await refusals(system, 'arkesel')).toBe(1)
    expect((await client.status(id)).state).toBe('pending')
    expect((await ask(`/ussd/arkesel/${secret}`)).status).toBe(200)
  })
})

describe('with codes that Arkesel makes', () => {
  let system: System
  let client: TestClient
  beforeAll(async () => {
    system = await startSystem({ fakes: ['arkesel'], delegated: { arkesel: ['ussd'] } })
    client = clientOf(system, system.liveKey)
  })
  afterAll(() => system.stop())

  test('its own dial string is what the user is told, and its code verifies once', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['ussd'] })
    const { instruction } = await until(async () => {
      const status = await client.status(id)
      return status.instruction !== undefined && status
    })
    expect(instruction).toBe('*928*01#')
    const [{ code } = { code: '' }] = await client.inbox(phone)
    expect(code).toMatch(/^\d{6}$/)
    const wrong = code === '000000' ? '111111' : '000000'
    expect((await client.verify({ request_id: id, code: wrong })).body).toMatchObject({
      status: 'rejected',
      error_code: 'INVALID_CODE',
    })
    expect((await client.verify({ request_id: id, code })).body.status).toBe('verified')
    const again = await client.verify({ request_id: id, code })
    expect(again.body.error_code).toBe('ALREADY_USED')
  })
})

describe('with a test in Arkesel’s place', () => {
  let system: System
  let client: TestClient
  let provider: Awaited<ReturnType<typeof startRecorder>>
  /** What it says of a message, by its id. */
  const stateOf = new Map<string, string>()
  let lastId = 0

  beforeAll(async () => {
    provider = await startRecorder(({ url, body }) => {
      if (url === '/api/v2/sms/send') {
        const id = `ark-${++lastId}`
        stateOf.set(id, 'QUEUED')
        const { recipients } = JSON.parse(body) as { recipients: [string] }
        return { body: JSON.stringify({ data: [{ recipient: recipients[0], id }] }) }
      }
      const { msg_ids: ids } = JSON.parse(body) as { msg_ids: string[] }
      const data = Object.fromEntries(ids.map((id) => [id, { status: stateOf.get(id) }]))
      return { body: JSON.stringify({ status: 'success', data }) }
    })
    system = await startSystem({
      channels: ['sms'],
      variables: {
        ARKESEL_API_KEY: 'key-of-the-test',
        ARKESEL_SENDER: 'Acme',
        ARKESEL_BASE_URL: provider.url,
      },
    })
    client = clientOf(system, system.liveKey)
  })
  afterAll(async () => {
    await system.stop()
    await provider.close()
  })

  /** A message that was taken, its id and the address that was given with it. */
  async function sent() {
    const phone = freshPhone()
    const id = await client.sent(phone)
    const call = await until(async () =>
      provider.calls.find(({ body }) => body.includes(`"${phone.slice(1)}"`)),
    )
    const { callback_url: address } = JSON.parse(call.body) as { callback_url: string }
    await until(async () => (await attemptOf(id))?.status === 'accepted')
    return { id, messageId: `ark-${lastId}`, address }
  }
  const attemptOf = async (id: string) => (await client.status(id)).steps[0]?.attempts[0]
  const callBack = (address: string, query: Record<string, string>, method = 'GET') =>
    fetch(`${address}?${new URLSearchParams(query).toString()}`, { method })
  const asked = (messageId: string) =>
    provider.calls.filter(
      ({ url, body }) => url?.endsWith('/message-reports') && body.includes(`"${messageId}"`),
    ).length

  test('whoever knows the address of a message can end its wait no sooner than Arkesel does', async () => {
    const { id, messageId, address } = await sent()
    for (const status of ['DELIVERED', 'NOT_DELIVERED', 'PROHIBITED', 'EXPIRED', 'NONSENSE']) {
      const before = asked(messageId)
      expect((await callBack(address, { sms_id: messageId, status })).status).toBe(200)
      await until(async () => asked(messageId) > before, { what: 'the question' })
    }
    expect(await attemptOf(id)).toMatchObject({ status: 'accepted' })
    expect((await client.status(id)).delivered_at).toBeNull()

    stateOf.set(messageId, 'DELIVERED')
    for (const method of ['POST', 'GET', 'GET'])
      await callBack(address, { sms_id: messageId, status: 'DELIVERED' }, method)
    await until(async () => (await client.status(id)).delivered_at !== null)
    const { events } = await client.status(id)
    expect(events.filter(({ type }) => type === 'receipt')).toHaveLength(2)
  })

  test('reports out of order never take a delivery back', async () => {
    const { id, messageId, address } = await sent()
    stateOf.set(messageId, 'DELIVERED')
    await callBack(address, { sms_id: messageId, status: 'DELIVERED' })
    await until(async () => (await attemptOf(id))?.status === 'delivered')
    stateOf.set(messageId, 'SUBMITTED')
    const before = asked(messageId)
    await callBack(address, { sms_id: messageId, status: 'SUBMITTED' })
    await callBack(address, { sms_id: 'ark-of-nobody', status: 'NOT_DELIVERED' })
    expect(await attemptOf(id)).toMatchObject({ status: 'delivered' })
    expect(asked(messageId)).toBe(before)
  })

  test('an address that is wrong by one bit, or that is none of a message, is refused and audited', async () => {
    const { messageId, address } = await sent()
    const query = { sms_id: messageId, status: 'DELIVERED' }
    const before = (await refusals(system, 'arkesel')) ?? 0
    expect(before).toBe(0)
    // The token's last letter holds 2 bits of it; the one before it, 6.
    const wrong = flipped(address.slice(0, -1)) + address.slice(-1)
    const none = new URL('/webhooks/arkesel', address).href
    const cases: [string, string][] = [
      [wrong, 'GET'],
      [wrong, 'POST'],
      [none, 'POST'],
      [`${none}/secret/any`, 'POST'],
    ]
    for (const [url, method] of cases) {
      const answer = await callBack(url, query, method)
      expect([url, answer.status]).toEqual([url, 401])
      expect(await answer.json()).toMatchObject({ error_code: 'INVALID_SIGNATURE' })
    }
    expect(await refusals(system, 'arkesel')).toBe(1)
  })
})
