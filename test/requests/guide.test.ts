import { createServer } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { runForJson } from '../harness/run'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let other: TestClient

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  other = clientOf(system, system.otherKey)
})
afterAll(() => system.stop())

/** The clients of examples/guide, in the shapes that their own programs print. */
const programs = {
  cURL: { send: ['bash', 'examples/guide/send.sh'], verify: ['bash', 'examples/guide/verify.sh'] },
  Python: {
    send: ['python3', 'examples/guide/otp_client.py', 'send'],
    verify: ['python3', 'examples/guide/otp_client.py', 'verify'],
  },
  'Python with retries': {
    send: ['python3', 'examples/guide/otp_client.py', 'retry'],
    verify: ['python3', 'examples/guide/otp_client.py', 'verify'],
  },
  'Node.js': {
    send: [process.execPath, 'examples/guide/otp-client.mjs', 'send'],
    verify: [process.execPath, 'examples/guide/otp-client.mjs', 'verify'],
  },
}
type Name = keyof typeof programs
const names = Object.keys(programs) as Name[]

const run = (command: string[]) =>
  runForJson(command, { OTPILOT_URL: system.url, OTP_API_KEY: system.key })

/** The code as it reaches the phone; waits for the message. */
const codeFor = async (address: string, messages = 1): Promise<string> => {
  const [newest] = await until(
    async () => {
      const inbox = await client.inbox(address)
      return inbox.length >= messages && inbox
    },
    { what: 'a message' },
  )
  return newest?.code ?? ''
}
const wrongFor = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0')

// First, because it waits longest.
test.concurrent('verify refuses an expired code', async () => {
  const phone = freshPhone()
  const id = await client.sent(phone, { expiry_seconds: 30 })
  const code = await codeFor(phone)
  await until(async () => (await client.status(id)).state === 'expired', { within: 40_000 })
  expect(await client.verify({ phone_number: phone, code })).toMatchObject({
    status: 200,
    body: { status: 'rejected', error_code: 'EXPIRED' },
  })
  expect((await client.verify({ request_id: id, code })).body.error_code).toBe('EXPIRED')
})

describe.each(names)('the client in %s', (name) => {
  const { send, verify } = programs[name]
  const shell = name === 'cURL'

  test.concurrent('sends, is told the request id, and verifies', async () => {
    // As the guide writes it: no plus.
    const phone = freshPhone().slice(1)
    const sent = await run([...send, phone])
    expect(sent.code).toBe(0)
    expect(sent.answer).toMatchObject(shell ? { status: 'sent' } : { success: true })
    expect(sent.answer.request_id ?? sent.answer.requestId).toMatch(/^otp_[a-z2-7]{26}$/)
    const code = await codeFor(phone)
    const wrong = await run([...verify, phone, wrongFor(code)])
    expect(wrong.code).toBe(1)
    expect(wrong.answer).toMatchObject(
      shell
        ? { status: 'rejected', error_code: 'INVALID_CODE', message: expect.any(String) }
        : { verified: false, reason: 'INVALID_CODE', message: expect.any(String) },
    )
    const right = await run([...verify, phone, code])
    expect(right.code).toBe(0)
    expect(right.answer).toMatchObject(shell ? { status: 'verified' } : { verified: true })
    const again = await run([...verify, phone, code])
    expect(again.answer[shell ? 'error_code' : 'reason']).toBe('ALREADY_USED')
  })

  test.concurrent('is told why a send was refused', async () => {
    const { code, answer } = await run([...send, '12'])
    expect(code).not.toBe(0)
    expect(answer[shell || name.startsWith('Python') ? 'error_code' : 'errorCode']).toBe(
      'INVALID_NUMBER',
    )
    expect(answer[shell ? 'message' : 'error']).toMatch(/\w+\.$/)
  })
})

