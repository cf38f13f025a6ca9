import { createHash } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { SignJWT } from 'jose'
import { createProviders } from '../../providers'
import { ForgedCallback, type InboundCallback } from '../../providers/provider'
import { codeMeanings } from '../../providers/vonage/codes'
import { signatureSecret, vonageConfig, vonageVariables } from '../harness/vonage-account'

const account = createProviders([vonageConfig], vonageVariables).get('vonage')

const signedBy = async (payload: unknown, given: Partial<InboundCallback> = {}) => {
  const body = Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload))
  const payload_hash = createHash('sha256').update(body).digest('hex')
  const token = await new SignJWT({ iss: 'Vonage', api_key: 'abcd1234', jti: 'j', payload_hash })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuedAt()
    .sign(Buffer.from(signatureSecret))
  const url = 'https://otp.example/webhooks/vonage/token'
  return { headers: { authorization: `Bearer ${token}` }, body, url, ...given }
}
const read = async (payload: unknown, given?: Partial<InboundCallback>) =>
  account?.receipts?.readReceipts(await signedBy(payload, given))

describe('reports of messages', () => {
  const report = {
    message_uuid: 'uuid-1',
    to: '233241234567',
    from: 'Acme',
    timestamp: '2026-11-23T05:00:00.000Z',
    status: 'delivered',
    channel: 'sms',
    client_ref: 'att_1',
    usage: { currency: 'EUR', price: '0.0333' },
    destination: { network_code: '62001' },
    sms: { count_total: '1' },
    new_field: { of: 'theirs' },
  }

  test('all of one', async () => {
    expect(await read(report)).toEqual([
      {
        status: 'delivered',
        rawStatus: 'delivered',
        eventKey: 'uuid-1:delivered',
        providerMessageId: 'uuid-1',
        attemptId: 'att_1',
        at: new Date('2026-11-23T05:00:00.000Z'),
        cost: { amount: '0.033300', currency: 'EUR' },
      },
    ])
  })

  test.each([
    ['submitted', 'sent'],
    ['delivered', 'delivered'],
    ['read', 'delivered'],
    ['undeliverable', 'failed.retryable'],
    ['rejected', 'failed.retryable'],
    ['moonwalking', 'unknown'],
  ])('%s means %s', async (status, meaning) => {
    expect(await read({ ...report, status })).toMatchObject([
      { status: meaning, rawStatus: status },
    ])
  })

  /** Written down once more, against a slip in the table: providers.md section 2. */
  const classes = {
    'failed.retryable':
      '1000 1030 1100 1180 1200 1220 1230 1241 1331 1210 1250 1270 throttled 1040 1090 1160 1470 1120',
    'failed.permanent': '1050 1170 1190 1240 1260 1280 1290 1300 1310',
    'failed.config':
      '1060 1070 1080 1110 1140 1340 1420 1460 unauthorized forbidden invalid-signature jwt-expired unprovisioned account-suspended low-balance',
    unknown: '1330',
    expired: '1360',
  }
  const rows = Object.entries(classes).flatMap(([status, codes]) =>
    codes.split(' ').map((code) => [code, status] as const),
  )
  test.each(rows)('rejected with %s means %s', async (code, status) => {
    const error = { type: 'https://developer.vonage.com/api-errors', title: code, detail: 'x' }
    const inType = { type: `https://developer.vonage.com/api-errors/messages#${code}` }
    const inTitle = /^\d/.test(code) ? [error, { ...error, title: Number(code) }] : []
    for (const given of [...inTitle, inType])
      expect(await read({ ...report, status: 'rejected', error: given })).toMatchObject([
        { status, rawStatus: `rejected:${code}`, eventKey: 'uuid-1:rejected' },
      ])
  })
  test('the table has no code more', () => expect(codeMeanings.size).toBe(rows.length))

  test.each([
    ['a code that nobody wrote down', { title: '1999' }],
    ['a code of another length', { title: '11700' }],
    ['no code', { title: 'Rejected' }],
    ['no error', undefined],
    ['an error of another kind', 'oops'],
  ])('rejected with %s never blames the number', async (_title, error) => {
    expect(await read({ ...report, status: 'rejected', error })).toMatchObject([
      { status: 'failed.retryable' },
    ])
  })

  test.each([
    ['', []],
    ['[]', []],
    ['null', []],
    ['{"status":"delivered"}', []],
    ['{"message_uuid":"","status":"delivered"}', []],
    ['{"message_uuid":"m","status":"+233241234567"}', []],
  ])('genuine, but no report: %s', async (body, receipts) => {
    expect(await read(body)).toEqual(receipts)
  })

  test('odd fields are left out, the report stays', async () => {
    const odd = { client_ref: 'a\u0000b', timestamp: 7, usage: { price: {} }, error: [] }
    const [receipt] = (await read({ ...report, ...odd })) ?? []
    expect(receipt).toMatchObject({ status: 'delivered' })
    expect(receipt?.attemptId ?? receipt?.at ?? receipt?.cost).toBeUndefined()
    const free = { ...report, usage: { price: 'free', currency: 'EUR' }, timestamp: 'soon' }
    const [another] = (await read(free)) ?? []
    expect(another).toMatchObject({ status: 'delivered', cost: undefined, at: undefined })
  })

  test('forged by a bit of its body', async () => {
    const callback = await signedBy(report)
    callback.body[3] = (callback.body[3] ?? 0) ^ 1
    expect(() => account?.receipts?.readReceipts(callback)).toThrow(ForgedCallback)
    expect(() => account?.calls?.readCall(callback)).toThrow(ForgedCallback)
  })
})

