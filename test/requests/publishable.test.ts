import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { startApiProcess } from '../harness/api-process'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf, shown, visitorsOf } from '../harness/visitor'

let system: System
let second: Awaited<ReturnType<typeof startApiProcess>>
let backEnd: TestClient
let visitor: ReturnType<typeof visitorsOf>
let otherAppsKey: string

beforeAll(async () => {
  system = await startSystem({ trustProxy: { hops: 1 } })
  second = await startApiProcess(system, { OTPILOT_TRUST_PROXY: '1' })
  backEnd = clientOf(system)
  visitor = visitorsOf(system, await publishableKeyOf(system))
  otherAppsKey = await publishableKeyOf(system, 'other')
})
afterAll(async () => {
  await second?.stop()
  await system?.stop()
})

/** So much later that pages may send to the same number again. */
const later = () =>
  system.db.many(sql`update send_windows
    set sends = array(select t - interval '31 seconds' from unnest(sends) t)`)

const codeFor = async (phone: string) =>
  (await until(async () => (await backEnd.inbox(phone))[0], { what: `a message to ${phone}` })).code

test('a page sends and checks, and the back end confirms', async () => {
  const phone = freshPhone()
  const page = visitor()
  const sent = await page.send(phone, { channel: 'sms', locale: 'en' })
  expect(sent.status).toBe(200)
  expect(Object.keys(sent.body).sort()).toEqual([
    'channel',
    'expires_at',
    'instruction',
    'request_id',
    'resend_after',
    'status',
  ])
  const requestId = String(sent.body.request_id)
  const code = await codeFor(phone)
  const wrong = wrongFor(code)
  expect(shown(await page.verify({ request_id: requestId, code: wrong }))).toBe('200 INVALID_CODE')
  expect((await backEnd.status(requestId)).state).toBe('pending')
  const checked = await page.verify({ request_id: requestId, code })
  expect(checked.body).toEqual({
    status: 'verified',
    request_id: requestId,
    assurance: 'restricted',
    proof: expect.stringMatching(/^[\w-]{43}$/),
  })
  expect(await backEnd.status(requestId)).toMatchObject({
    state: 'verified',
    proof: checked.body.proof,
  })
  expect(await verifiedFor(phone)).toMatchObject([
    { page_request_id: requestId, proof: checked.body.proof },
  ])
})

const wrongFor = (code: string) => code.replace(/^./, (digit) => String((Number(digit) + 1) % 10))

/** What the back end asks: one call tells the request, the number and who gave the code. */
const verifiedFor = async (phone_number: string) =>
  (
    await backEnd.call<{ requests: { page_request_id?: string; proof?: string }[] }>(
      'POST',
      '/otp/search',
      { phone_number, state: 'verified' },
    )
  ).body.requests

test('a request of the back end is not for strangers to join, nor theirs for the back end', async () => {
  const phone = freshPhone()
  const own = await backEnd.sent(phone)
  const { version } = await backEnd.status(own)
  const { body } = await visitor().send(phone)
  const theirs = String(body.request_id)
  expect(theirs).not.toBe(own)
  expect(body.resend_after).toBe(30)
  expect((await backEnd.status(theirs)).purpose).toBe('publishable')
  expect((await backEnd.status(own)).events.slice(version).map(({ type }) => type)).not.toContain(
    'repeated',
  )
  // A code is good for what it was sent for.
  const sent = await until(async () =>
    (await backEnd.inbox(phone)).find(({ request_id }) => request_id !== own),
  )
  const check = (given: object) =>
    backEnd.verify({ phone_number: phone, code: sent.code, ...given })
  expect(shown(await check({ purpose: 'publishable' }))).toBe('200 verified')
  const found = await backEnd.call<{ requests: { request_id: string }[] }>('POST', '/otp/search', {
    phone_number: phone,
    purpose: 'publishable',
  })
  const { shared_request_id: shared } = (await backEnd.call('GET', `/otp/${theirs}`)).body
  expect(found.body.requests.map(({ request_id }) => request_id)).toEqual([shared])
  const refused = await backEnd.send(phone, { purpose: 'publishable' })
  expect(refused).toMatchObject({
    status: 400,
    body: { error_code: 'INVALID_REQUEST', errors: [{ field: 'purpose' }] },
  })
})