describe('the function that retries', () => {
  /** Runs it against a server that answers in this order; returns when each try came, and its key. */
  async function retried(answers: [status: number, body: Record<string, unknown>][]) {
    const tries: { at: number; key: string | string[] | undefined }[] = []
    const server = createServer((request, response) => {
      const [status, body] = answers[tries.length] ?? [500, {}]
      tries.push({ at: Date.now(), key: request.headers['idempotency-key'] })
      request.resume()
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
    const env = { OTPILOT_URL: await listen(server), OTP_API_KEY: system.key }
    const { answer } = await runForJson(
      [...programs['Python with retries'].send, '+233241234567'],
      env,
    )
    await closeServer(server)
    return { answer, tries }
  }

  test.concurrent('tries again after 1 s and 2.1 s, with one key', async () => {
    const { answer, tries } = await retried([
      [503, { error_code: 'SERVICE_UNAVAILABLE' }],
      [429, { error_code: 'OVERLOADED' }],
      [200, { status: 'sent', request_id: 'otp_1' }],
    ])
    expect(answer).toEqual({ success: true, request_id: 'otp_1' })
    const [first, second, third] = tries.map(({ at }) => at)
    expect(Number(second) - Number(first)).toBeGreaterThanOrEqual(1_000)
    expect(Number(third) - Number(second)).toBeGreaterThanOrEqual(2_100)
    expect(tries[0]?.key).toMatch(/^[0-9a-f-]{36}$/)
    expect(new Set(tries.map(({ key }) => key)).size).toBe(1)
  })

  test.concurrent.each(['INVALID_NUMBER', 'BLOCKED'])(
    'gives up at once on %s',
    async (error_code) => {
      const { answer, tries } = await retried([[403, { error_code, message: 'No.' }]])
      expect(answer).toEqual({ success: false, error_code, error: 'No.' })
      expect(tries).toHaveLength(1)
    },
  )
})

describe('verify refuses', () => {
  test.concurrent('a fifth wrong code, and locks', async () => {
    const phone = freshPhone()
    await client.sent(phone)
    const code = await codeFor(phone)
    for (const attempts_remaining of [4, 3, 2, 1, 0]) {
      expect(await client.verify({ phone_number: phone, code: wrongFor(code) })).toMatchObject({
        status: 200,
        body: { error_code: 'INVALID_CODE', attempts_remaining },
      })
    }
    expect(await client.verify({ phone_number: phone, code })).toMatchObject({
      status: 429,
      body: { error_code: 'LOCKED', action: 'send_again' },
    })
  })

  test.concurrent('a code of another purpose, another app or another request', async () => {
    const phone = freshPhone()
    const login = await client.sent(phone, { purpose: 'login' })
    const loginCode = await codeFor(phone)
    const payment = await client.sent(phone, { purpose: 'payment' })
    const paymentCode = await codeFor(phone, 2)
    expect(payment).not.toBe(login)
    const verdict = async (given: Record<string, unknown>) =>
      (await client.verify({ phone_number: phone, ...given })).body.error_code
    expect(await verdict({ purpose: 'payment', code: loginCode })).toBe('INVALID_CODE')
    expect(await verdict({ purpose: 'login', code: paymentCode })).toBe('INVALID_CODE')
    // No purpose is a purpose of its own.
    expect(await verdict({ code: loginCode })).toBe('NO_ACTIVE_REQUEST')

    await other.sent(phone, { purpose: 'login' })
    const otherCode = await codeFor(phone, 3)
    expect(await verdict({ purpose: 'login', code: otherCode })).toBe('INVALID_CODE')
    expect((await other.verify({ request_id: login, code: loginCode })).body).toMatchObject({
      error_code: 'NO_ACTIVE_REQUEST',
      request_id: null,
    })

    const stranger = freshPhone()
    await client.sent(stranger, { purpose: 'login' })
    expect(await verdict({ purpose: 'login', code: await codeFor(stranger) })).toBe('INVALID_CODE')
    expect((await client.verify({ request_id: login, code: loginCode })).body.status).toBe(
      'verified',
    )
  })

  test.concurrent('the code of a request that a newer one replaced', async () => {
    const phone = freshPhone()
    const first = await client.sent(phone)
    const oldCode = await codeFor(phone)
    await client.call('POST', `/otp/${first}/cancel`)
    const second = await client.sent(phone)
    expect(second).not.toBe(first)
    const newCode = await codeFor(phone, 2)
    expect((await client.verify({ phone_number: phone, code: oldCode })).body.error_code).toBe(
      'INVALID_CODE',
    )
    expect((await client.verify({ request_id: first, code: oldCode })).body.error_code).toBe(
      'NO_ACTIVE_REQUEST',
    )
    expect((await client.verify({ phone_number: phone, code: newCode })).body.status).toBe(
      'verified',
    )
  })

  test.concurrent('a number that was never sent to', async () => {
    expect(await client.verify({ phone_number: freshPhone(), code: '123456' })).toMatchObject({
      status: 200,
      body: { status: 'rejected', error_code: 'NO_ACTIVE_REQUEST' },
    })
  })
})

describe('the limits of one recipient', () => {
  test.concurrent('the fourth send within a minute is told when to come back', async () => {
    const phone = freshPhone()
    const ids = new Set<string>()
    for (let sends = 0; sends < 3; sends++) ids.add(await client.sent(phone))
    expect(ids.size).toBe(1)
    const { status, headers, body } = await client.send(phone)
    expect([status, body.error_code]).toEqual([429, 'RATE_LIMITED'])
    const wait = Number(headers.get('retry-after'))
    expect(wait).toBeGreaterThan(30)
    expect(wait).toBeLessThanOrEqual(60)
    // Another number, and another purpose of the same one: the limit is the recipient's.
    expect((await client.send(freshPhone())).status).toBe(200)
    expect((await client.send(phone, { purpose: 'login' })).status).toBe(429)
    expect(
      (await client.verify({ phone_number: phone, code: await codeFor(phone) })).body.status,
    ).toBe('verified')
  })

  test.concurrent('100 sends at once: three pass, as one request with one message', async () => {
    const phone = freshPhone()
    const answers = await Promise.all(Array.from({ length: 100 }, () => client.send(phone)))
    const passed = answers.filter(({ status }) => status === 200)
    expect(passed).toHaveLength(3)
    expect(new Set(passed.map(({ body }) => body.request_id)).size).toBe(1)
    const refused = answers.filter(({ status }) => status !== 200)
    const codes = new Set(refused.map(({ status, body }) => `${status} ${body.error_code}`))
    expect(codes).toContain('429 RATE_LIMITED')
    // On a machine that is busy otherwise some do not come as far as the limit.
    codes.delete('429 OVERLOADED')
    expect(codes.size).toBe(1)
    expect(refused.every(({ headers }) => Number(headers.get('retry-after')) > 0)).toBe(true)
    await codeFor(phone)
    // A second message would come at once: nothing comes after it that could be waited for.
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(await client.inbox(phone)).toHaveLength(1)
  })
})
