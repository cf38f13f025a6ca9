import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { createAdmission } from '../api/admission'
import { createHttpServer } from '../api/server'
import { errorCodes, type ErrorCode } from '../core/error-code'
import { createApiKey } from '../db/apps'
import { startSystem, type System } from './harness/system'

const lines: string[] = []
const phone = '+233241234567'
/** Sent in every odd place; must never be logged, nor come back. */
const canary = 'canary4711'

let system: System
let keys: Record<'readOnly' | 'publishable' | 'revoked', string>

beforeAll(async () => {
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
  system = await startSystem({ log })
  const make = (scopes: string[], publishable = false) =>
    createApiKey(system.db, { appId: 'app', environment: 'test', scopes, publishable })
  const [{ key: readOnly }, { key: publishable }, { key: revoked }] = await Promise.all([
    make(['read']),
    make(['send'], true),
    make(['send', 'verify', 'read']),
  ])
  keys = { readOnly, publishable, revoked }
  await system.db.many(
    sql`update api_keys set revoked_at = now() where id = ${revoked.split('_')[2]}`,
  )
})
afterAll(() => system.stop())

interface Sent {
  method?: string
  path?: string
  body?: string | Buffer | undefined
  headers?: Record<string, string>
}

async function call({ method = 'POST', path = '/otp/send', body, headers = {} }: Sent) {
  const response = await fetch(system.url + path, {
    method,
    headers: {
      authorization: `Bearer ${system.key}`,
      'content-type': 'application/json',
      ...headers,
    },
    ...(body !== undefined && { body }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text }
}

/** What every refusal has to look like, and what it must not hold. */
async function refusal(sent: Sent): Promise<ErrorCode> {
  const { status, headers, text } = await call(sent)
  expect(headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  expect(headers.get('cache-control')).toBe('no-store')
  expect(headers.get('x-powered-by')).toBeNull()
  const problem = JSON.parse(text) as Record<string, unknown>
  const code = problem.error_code as ErrorCode
  expect(problem).toMatchObject({
    type: expect.stringMatching(/^urn:otpilot:problem:[a-z-]+$/),
    title: errorCodes[code][1],
    status,
    message: expect.stringMatching(/\.$/),
    trace_id: headers.get('x-trace-id'),
  })
  expect(problem).toHaveProperty('request_id')
  expect(problem.detail).toBe(problem.message)
  expect(errorCodes[code][0]).toBe(status)
  expect(text).not.toContain(canary)
  expect(text).not.toMatch(/\n\s+at |node_modules/)
  return code
}

const json = (value: unknown) => JSON.stringify(value)
const send = (more: Record<string, unknown>) => json({ phone_number: phone, ...more })
const deep = (depth: number) => `{"metadata":${'['.repeat(depth)}${']'.repeat(depth)}}`

describe('bodies', () => {
  const cases: [string, Sent, ErrorCode][] = [
    ['malformed JSON', { body: `{"phone_number":"${canary}` }, 'INVALID_REQUEST'],
    ['no body', {}, 'INVALID_REQUEST'],
    ['an array', { body: '[]' }, 'INVALID_REQUEST'],
    ['null', { body: 'null' }, 'INVALID_REQUEST'],
    ['a string', { body: `"${canary}"` }, 'INVALID_REQUEST'],
    ['bytes that are no UTF-8', { body: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]) }, 'INVALID_REQUEST'],
    ['nesting 17 deep', { body: deep(17) }, 'INVALID_REQUEST'],
    ['nesting 7,000 deep', { body: deep(7_000) }, 'INVALID_REQUEST'],
    ['1 MB', { body: send({ brand: canary.repeat(100_000) }) }, 'PAYLOAD_TOO_LARGE'],
    ['17 KB', { body: send({ brand: 'x'.repeat(17_000) }) }, 'PAYLOAD_TOO_LARGE'],
    [
      'a form',
      {
        body: `phone_number=${canary}`,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      },
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    [
      'another charset',
      { body: send({}), headers: { 'content-type': 'application/json; charset=latin1' } },
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    [
      'a compressed body',
      { body: send({}), headers: { 'content-encoding': 'gzip' } },
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    ['an unknown field', { body: send({ [canary]: 1 }) }, 'INVALID_REQUEST'],
    ['a known field misspelt', { body: json({ phone }) }, 'INVALID_REQUEST'],
    [
      '__proto__',
      { body: `{"phone_number":"${phone}","__proto__":{"admin":true}}` },
      'INVALID_REQUEST',
    ],
    [
      '__proto__ inside',
      { body: `{"phone_number":"${phone}","metadata":{"\\u005f_proto__":"x"}}` },
      'INVALID_REQUEST',
    ],
    ['constructor', { body: send({ constructor: {} }) }, 'INVALID_REQUEST'],
  ]
  test.each(cases)('%s', async (_name, sent, code) => {
    expect(await refusal(sent)).toBe(code)
  })
})

describe('fields of a send', () => {
  const cases: [string, Record<string, unknown>, ErrorCode][] = [
    ['no recipient', { phone_number: undefined }, 'INVALID_REQUEST'],
    ['two recipients', { email: 'ama@example.com' }, 'INVALID_REQUEST'],
    ['a number as a number', { phone_number: 233241234567 }, 'INVALID_REQUEST'],
    ['an impossible number', { phone_number: '+2335' }, 'INVALID_NUMBER'],
    ['an empty number', { phone_number: '' }, 'INVALID_NUMBER'],
    ['a number with text', { phone_number: `${phone} ${canary}` }, 'INVALID_NUMBER'],
    ['no e-mail address', { phone_number: undefined, email: canary }, 'INVALID_EMAIL'],
    [
      'a header in an e-mail address',
      { phone_number: undefined, email: 'a@b.co\r\nBcc: c@d.co' },
      'INVALID_EMAIL',
    ],
    ['an unknown channel', { channel: canary }, 'INVALID_REQUEST'],
    ['e-mail to a phone', { channel: 'email' }, 'INVALID_REQUEST'],
    ['an empty list of channels', { channels: [] }, 'INVALID_REQUEST'],
    ['a channel twice', { channels: ['sms', 'sms'] }, 'INVALID_REQUEST'],
    ['a lifetime as text', { expiry_seconds: '300' }, 'INVALID_REQUEST'],
    ['half a second', { expiry_seconds: 30.5 }, 'INVALID_REQUEST'],
    ['too short a life', { expiry_seconds: 29 }, 'INVALID_EXPIRY'],
    ['too long a life', { expiry_seconds: 301 }, 'INVALID_EXPIRY'],
    ['an endless life', { expiry_seconds: 1e300 }, 'INVALID_REQUEST'],
    ['a message without the code', { message: canary }, 'INVALID_MESSAGE'],
    ['a message with another placeholder', { message: '{{code}} {{name}}' }, 'INVALID_MESSAGE'],
    ['a message with a broken placeholder', { message: '{{code}} {{minutes}' }, 'INVALID_MESSAGE'],
    ['a long message', { message: `{{code}}${'x'.repeat(500)}` }, 'INVALID_MESSAGE'],
    ['a message with a control character', { message: '{{code}}\u0000' }, 'INVALID_MESSAGE'],
    ['a message that turns its direction', { message: '{{code}}\u202e' }, 'INVALID_MESSAGE'],
    ['half a character', { message: '{{code}}\ud800' }, 'INVALID_MESSAGE'],
    ['no language', { locale: 'x'.repeat(50) }, 'INVALID_REQUEST'],
    ['a bad purpose', { purpose: 'Log in' }, 'INVALID_REQUEST'],
    ['an unknown risk', { risk: 'low' }, 'INVALID_REQUEST'],
    ['no IP address', { ip_address: '1.2.3.4.5' }, 'INVALID_REQUEST'],
    ['a consent without a text', { consent: {} }, 'INVALID_REQUEST'],
    ['a long brand', { brand: 'x'.repeat(31) }, 'INVALID_REQUEST'],
    ['metadata that is not flat', { metadata: { a: { b: 'c' } } }, 'INVALID_REQUEST'],
    [
      'too much metadata',
      { metadata: Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`k${i}`, ''])) },
      'INVALID_REQUEST',
    ],
  ]
  test.each(cases)('%s', async (_name, more, code) => {
    expect(await refusal({ body: send(more) })).toBe(code)
  })

  test('a live key without a real account says what to configure', async () => {
    const sent = { body: send({}), headers: { authorization: `Bearer ${system.liveKey}` } }
    expect(await refusal(sent)).toBe('CHANNEL_UNAVAILABLE')
    expect((await call(sent)).text).toContain('OTPILOT_GATEWAY_URL')
  })

  test('a bad Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'x'.repeat(256) }
    expect(await refusal({ body: send({}), headers })).toBe('INVALID_REQUEST')
  })

  test('every field at fault is named', async () => {
    const { text } = await call({ body: json({ phone: 1, channel: 1, expiry_seconds: 'x' }) })
    const { errors } = JSON.parse(text) as { errors: { field: string }[] }
    expect(errors.map(({ field }) => field).sort()).toEqual(['channel', 'expiry_seconds', 'phone'])
  })
})

