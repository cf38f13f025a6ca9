import { createHash, createHmac } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import fc from '../harness/properties'
import { getExpectedTwilioSignature } from 'twilio'
import {
  ForgedCallback,
  type InboundCallback,
  type ProviderAccount,
  type Receipt,
} from '../../providers/provider'
import { receiptStatuses } from '../../core/delivery/receipt'
import { accountAt, fakeVariables, nowhere, providerAdapters } from '../harness/adapters'

type Sealed = Pick<InboundCallback, 'headers' | 'url' | 'pathSecret'>
interface Body {
  type: string
  bytes: Buffer
}

const base64url = (text: string) => Buffer.from(text).toString('base64url')

/** Makes any body a genuine callback of the provider, so that the reading behind the check is reached. */
const sealOf: Record<string, (body: Body, url: string, settings: Settings) => Sealed> = {
  'africas-talking': ({ type }, url, { CALLBACK_SECRET: pathSecret }) => ({
    ...{ headers: { 'content-type': type }, url, pathSecret },
  }),
  arkesel: ({ type }, url, { CALLBACK_SECRET: pathSecret }) => ({
    ...{ headers: { 'content-type': type }, url, pathSecret },
  }),
  // The token in the message's own address is all there is.
  infobip: ({ type }, url) => ({ headers: { 'content-type': type }, url: `${url}/token` }),
  meta({ type, bytes }, url, { APP_SECRET: secret = '' }) {
    const mac = createHmac('sha256', secret).update(bytes).digest('hex')
    return { headers: { 'content-type': type, 'x-hub-signature-256': `sha256=${mac}` }, url }
  },
  twilio({ type, bytes }, url, { AUTH_TOKEN: token = '' }) {
    const isForm = type === 'application/x-www-form-urlencoded'
    const digest = createHash('sha256').update(bytes).digest('hex')
    const address = isForm ? url : `${url}?bodySHA256=${digest}`
    const fields: Record<string, string[]> = {}
    if (isForm)
      for (const [name, value] of new URLSearchParams(bytes.toString('utf8')))
        (fields[name] ??= []).push(value)
    const signature = getExpectedTwilioSignature(token, address, fields)
    return { headers: { 'content-type': type, 'x-twilio-signature': signature }, url: address }
  },
  vonage({ type, bytes }, url, { SIGNATURE_SECRET: secret = '', API_KEY: api_key }) {
    const payload_hash = createHash('sha256').update(bytes).digest('hex')
    const claims = { iat: Math.floor(Date.now() / 1_000), api_key, payload_hash }
    const text = `${base64url('{"alg":"HS256"}')}.${base64url(JSON.stringify(claims))}`
    const mac = createHmac('sha256', secret).update(text).digest('base64url')
    return { headers: { 'content-type': type, authorization: `Bearer ${text}.${mac}` }, url }
  },
}
type Settings = Record<string, string | undefined>

const called = providerAdapters
  .map(({ name }) => name)
  .filter((name) => accountAt(name, nowhere).receipts !== undefined)

/** Words that providers use as members, so that bodies get beyond the first look at them. */
const word = fc.constantFrom(
  ...['results', 'messageId', 'status', 'groupId', 'name', 'error', 'price', 'voiceCall'],
  ...['entry', 'changes', 'value', 'statuses', 'id', 'timestamp', 'errors', 'code', 'recipient_id'],
  ...['MessageSid', 'MessageStatus', 'CallSid', 'CallStatus', 'ErrorCode', 'AnsweredBy', 'Price'],
  ...['message_uuid', 'client_ref', 'uuid', 'usage', 'timestamp', 'sms_id', 'phoneNumber', 'text'],
  ...['sessionId', 'isActive', 'durationInSeconds', 'amount', 'currencyCode', 'clientRequestId'],
)
const value = fc.oneof(
  fc.string(),
  fc.constantFrom('delivered', 'DELIVERED_TO_HANDSET', 'Success', 'failed', 'completed', '1', '-1'),
  fc.double(),
  fc.constant(null),
  fc.boolean(),
)
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    value,
    fc.dictionary(word, tie('tree'), { maxKeys: 6 }),
    fc.array(tie('tree'), { maxLength: 3 }),
  ),
}))
const json = 'application/json'
const form = 'application/x-www-form-urlencoded'
const body: fc.Arbitrary<Body> = fc.oneof(
  tree.map((made) => ({ type: json, bytes: Buffer.from(JSON.stringify(made) ?? '') })),
  fc.dictionary(word, fc.string(), { maxKeys: 8 }).map((fields) => ({
    type: form,
    bytes: Buffer.from(new URLSearchParams(fields).toString()),
  })),
  fc
    .tuple(fc.constantFrom(json, form, 'text/plain'), fc.uint8Array({ maxLength: 200 }))
    .map(([type, bytes]) => ({ type, bytes: Buffer.from(bytes) })),
)