describe('events of calls', () => {
  const event = { uuid: 'call-1', conversation_uuid: 'CON-1', timestamp: '2026-11-23T05:00:00Z' }
  test.each<[string, string | undefined, string]>([
    ['started', undefined, 'accepted'],
    ['ringing', undefined, 'sent'],
    ['answered', undefined, 'answered'],
    ['human', undefined, 'answered'],
    ['machine', undefined, 'failed.retryable'],
    ['completed', undefined, 'unknown'],
    ['disconnected', undefined, 'unknown'],
    ['busy', undefined, 'failed.retryable'],
    ['unanswered', undefined, 'failed.retryable'],
    ['timeout', undefined, 'failed.retryable'],
    ['cancelled', undefined, 'failed.retryable'],
    ['rejected', 'invalid_number', 'failed.permanent'],
    ['rejected', 'declined', 'failed.permanent'],
    ['rejected', 'restricted', 'failed.permanent'],
    ['rejected', undefined, 'failed.retryable'],
    ['rejected', 'something_new', 'failed.retryable'],
    ['failed', 'number_out_of_service', 'failed.permanent'],
    ['failed', 'cannot_route', 'failed.permanent'],
    ['failed', 'internal_error', 'failed.retryable'],
    ['failed', 'carrier_timeout', 'failed.retryable'],
    ['failed', 'unavailable', 'failed.retryable'],
    ['failed', undefined, 'failed.retryable'],
    ['completed', 'declined', 'unknown'],
    ['teleported', undefined, 'unknown'],
  ])('%s (%s) means %s', async (status, detail, meaning) => {
    expect(await read({ ...event, status, detail })).toEqual([
      {
        status: meaning,
        rawStatus: detail === undefined ? status : `${status}:${detail}`,
        eventKey: `call-1:${status}`,
        providerMessageId: 'call-1',
        attemptId: undefined,
        at: new Date('2026-11-23T05:00:00Z'),
        cost: undefined,
      },
    ])
  })

  test('the end of a call tells its price, in euros', async () => {
    const end = { ...event, status: 'completed', duration: '12', rate: '0.0600' }
    expect(await read({ ...end, price: '0.00015000' })).toMatchObject([
      { status: 'unknown', cost: { amount: '0.000150', currency: 'EUR' } },
    ])
    for (const price of [null, 'free', '', {}, '1e3'])
      expect(await read({ ...end, price })).toMatchObject([{ status: 'unknown', cost: undefined }])
  })

  test('machine detection names the call differently', async () => {
    expect(await read({ call_uuid: 'call-1', status: 'human' })).toMatchObject([
      { providerMessageId: 'call-1', status: 'answered' },
    ])
  })

  test('where a key is asked for, only a person or the key makes it answered', async () => {
    const given = { url: 'https://otp.example/webhooks/vonage/token?answered=by-key' }
    for (const [status, meaning] of [
      ['answered', 'sent'],
      ['human', 'answered'],
      ['machine', 'failed.retryable'],
      ['completed', 'unknown'],
    ])
      expect(await read({ ...event, status }, given)).toMatchObject([{ status: meaning }])
  })

  const answer = async (payload: unknown, speech = true) => {
    const callback = await signedBy(payload)
    const call = account?.calls?.readCall(callback)
    if (!call) throw new Error('no call')
    const said = { text: 'Your code is 4 8 2 9 1 3.', locale: 'en' }
    const screen = account?.calls?.answerCall(call, speech ? said : undefined, callback)
    expect(screen?.contentType).toBe('application/json')
    return { call, ncco: JSON.parse(screen?.body ?? '') as unknown[] }
  }

  test.each([
    ['as now', { digits: '5', timed_out: false }],
    ['as it was', '5'],
  ])('a key (%s): the code is said', async (_title, dtmf) => {
    const { call, ncco } = await answer({ ...event, dtmf })
    expect(call).toMatchObject({
      keyPressed: true,
      waits: true,
      providerMessageId: 'call-1',
      receipts: [{ status: 'answered', rawStatus: 'key_pressed', eventKey: 'call-1:key_pressed' }],
    })
    expect(ncco).toEqual([
      {
        action: 'talk',
        text: expect.stringMatching(/^<speak>Your code is 4<break time="600ms"\/>8.*3\.<break/),
        language: 'en-US',
        loop: 2,
      },
    ])
    expect((await answer({ ...event, dtmf }, false)).ncco).toEqual([])
  })

  test.each([
    ['no key in time', { dtmf: { digits: '', timed_out: true } }, [{ status: 'failed.retryable' }]],
    ['nothing of keys', {}, []],
    ['keys of another kind', { dtmf: 5 }, []],
  ])('%s: nothing is said', async (_title, more, receipts) => {
    const { call, ncco } = await answer({ ...event, ...more })
    expect(call).toMatchObject({ keyPressed: false, waits: false })
    expect(call.receipts).toMatchObject(receipts)
    expect(ncco).toEqual([])
  })

  test.each(['', 'null', '[]'])('genuine, but of nobody: %s', async (body) => {
    expect((await answer(body)).ncco).toEqual([])
  })
})
