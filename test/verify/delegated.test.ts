import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createApiKey } from '../../db/apps/api-keys'
import { takeDelegatedCheck } from '../../db/verify/delegated-checks'
import { eraseRecipient } from '../../db/recipients/erasure'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
/** Checks that reached the provider, and what it does with the next ones. */
const seen = { checks: 0, silent: false }

/** Between the product and the fake: counts checks, and can keep their answers back. */
const wire = createServer((request, response) => {
  void (async () => {
    const body = await buffer(request)
    if (request.url?.endsWith('/verify')) {
      seen.checks++
      if (seen.silent) return
    }
    const headers = new Headers()
    for (const name of ['api-key', 'content-type'])
      headers.set(name, String(request.headers[name] ?? ''))
    const answer = await fetch(`${system.sandboxUrl}/vendors/arkesel${request.url}`, {
      method: request.method ?? 'POST',
      headers,
      body: request.method === 'GET' ? null : new Uint8Array(body),
    })
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    response.end(await answer.text())
  })().catch(() => request.socket.destroy())
})

beforeAll(async () => {
  system = await startSystem({
    fakes: ['arkesel'],
    delegated: { arkesel: ['voice'] },
    variables: { ARKESEL_BASE_URL: await listen(wire) },
    steps: { voice: { timeoutMs: 4_000 } },
  })
  client = clientOf(system, system.liveKey)
})
afterAll(async () => {
  await system.stop()
  await closeServer(wire)
})
beforeEach(() => {
  seen.checks = 0
  seen.silent = false
})

/** A request whose code the provider has made and read out on the phone. */
async function calledBy(from: TestClient, phone: string) {
  const id = await from.sent(phone, { channels: ['voice'] })
  const call = await until(async () => (await from.inbox(phone)).find(({ code }) => code !== ''))
  return { id, code: call.code }
}
const wrongOf = (code: string) => (code === '000000' ? '111111' : '000000')

