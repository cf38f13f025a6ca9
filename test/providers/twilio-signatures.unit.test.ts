import { createHash } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks'
import { ForgedCallback, type InboundCallback } from '../../providers/provider'
import { readSigned } from '../../providers/twilio/signature'
import {
  token,
  messageSid,
  publicUrl,
  account,
  ours,
  form,
  receiptsOf,
  delivered,
  isRead,
  type Fields,
} from '../harness/twilio-callbacks'

describe('signatures', () => {
  test('the published example', () => {
    const fields = {
      CallSid: 'CA1234567890ABCDE',
      Caller: '+14158675309',
      Digits: '1234',
      From: '+14158675309',
      To: '+18005551212',
    }
    const callback = form(fields, {
      url: 'https://mycompany.com/myapp.php?foo=1&bar=2',
      headers: { 'x-twilio-signature': 'RSOYDt4T1cUTdK1PDd93/VVr8B8=' },
    })
    expect(readSigned(['12345'], callback).get('Digits')).toBe('1234')
    expect(() => readSigned(['12346'], callback)).toThrow(ForgedCallback)
  })

  const odd = {
    ...delivered,
    Body: "STOP it's 100% ünïcødé & = + / ? 🙂\r\n",
    Empty: '',
    '€': '1',
    a: ['2', '1', '2'],
    A: 'capital',
  }
  test.each<[string, Fields, Parameters<typeof form>[1]?]>([
    ['plain', delivered, {}],
    ['odd values, repeated ones and names in an odd order', odd, {}],
    ['no parameter but two', { MessageStatus: 'sent', MessageSid: messageSid }, {}],
    ['signed with the usual port', delivered, { signedUrl: publicUrl.replace('.com', '.com:443') }],
    [
      'signed without our port',
      delivered,
      { url: publicUrl.replace('.com', '.com:8443'), signedUrl: publicUrl },
    ],
    ['signed with our port', delivered, { url: 'http://127.0.0.1:8080/webhooks/twilio/t' }],
    [
      'a query that was signed as the old encoder writes it',
      delivered,
      { url: `${publicUrl}?q=it's`, signedUrl: `${publicUrl}?q=it%27s` },
    ],
    [
      'the same with the usual port',
      delivered,
      {
        url: `${publicUrl}?q=it's(1)`,
        signedUrl: `${publicUrl.replace('.com', '.com:443')}?q=it%27s(1)`,
      },
    ],
    ['a query with a second question mark', delivered, { url: `${publicUrl}?a=b?c&d=e` }],
  ])('holds: %s', (_title, fields, options) => {
    expect(isRead(form(fields, options))).toBe(true)
  })

  test('either of two tokens, while one is being replaced', () => {
    const both = account('the-new-token the-auth-token')
    expect(isRead(form(delivered), both)).toBe(true)
    expect(isRead(form(delivered, { by: 'the-new-token' }), both)).toBe(true)
    expect(isRead(form(delivered, { by: 'the-old-token' }), both)).toBe(false)
    expect(isRead(form(delivered, { by: 'the-new-token the-auth-token' }), both)).toBe(false)
  })

  const json = (body: string, digestOf = body, signedFields: Fields = {}): InboundCallback => {
    const digest = createHash('sha256').update(digestOf).digest('hex')
    const url = `${publicUrl}?bodySHA256=${digest}`
    return {
      method: 'POST',
      url,
      headers: {
        'content-type': 'application/json',
        'x-twilio-signature': getExpectedTwilioSignature(token, url, signedFields),
      },
      body: Buffer.from(body),
    }
  }
  test('JSON, by its digest in the address', () => {
    const body = JSON.stringify(delivered)
    expect(isRead(json(body))).toBe(true)
    expect(isRead(json(body, `${body} `))).toBe(false)
    expect(isRead(json(body, body, { a: 'b' }))).toBe(false)
    const bare = json(body)
    const [url = ''] = bare.url.split('?')
    const signature = getExpectedTwilioSignature(token, url, {})
    expect(
      isRead({ ...bare, url, headers: { ...bare.headers, 'x-twilio-signature': signature } }),
    ).toBe(false)
    expect(receiptsOf(json('not json'))).toEqual([])
    expect(receiptsOf(json('null'))).toEqual([])
    expect(receiptsOf(json('[1]'))).toEqual([])
  })

  test('GET, by the address alone', () => {
    const url = `${publicUrl}?${new URLSearchParams(delivered).toString()}`
    const headers = { 'x-twilio-signature': getExpectedTwilioSignature(token, url, {}) }
    const callback: InboundCallback = { method: 'GET', url, headers, body: Buffer.alloc(0) }
    expect(isRead(callback)).toBe(true)
    expect(isRead({ ...callback, url: url.replace('delivered', 'failed') })).toBe(false)
  })

  test('one bit anywhere, and it is forged', () => {
    const genuine = form(odd, { url: `${publicUrl}?x=1` })
    const signature = String(genuine.headers['x-twilio-signature'])
    const flipped = (text: Buffer, at: number, bit: number) => {
      const copy = Buffer.from(text)
      copy[at] = (copy[at] ?? 0) ^ (1 << bit)
      return copy
    }
    const read: string[] = []
    for (let bit = 0; bit < 7; bit++) {
      for (let at = 0; at < genuine.body.length; at++) {
        const body = flipped(genuine.body, at, bit)
        const isSame = tellsThe(body.toString('utf8')) === tellsThe(genuine.body.toString('utf8'))
        if (!isSame && isRead({ ...genuine, body })) read.push(`body ${at}.${bit}`)
      }
      for (let at = 0; at < signature.length; at++) {
        const header = flipped(Buffer.from(signature), at, bit).toString('latin1')
        const headers = { ...genuine.headers, 'x-twilio-signature': header }
        if (isRead({ ...genuine, headers })) read.push(`signature ${at}.${bit}`)
      }
      const path = genuine.url.indexOf('webhooks')
      for (let at = path; at < genuine.url.length; at++) {
        const url = flipped(Buffer.from(genuine.url), at, bit).toString('latin1')
        if (isRead({ ...genuine, url })) read.push(`url ${at}.${bit}`)
      }
    }
    expect(read).toEqual([])
  })
  /** Hex digits of an escape may change their case, and a blank may be written in two ways: the fields are the same. */
  const tellsThe = (body: string) =>
    JSON.stringify([...new URLSearchParams(body)].toSorted(([a], [b]) => (a < b ? -1 : 1)))

  const genuine = form(delivered)
  test.each<[string, Partial<InboundCallback>]>([
    ['no signature', { headers: { ...genuine.headers, 'x-twilio-signature': undefined } }],
    ['an empty one', { headers: { ...genuine.headers, 'x-twilio-signature': '' } }],
    ['two of them', { headers: { ...genuine.headers, 'x-twilio-signature': ['a', 'b'] } }],
    ['another host', { url: genuine.url.replace('otp.', 'evil.') }],
    ['http instead of https', { url: genuine.url.replace('https', 'http') }],
    ['another message’s address', { url: genuine.url.replace('Tok-en_1', 'Tok-en_2') }],
    ['a query', { url: `${genuine.url}?x=1` }],
    ['the form as another type', { headers: { ...genuine.headers, 'content-type': 'text/plain' } }],
    ['the form without a type', { headers: { ...genuine.headers, 'content-type': undefined } }],
    ['no body', { body: Buffer.alloc(0) }],
    ['bytes', { body: Buffer.from([0, 255, 254]) }],
  ])('forged: %s', (_title, changed) => {
    const forged = { ...genuine, ...changed }
    const { receipts, calls, inbound } = ours
    expect(() => receipts?.readReceipts(forged)).toThrow(ForgedCallback)
    expect(() => calls?.readCall(forged)).toThrow(ForgedCallback)
    expect(() => inbound?.readInbound(forged)).toThrow(ForgedCallback)
  })
})