describe('what a publishable key may say', () => {
  test.each<[string, unknown]>([
    ['email', 'a@example.org'],
    ['channels', ['sms']],
    ['expiry_seconds', 60],
    ['message', 'Your code is {{code}}'],
    ['purpose', 'login'],
    ['risk', 'high'],
    ['ip_address', '192.0.2.1'],
    ['consent', { text_version: '1' }],
    ['brand', 'Bank'],
    ['metadata', { a: 'b' }],
    ['unknown', 1],
  ])('not %s', async (field, value) => {
    const { status, body } = await visitor().call('POST', '/otp/send', {
      ...(field !== 'email' && { phone_number: freshPhone() }),
      challenge: 'unsolved',
      [field]: value,
    })
    expect(status).toBe(400)
    expect(body).toMatchObject({ error_code: 'INVALID_REQUEST', errors: [{ field }] })
  })

  test('no other call of the API than these three', async () => {
    const id = `otp_${'a'.repeat(26)}`
    const page = visitor()
    const calls: [string, string][] = [
      ['GET', `/otp/${id}`],
      ['POST', `/otp/${id}/resend`],
      ['POST', `/otp/${id}/next`],
      ['POST', `/otp/${id}/cancel`],
      ['POST', '/otp/search'],
      ['PUT', '/preferences'],
      ['POST', '/preferences/lookup'],
      ['POST', '/preferences/delete'],
      ['GET', '/admin/keys'],
    ]
    for (const [method, path] of calls) {
      const { status, body } = await page.call(method, path, method === 'GET' ? undefined : {})
      expect([path, status, body.error_code]).toEqual([path, 403, 'FORBIDDEN'])
    }
  })

  test('a check names its request, never a number', async () => {
    const { status } = await visitor().verify({ phone_number: freshPhone(), code: '123456' })
    expect(status).toBe(400)
  })
})

describe('the challenge', () => {
  test('is required', async () => {
    const answer = await visitor().call('POST', '/otp/send', { phone_number: freshPhone() })
    expect(shown(answer)).toBe('403 CHALLENGE_REQUIRED')
    expect(answer.body.action).toBe('solve_challenge')
  })

  test('has to be solved', async () => {
    const { body: challenge } = await visitor().call('GET', '/otp/challenge')
    for (const text of [
      'nonsense',
      Buffer.from(
        JSON.stringify({ challenge, solution: { counter: 1, derivedKey: '00' } }),
      ).toString('base64'),
    ]) {
      const phone = freshPhone()
      expect(shown(await visitor().send(phone, { challenge: text }))).toBe('403 INVALID_CHALLENGE')
      const { requests } = (
        await backEnd.call<{ requests: unknown[] }>('POST', '/otp/search', { phone_number: phone })
      ).body
      expect(requests).toEqual([])
    }
  })

  test('is spent by one of 12 sends at once, over two processes', async () => {
    const challenge = await visitor().solve()
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        visitor({ url: n % 2 ? second.url : system.url }).send(freshPhone(), { challenge }),
      ),
    )
    expect(answers.map(shown).sort()).toEqual([
      '200 sent',
      ...Array.from({ length: 11 }, () => '403 INVALID_CHALLENGE'),
    ])
  })

  test('of another app is none', async () => {
    const challenge = await visitor({ key: otherAppsKey }).solve()
    expect(shown(await visitor().send(freshPhone(), { challenge }))).toBe('403 INVALID_CHALLENGE')
  })

  test('outlives a mistyped number and a wrong channel', async () => {
    const page = visitor()
    const challenge = await page.solve()
    expect(shown(await page.send('+1', { challenge }))).toBe('400 INVALID_NUMBER')
    const mail = await page.send(freshPhone(), { challenge, channel: 'email' })
    expect(shown(mail)).toBe('400 INVALID_REQUEST')
    expect(shown(await page.send(freshPhone(), { challenge }))).toBe('200 sent')
  })

  test('may come with a secret key, which does not need it, and then has to be solved', async () => {
    const challenge = await visitor().solve()
    expect((await backEnd.send(freshPhone(), { challenge })).status).toBe(200)
    expect(shown(await backEnd.send(freshPhone(), { challenge }))).toBe('403 INVALID_CHALLENGE')
  })
})