describe('other calls', () => {
  const unknown = 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa'
  const cases: [string, Sent, ErrorCode][] = [
    ['verify without a code', { path: '/otp/verify', body: send({}) }, 'INVALID_REQUEST'],
    [
      'verify with a code as a number',
      { path: '/otp/verify', body: send({ code: 123456 }) },
      'INVALID_REQUEST',
    ],
    [
      'verify with what is no code',
      { path: '/otp/verify', body: send({ code: '١٢٣٤٥٦' }) },
      'INVALID_REQUEST',
    ],
    [
      'verify with two recipients',
      { path: '/otp/verify', body: send({ code: '123456', request_id: unknown }) },
      'INVALID_REQUEST',
    ],
    [
      'verify with a NUL in the id',
      { path: '/otp/verify', body: json({ request_id: 'a\0b', code: '123456' }) },
      'INVALID_REQUEST',
    ],
    ['status of an unknown id', { method: 'GET', path: `/otp/${unknown}` }, 'NOT_FOUND'],
    ['status of what is no id', { method: 'GET', path: '/otp/1' }, 'NOT_FOUND'],
    ['a path that cannot be decoded', { method: 'GET', path: '/otp/%E0%A4%A' }, 'NOT_FOUND'],
    [
      'a wait that is no number',
      { method: 'GET', path: `/otp/${unknown}?wait=soon` },
      'INVALID_REQUEST',
    ],
    [
      'an unknown query field',
      { method: 'GET', path: `/otp/${unknown}?${canary}=1` },
      'INVALID_REQUEST',
    ],
    [
      'a query field twice',
      { method: 'GET', path: `/otp/${unknown}?wait=1&wait=2` },
      'INVALID_REQUEST',
    ],
    ['resend of an unknown id', { path: `/otp/${unknown}/resend` }, 'NOT_FOUND'],
    [
      'resend by an unknown channel',
      { path: `/otp/${unknown}/resend`, body: json({ channel: 'fax' }) },
      'INVALID_REQUEST',
    ],
    ['next of an unknown id', { path: `/otp/${unknown}/next` }, 'NOT_FOUND'],
    ['cancel of an unknown id', { path: `/otp/${unknown}/cancel` }, 'NOT_FOUND'],
    [
      'search with a cursor of one’s own',
      { path: '/otp/search', body: json({ cursor: 'WyJhIiwiYiJd' }) },
      'INVALID_REQUEST',
    ],
    [
      'search with a bad time',
      { path: '/otp/search', body: json({ created_from: 'now' }) },
      'INVALID_REQUEST',
    ],
    ['search for too many', { path: '/otp/search', body: json({ limit: 101 }) }, 'INVALID_REQUEST'],
    [
      'a preference that cannot be',
      { method: 'PUT', path: '/preferences', body: send({ channel: 'email' }) },
      'INVALID_REQUEST',
    ],
    ['a path that is not there', { method: 'GET', path: '/nothing' }, 'NOT_FOUND'],
    ['another case of a path', { path: '/OTP/SEND', body: send({}) }, 'NOT_FOUND'],
    ['another method', { method: 'DELETE', path: '/otp/send' }, 'METHOD_NOT_ALLOWED'],
    ['a callback of an unknown provider', { path: '/webhooks/nobody/x', body: '{}' }, 'NOT_FOUND'],
    [
      'a callback with an unknown token',
      { path: `/webhooks/sandbox-a/${canary}`, body: '{}' },
      'NOT_FOUND',
    ],
    [
      'an unsigned USSD session',
      { path: '/ussd/sandbox-a/session', body: '{}' },
      'INVALID_SIGNATURE',
    ],
    [
      'an unsigned receipt',
      {
        path: '/webhooks/otp-status',
        body: json({
          request_id: unknown,
          status: 'delivered',
          phone_number: phone,
          timestamp: '2026-11-23T05:00:00Z',
        }),
      },
      'INVALID_SIGNATURE',
    ],
    ['a receipt that is none', { path: '/webhooks/otp-status', body: '{}' }, 'INVALID_REQUEST'],
  ]
  test.each(cases)('%s', async (_name, sent, code) => {
    expect(await refusal(sent)).toBe(code)
  })

  test('what a path answers to is said', async () => {
    expect((await call({ method: 'DELETE', path: '/otp/send' })).headers.get('allow')).toBe(
      'POST, OPTIONS',
    )
    const options = await fetch(`${system.url}/otp/send`, { method: 'OPTIONS' })
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST, OPTIONS'])
    const head = await fetch(`${system.url}/healthz`, { method: 'HEAD' })
    expect(head.status).toBe(200)
  })
})

