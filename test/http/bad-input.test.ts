import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import type { ErrorCode } from '../../core/error-code'
import { canary, rawCall, refusalOf, type Sent } from '../harness/refusal'
import { startSystem, type System } from '../harness/system'

const lines: string[] = []
const phone = '+233241234567'
let system: System

beforeAll(async () => {
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
  system = await startSystem({ log })
})
afterAll(() => system.stop())

const json = (value: unknown) => JSON.stringify(value)
const send = (more: Record<string, unknown>) => json({ phone_number: phone, ...more })
const call = (sent: Sent) => rawCall(system, sent)
const refusal = (sent: Sent) => refusalOf(system, sent)
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
    [
      'a field twice',
      { body: `{"phone_number":"${phone}","phone_number":"+233241234568"}` },
      'INVALID_REQUEST',
    ],
    [
      'a field twice, once with escapes',
      { body: `{"phone_number":"${phone}","metadata":{"a":"x","\\u0061":"y"}}` },
      'INVALID_REQUEST',
    ],
    ['a string without an end', { body: `"${'\\"'.repeat(8_000)}` }, 'INVALID_REQUEST'],
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
    ['no language', { locale: 'x'.repeat(256) }, 'INVALID_REQUEST'],
    ['a bad purpose', { purpose: 'Log in' }, 'INVALID_REQUEST'],
    ['an unknown risk', { risk: 'none' }, 'INVALID_REQUEST'],
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