describe('what strangers cannot find out', () => {
  test('that a number was verified before, or prefers a channel', async () => {
    const known = freshPhone()
    const first = await backEnd.sent(known)
    await backEnd.verify({ request_id: first, code: await codeFor(known) })
    await backEnd.call('PUT', '/preferences', { phone_number: known, channel: 'voice' })
    const answers = await Promise.all([visitor().send(known), visitor().send(freshPhone())])
    for (const { status, body, headers } of answers) {
      expect([status, body.channel, body.resend_after]).toEqual([200, 'sms', 30])
      const seconds = (Date.parse(String(body.expires_at)) - Date.now()) / 1_000
      expect(Math.abs(seconds - 300)).toBeLessThan(10)
      expect(headers.get('content-length')).toBe(answers[0].headers.get('content-length'))
    }
  })

  test('whether a request was live, by a field of its own', async () => {
    const phone = freshPhone()
    const first = await visitor().send(phone)
    await later()
    const again = await visitor().send(phone)
    expect(again.status).toBe(200)
    expect(Object.keys(again.body)).toEqual(Object.keys(first.body))
  })

  test('what a provider knows of a number', async () => {
    const { status, body, headers } = await visitor().send(
      '+233555000003',
      {},
      { prefer: 'wait=3' },
    )
    expect(status).toBe(200)
    expect(body).not.toHaveProperty('provider_answer')
    expect(headers.get('preference-applied')).toBeNull()
  })

  test('which Idempotency-Keys the back end uses, or take them', async () => {
    const name = { 'idempotency-key': 'order-1' }
    const [mine, theirs] = [freshPhone(), freshPhone()]
    expect((await visitor().send(mine, {}, name)).status).toBe(200)
    const { status, headers } = await backEnd.send(theirs, {}, name)
    expect([status, headers.get('idempotent-replayed')]).toEqual([200, null])
    await later()
    const again = await visitor().send(mine, {}, name)
    expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([200, null])
  })

  test('how often an address may send, before it did', async () => {
    const { headers } = await visitor().send(freshPhone())
    expect([...headers.keys()].filter((name) => name.startsWith('ratelimit'))).toEqual([])
  })
})

describe('pages of any origin', () => {
  const preflight = (path: string, method: string) =>
    fetch(system.url + path, {
      method: 'OPTIONS',
      headers: {
        origin: 'https://shop.example',
        'access-control-request-method': method,
        'access-control-request-headers': 'authorization,content-type',
      },
    })

  test.each([
    ['/otp/challenge', 'GET'],
    ['/otp/send', 'POST'],
    ['/otp/verify', 'POST'],
  ])('may call %s', async (path, method) => {
    const { status, headers } = await preflight(path, method)
    expect(status).toBe(204)
    expect(headers.get('access-control-allow-origin')).toBe('*')
    expect(headers.get('access-control-allow-methods')).toBe(method)
    expect(headers.get('access-control-allow-headers')).toBe('Authorization, Content-Type')
    expect(headers.get('access-control-allow-credentials')).toBeNull()
  })

  test('read the answers, refusals too', async () => {
    const refused = await fetch(`${system.url}/otp/challenge`)
    expect(refused.status).toBe(401)
    expect(refused.headers.get('access-control-allow-origin')).toBe('*')
    expect(refused.headers.get('access-control-expose-headers')).toBe('Retry-After, X-Trace-Id')
  })

  test.each(['/otp/search', '/preferences', '/admin/keys', '/healthz'])(
    'may not call %s',
    async (path) => {
      const { headers } = await preflight(path, 'POST')
      expect(headers.get('access-control-allow-origin')).toBeNull()
      const answer = await fetch(system.url + path)
      expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    },
  )
})