describe('keys', () => {
  const authorizations: [string, string | undefined, ErrorCode][] = [
    ['none', undefined, 'UNAUTHENTICATED'],
    ['another scheme', `Basic ${canary}`, 'UNAUTHENTICATED'],
    ['no key of ours', `Bearer ${canary}`, 'UNAUTHENTICATED'],
    ['a wrong checksum', 'changed', 'UNAUTHENTICATED'],
    ['a revoked key', 'revoked', 'UNAUTHENTICATED'],
    ['a key without the scope', 'readOnly', 'FORBIDDEN'],
    ['a publishable key', 'publishable', 'FORBIDDEN'],
  ]
  test.each(authorizations)('%s', async (_name, given, code) => {
    const known: Record<string, string> = { ...keys, changed: `${system.key.slice(0, -1)}!` }
    const authorization =
      given === undefined ? '' : (known[given] && `Bearer ${known[given]}`) || given
    expect(await refusal({ body: send({}), headers: { authorization } })).toBe(code)
  })

  test('another app’s request is not there', async () => {
    const { text } = await call({
      path: '/otp/search',
      body: json({}),
      headers: { authorization: `Bearer ${system.otherKey}` },
    })
    expect(JSON.parse(text)).toEqual({ requests: [], next_cursor: null })
  })
})