describe('a code that the provider made', () => {
  test('is checked by the provider, and the status says whose it is', async () => {
    const phone = freshPhone()
    const { id, code } = await calledBy(client, phone)
    expect((await client.status(id)).steps[0]?.attempts).toMatchObject([
      { provider: 'arkesel', delegated: true },
    ])
    expect(await client.verify({ phone_number: phone, code: wrongOf(code) })).toMatchObject({
      status: 200,
      body: { error_code: 'INVALID_CODE', attempts_remaining: 4 },
    })
    expect(await client.verify({ phone_number: phone, code })).toMatchObject({
      status: 200,
      body: { status: 'verified' },
    })
    expect(seen.checks).toBe(2)
    const { events } = await untilState(client, id, 'verified')
    const types = events.map(({ type }) => type)
    expect(types.filter((type) => type === 'check_forwarded')).toHaveLength(2)
    expect(types).toContain('check_rejected')
    expect(await client.verify({ phone_number: phone, code })).toMatchObject({
      body: { error_code: 'ALREADY_USED' },
    })
    expect(seen.checks).toBe(2)
  })

  test('stands beside ours, which is never handed on', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms', 'voice'] })
    const ours = await until(async () => (await client.inbox(phone))[0])
    await client.call('POST', `/otp/${id}/next`)
    await until(async () => (await client.inbox(phone)).some(({ channel }) => channel === 'voice'))
    expect(await client.verify({ phone_number: phone, code: ours.code })).toMatchObject({
      body: { status: 'verified' },
    })
    expect(seen.checks).toBe(0)
  })

  test('five wrong ones lock, and no more than five are handed on', async () => {
    const phone = freshPhone()
    const { code } = await calledBy(client, phone)
    const answers = []
    for (let i = 0; i < 7; i++)
      answers.push((await client.verify({ phone_number: phone, code: wrongOf(code) })).status)
    expect(answers).toEqual([200, 200, 200, 200, 200, 429, 429])
    expect(seen.checks).toBe(5)
  })

  test('of many at once one is handed on at a time, and five in all', async () => {
    const phone = freshPhone()
    const { id, code } = await calledBy(client, phone)
    const verify = () => client.verify({ phone_number: phone, code: wrongOf(code) })
    for (let round = 0; round < 3; round++) {
      const statuses = (await Promise.all(Array.from({ length: 12 }, verify))).map(
        ({ status }) => status,
      )
      expect(statuses.filter((status) => status !== 200 && status !== 429)).toEqual([])
    }
    expect(seen.checks).toBeLessThanOrEqual(5)
    const { checks } = await client.status(id)
    expect(checks.used).toBe(seen.checks)
  })

  test('what a crash swallowed stays counted', async () => {
    const phone = freshPhone()
    const { id, code } = await calledBy(client, phone)
    const own = { requestId: id, page: null }
    const input = { ...own, actor: 'test', right: false, solvedChallenge: false }
    expect(await takeDelegatedCheck(system.db, input)).toMatchObject({
      codes: [{ provider: 'arkesel', channel: 'voice' }],
    })
    // Nobody comes back with an answer: meanwhile others have to wait.
    expect(await client.verify({ phone_number: phone, code })).toMatchObject({
      status: 429,
      body: { error_code: 'OVERLOADED' },
    })
    await system.db.many(
      sql`update delegated_codes set checking_until = now() where request_id = ${id}`,
    )
    const { forwarded } = (await system.db.one<{ forwarded: number }>(
      sql`select forwarded from delegated_codes where request_id = ${id}`,
    )) ?? { forwarded: 0 }
    expect(forwarded).toBe(1)
    expect(await client.verify({ phone_number: phone, code })).toMatchObject({
      body: { status: 'verified' },
    })
  })

  test('a provider that is silent: 503, and the check is given back', async () => {
    const phone = freshPhone()
    const { id, code } = await calledBy(client, phone)
    seen.silent = true
    const answer = await client.verify({ phone_number: phone, code })
    expect(answer).toMatchObject({ status: 503, body: { error_code: 'SERVICE_UNAVAILABLE' } })
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    seen.silent = false
    expect((await client.status(id)).checks.used).toBe(0)
    expect(await client.verify({ phone_number: phone, code: wrongOf(code) })).toMatchObject({
      body: { attempts_remaining: 4 },
    })
    expect(await client.verify({ phone_number: phone, code })).toMatchObject({
      body: { status: 'verified' },
    })
  })
})

describe('one live code per account and number', () => {
  const otherClient = async () => {
    const scopes = ['send', 'verify', 'read']
    const made = { appId: 'other', environment: 'production' as const, scopes }
    return clientOf(system, (await createApiKey(system.db, made)).key)
  }

  test('another app has to wait until the first request is over', async () => {
    const phone = freshPhone()
    const other = await otherClient()
    const first = await calledBy(client, phone)
    const second = await other.sent(phone, { channels: ['voice'] })
    const refused = await untilState(other, second, 'failed')
    expect(refused.steps[0]?.attempts).toMatchObject([{ fault: 'unroutable', delegated: false }])
    expect(await client.inbox(phone)).toHaveLength(1)
    expect(await client.verify({ phone_number: phone, code: first.code })).toMatchObject({
      body: { status: 'verified' },
    })
    await calledBy(other, phone)
  })

  test('an erasure takes the reservation with it', async () => {
    const phone = freshPhone()
    const { id } = await calledBy(client, phone)
    const addressee = { kind: 'phone' as const, value: phone, actor: 'test' }
    await eraseRecipient(system.db, system.keyring, addressee)
    expect(
      await system.db.many(sql`select from delegated_codes where request_id = ${id}`),
    ).toHaveLength(0)
  })
})

test('without a word in the policy nothing is delegated', async () => {
  const plain = await startSystem({ fakes: ['arkesel'], withWorker: false })
  try {
    const { status, body } = await clientOf(plain, plain.liveKey).send(freshPhone(), {
      channels: ['voice'],
    })
    expect([status, body.error_code]).toEqual([400, 'CHANNEL_UNAVAILABLE'])
  } finally {
    await plain.stop()
  }
})
