import { createHash, createHmac, generateKeyPairSync } from 'node:crypto'
import { afterEach, describe, expect, jest, test } from '@jest/globals'
import { jwtVerify, SignJWT, UnsecuredJWT } from 'jose'
import { ForgedCallback } from '../../providers/provider'
import { appToken, checkVonageSignature } from '../../providers/vonage/jwt'

const secret = 'a-signature-secret-of-32-letters'
const account = { apiKey: 'abcd1234', secrets: [secret] }
const body = Buffer.from(
  '{"message_uuid":"aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab","status":"delivered","client_ref":"att_1"}',
)
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const now = () => Math.floor(Date.now() / 1_000)
const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const claims = (changed: Record<string, unknown> = {}) => ({
  iss: 'Vonage',
  iat: now(),
  jti: 'c5ba8f24',
  api_key: 'abcd1234',
  application_id: 'app',
  payload_hash: hashOf(body),
  ...changed,
})
const hs256 = (changed?: Record<string, unknown>, by = secret) =>
  new SignJWT(claims(changed))
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .sign(Buffer.from(by))

const check = (token: string | undefined, changed: { body?: Buffer; secrets?: string[] } = {}) =>
  checkVonageSignature(
    {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      body: changed.body ?? body,
      url: 'http://127.0.0.1/webhooks/vonage',
    },
    { ...account, ...(changed.secrets && { secrets: changed.secrets }) },
  )

afterEach(() => void jest.useRealTimers())

describe('tokens of callbacks', () => {
  /** Made by Python's hmac, hashlib and base64 for `body`, at 2026-11-23T12:00:00Z: independent of both libraries here. */
  const vector =
    'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3OTU0MzUyMDAsImp0aSI6ImM1YmE4ZjI0LTFhMTQtNGMxMC1iZmRmLTNmYmU4Y2U1MTFiNSIsImlzcyI6IlZvbmFnZSIsInBheWxvYWRfaGFzaCI6IjVhNDdiNGY4MmU0YjdiYzIxZGFjZWVkMGFlM2JkNjc2YTE3M2EyZTExMDU2ZWJkOTUxMzBkMjE3ZmE5Y2M4ZDIiLCJhcGlfa2V5IjoiYWJjZDEyMzQiLCJhcHBsaWNhdGlvbl9pZCI6ImFhYWFhYWFhLWJiYmItY2NjYy1kZGRkLTAxMjM0NTY3ODlhYiJ9._2vy7N-B_GS6BTO44G40B8-_5bJMNtYx6WE6-F8o7yM'
  const at = (time: string) => jest.useFakeTimers({ now: new Date(time), advanceTimers: false })

  test('a token of another implementation holds, and not with one bit of it, or of the body, changed', () => {
    at('2026-11-23T12:00:30Z')
    expect(() => check(vector)).not.toThrow()
    const signature = vector.lastIndexOf('.') + 1
    // In the signature, in the claims, in the header; the last bits of the last character are no part of a signature.
    for (const place of [signature, signature + 20, signature - 3, 60, 10]) {
      const flipped = Buffer.from(vector)
      flipped[place] = (flipped[place] ?? 0) ^ 1
      expect(() => check(flipped.toString())).toThrow(ForgedCallback)
    }
    const other = Buffer.from(body)
    other[2] = (other[2] ?? 0) ^ 1
    expect(() => check(vector, { body: other })).toThrow(ForgedCallback)
  })

  test.each([
    ['2026-11-23T11:56:00Z', true],
    ['2026-11-23T12:04:30Z', true],
    ['2026-11-23T12:05:01Z', false],
    ['2026-11-23T11:54:00Z', false],
  ])('made at 12:00, read at %s', (time, holds) => {
    at(time)
    if (holds) expect(() => check(vector)).not.toThrow()
    else expect(() => check(vector)).toThrow(/not made just now/)
  })

  test('either of two secrets, and upper-case hex', async () => {
    const token = await hs256({ payload_hash: hashOf(body).toUpperCase() })
    expect(() => check(token, { secrets: ['another-secret', secret] })).not.toThrow()
    expect(() => check(token, { secrets: ['another-secret'] })).toThrow(ForgedCallback)
  })

  test.each<[string, () => Promise<string> | string | undefined]>([
    ['no token', () => undefined],
    ['an empty one', () => ''],
    ['nonsense', () => 'a.b.c'],
    ['two parts', () => hs256().then((token) => token.split('.').slice(0, 2).join('.'))],
    ['alg none', () => new UnsecuredJWT(claims()).encode()],
    [
      'alg none in its header, the signature left',
      async () => {
        const [, payload, signature] = (await hs256()).split('.')
        const header = Buffer.from('{"alg":"none"}').toString('base64url')
        return [header, payload, signature].join('.')
      },
    ],
    ['another secret', () => hs256({}, 'another-signature-secret-of-ours')],
    [
      'HS512 in its header, over a good HS256 signature',
      () => {
        const parts = [{ alg: 'HS512', typ: 'JWT' }, claims()].map((part) =>
          Buffer.from(JSON.stringify(part)).toString('base64url'),
        )
        const signature = createHmac('sha256', secret).update(parts.join('.')).digest('base64url')
        return [...parts, signature].join('.')
      },
    ],
    [
      'RS256 by a key of its own',
      () => new SignJWT(claims()).setProtectedHeader({ alg: 'RS256', typ: 'JWT' }).sign(privateKey),
    ],
    [
      'HS256 with the application’s public key as its secret',
      () => hs256({}, publicKey.export({ type: 'spki', format: 'pem' }).toString()),
    ],
    ['another account', () => hs256({ api_key: 'ffff0000' })],
    ['no account', () => hs256({ api_key: undefined })],
    ['no hash', () => hs256({ payload_hash: undefined })],
    ['the hash of another body', () => hs256({ payload_hash: hashOf(Buffer.from('{}')) })],
    ['a hash of another length', () => hs256({ payload_hash: 'ab' })],
    ['no time', () => hs256({ iat: undefined })],
    ['six minutes old', () => hs256({ iat: now() - 360 })],
    ['from the future', () => hs256({ iat: now() + 3_600 })],
    ['no number for a time', () => hs256({ iat: 'now' as unknown as number })],
  ])('forged: %s', async (_title, make) => {
    const token = await make()
    expect(() => check(token)).toThrow(ForgedCallback)
  })

  test('Basic authorization, and two headers', async () => {
    const url = 'http://127.0.0.1/webhooks/vonage'
    const token = await hs256()
    for (const authorization of [`Basic ${token}`, [`Bearer ${token}`, `Bearer ${token}`]])
      expect(() =>
        checkVonageSignature({ headers: { authorization }, body, url }, account),
      ).toThrow(ForgedCallback)
  })
})

test('the application’s token: RS256 by its key, with the claims that Vonage wants', async () => {
  const application = { id: '78d335fa-323d-0114-9c3d-d6f0d48968cf', key: privateKey }
  const tokens = [await appToken(application), await appToken(application)]
  const read = await Promise.all(
    tokens.map((token) => jwtVerify(token, publicKey, { algorithms: ['RS256'] })),
  )
  const [first, second] = read
  expect(first?.protectedHeader).toEqual({ alg: 'RS256', typ: 'JWT' })
  expect(first?.payload).toEqual({
    application_id: application.id,
    iat: expect.any(Number),
    exp: (first?.payload.iat ?? 0) + 300,
    jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
  })
  expect(second?.payload.jti).not.toBe(first?.payload.jti)
})