test('a flood of calls is refused at the limit, before any work', () => {
  const admission = createAdmission({ send: 2, verify: 1 })
  const leave = [admission.enter('send'), admission.enter('send')]
  expect(() => admission.enter('send')).toThrow(
    expect.objectContaining({ code: 'OVERLOADED', status: 429 }),
  )
  expect(() => admission.enter('verify')).not.toThrow()
  leave[0]?.()
  expect(() => admission.enter('send')).not.toThrow()
})

test('what is no HTTP gets a problem too', async () => {
  const server = createHttpServer(() => undefined).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const answers = ['GARBAGE\r\n\r\n', `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`].map(
    (bytes) =>
      new Promise<string>((resolve) => {
        let text = ''
        const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
        socket.on('data', (chunk) => (text += String(chunk))).on('close', () => resolve(text))
      }),
  )
  const [garbage, large] = await Promise.all(answers)
  expect(garbage).toMatch(
    /^HTTP\/1\.1 400 [\s\S]*application\/problem\+json[\s\S]*"INVALID_REQUEST"/,
  )
  expect(large).toMatch(/^HTTP\/1\.1 431 [\s\S]*"HEADERS_TOO_LARGE"/)
  server.close()
})

// Runs last: it looks back on everything above.
test('nothing was written, nothing was sent, nothing of a body was logged', async () => {
  const rows = await system.db.many(
    sql`select id from otp_requests union all select id from recipients`,
  )
  expect(rows).toEqual([])
  expect(await (await fetch(`${system.sandboxUrl}/inbox`)).json()).toEqual([])
  const log = lines.join('')
  expect(log).toContain('/otp/send')
  expect(log).not.toContain(canary)
  expect(log).not.toContain(phone.slice(1))
  expect(log).not.toContain(system.key)
  expect(log).not.toContain('"level":50')
})
