import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createAdmission } from '../../api/admission'
import { problemOf } from '../../api/faults'
import { createHttpServer } from '../../api/server'
import type { ErrorCode } from '../../core/error-code'
import { createDatabase } from '../../db'
import { createApiKey } from '../../db/apps/api-keys'
import { closeServer, listen } from '../harness/listening'
import { canary, rawCall, refusalOf, type Sent } from '../harness/refusal'
import { startSystem, type System } from '../harness/system'

const phone = '+233241234567'
let system: System
let keys: Record<'readOnly' | 'publishable' | 'revoked', string>

beforeAll(async () => {
  system = await startSystem()
  const make = (scopes: string[], publishable = false) =>
    createApiKey(system.db, { appId: 'app', environment: 'staging', scopes, publishable })
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

const json = (value: unknown) => JSON.stringify(value)
const send = (more: Record<string, unknown>) => json({ phone_number: phone, ...more })
const call = (sent: Sent) => rawCall(system, sent)
const refusal = (sent: Sent) => refusalOf(system, sent)

describe('other calls', () => {
  const unknown = 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa'
  const cursorOf = (time: string) =>
    json({ cursor: Buffer.from(json([time, unknown])).toString('base64url') })
  const cases: [string, Sent, ErrorCode][] = [
    ['verify without a code', { path: '/otp/verify', body: send({}) }, 'INVALID_REQUEST'],
    [
      'verify with a code as a number',
      { path: '/otp/verify', body: send({ code: 123456 }) },
      'INVALID_REQUEST',
    ],
    [
      'verify with what is no code',
      { path: '/otp/verify', body: send({ code: '½½½½½½' }) },
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
      'search with a cursor for a day that there is not',
      { path: '/otp/search', body: cursorOf('2026-02-31T00:00:00.000000Z') },
      'INVALID_REQUEST',
    ],
    [
      'search with a cursor for a year that there is not',
      { path: '/otp/search', body: cursorOf('0000-01-01T00:00:00.000000Z') },
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
      'INVALID_SIGNATURE',
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

  test('a value that only Postgres finds at fault is the caller’s fault too', async () => {
    const error: unknown = await system.db
      .many(sql`select '2026-02-31'::timestamptz`)
      .catch((cause: unknown) => cause)
    expect(problemOf(error, () => false)?.code).toBe('INVALID_REQUEST')
  })

  test('an unsigned receipt is refused without a query', async () => {
    const gone = createDatabase('postgresql://127.0.0.1:1/gone')
    const server = createServer(system.makeApi(system.engine, gone))
    const url = await listen(server)
    const body = json({
      request_id: unknown,
      status: 'delivered',
      phone_number: phone,
      timestamp: '2026-11-23T05:00:00Z',
    })
    const sent = { path: '/webhooks/otp-status', body }
    expect(await refusalOf({ ...system, url }, sent)).toBe('INVALID_SIGNATURE')
    await closeServer(server)
    await gone.close()
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
    ['a publishable key without a challenge', 'publishable', 'CHALLENGE_REQUIRED'],
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
  const enter = (kind: 'send' | 'verify') => {
    const place = admission.enter(kind)
    place.claim('app')
    return () => place.leave()
  }
  const leave = [enter('send'), enter('send')]
  expect(() => enter('send')).toThrow(expect.objectContaining({ code: 'OVERLOADED', status: 429 }))
  expect(() => enter('verify')).not.toThrow()
  leave[0]?.()
  expect(() => enter('send')).not.toThrow()
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