/** What a reading gives, or the forgery that it throws; anything else that is thrown fails the test. */
function readOr<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof ForgedCallback) return undefined
    throw error
  }
}

const readings = (account: ProviderAccount, callback: InboundCallback): Receipt[] => {
  const call = readOr(() => account.calls?.readCall(callback))
  if (call) readOr(() => account.calls?.answerCall(call, undefined, callback))
  const dial = readOr(() => account.ussd?.readDial(callback))
  if (dial) account.ussd?.showScreen(dial, { text: 'No code waits for you.' })
  readOr(() => account.inbound?.readInbound(callback))
  readOr(() => account.handshake?.answerHandshake({ ...callback, method: 'GET' }))
  return [
    ...(readOr(() => account.receipts?.readReceipts(callback)) ?? []),
    ...(call?.receipts ?? []),
  ]
}

test('the callbacks of every provider that has some can be made here', () => {
  expect(Object.keys(sealOf).sort()).toEqual([...called].sort())
})

describe.each(called)('callbacks to %s', (name) => {
  const account = accountAt(name, nowhere)
  const url = `https://otp.example.com/webhooks/${name}`
  const prefix = `${name.toUpperCase().replaceAll('-', '_')}_`
  const settings: Settings = Object.fromEntries(
    Object.entries(fakeVariables(name, nowhere)).map(([variable, value]) => [
      variable.slice(prefix.length),
      value,
    ]),
  )

  test('genuine ones of any content are read, or are none; nothing else is thrown', () => {
    fc.assert(
      fc.property(body, (made) => {
        const seal = sealOf[name]?.(made, url, settings)
        if (!seal) throw new Error('no seal')
        const callback = { ...seal, body: made.bytes, clientIp: '127.0.0.1' }
        for (const receipt of readings(account, callback)) {
          expect(receiptStatuses).toContain(receipt.status)
          expect(receipt.eventKey).not.toBe('')
          expect(receipt.rawStatus.length).toBeLessThanOrEqual(100)
          if (receipt.at) expect(receipt.at.getTime()).not.toBeNaN()
        }
        // That it is genuine is not in doubt.
        expect(readOr(() => account.receipts?.readReceipts(callback))).toBeDefined()
      }),
      { numRuns: 500 },
    )
  })

  test('all others are forgeries', () => {
    const header = fc.dictionary(
      fc.constantFrom('authorization', 'x-twilio-signature', 'x-hub-signature-256', 'content-type'),
      fc.oneof(fc.string(), fc.constantFrom('Bearer a.b.c', 'sha256=00', 'Basic Og==', form, json)),
    )
    fc.assert(
      fc.property(body, header, fc.string(), ({ bytes }, headers, pathSecret) => {
        const callback = { headers, body: bytes, url, pathSecret, clientIp: '192.0.2.7' }
        readings(account, callback)
        // What nobody signs, the API lets in at a message's own secret address only.
        if (account.receipts?.unsigned) return
        expect(() => account.receipts?.readReceipts(callback)).toThrow(ForgedCallback)
      }),
      { numRuns: 300 },
    )
  })
})
