import { createHmac } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { createProviders } from '../../providers'
import { checkHubSignature } from '../../providers/meta/signature'
import { ForgedCallback } from '../../providers/provider'
import {
  appSecret,
  codeRows,
  metaConfig,
  metaVariables,
  phoneId,
  statusOfFault,
} from '../harness/meta-account'

const accountWith = (more: object = {}) =>
  createProviders([metaConfig], { ...metaVariables, ...more }).get('meta')
const account = accountWith()

const signed = (body: string | Buffer, by = appSecret) => ({
  headers: {
    'x-hub-signature-256': `sha256=${createHmac('sha256', by).update(body).digest('hex')}`,
  },
  body: Buffer.from(body),
  url: 'https://otp.example/webhooks/meta',
})
const batch = (...values: unknown[]) =>
  JSON.stringify({
    object: 'whatsapp_business_account',
    entry: values.map((value) => ({ id: 'waba', changes: [{ field: 'messages', value }] })),
  })
const metadata = { phone_number_id: phoneId, display_phone_number: '15550783881' }
const status = {
  id: 'wamid.1',
  status: 'delivered',
  timestamp: '1795435200',
  recipient_id: '233241234567',
  biz_opaque_callback_data: 'att_1',
  conversation: { id: 'c', origin: { type: 'authentication' } },
  pricing: { billable: true, pricing_model: 'PMP', category: 'authentication' },
}
const read = (body: string) => account?.receipts?.readReceipts(signed(body))
const readOne = (changed: object) =>
  read(batch({ metadata, statuses: [{ ...status, ...changed }] }))

describe('statuses', () => {
  test('all of one', () => {
    expect(readOne({})).toEqual([
      {
        status: 'delivered',
        rawStatus: 'delivered',
        eventKey: 'wamid.1:delivered',
        providerMessageId: 'wamid.1',
        attemptId: 'att_1',
        at: new Date('2026-11-23T12:00:00Z'),
        cost: undefined,
      },
    ])
  })

  test.each([
    ['accepted', 'accepted'],
    ['sent', 'sent'],
    ['delivered', 'delivered'],
    ['read', 'delivered'],
    ['played', 'delivered'],
    ['failed', 'failed.retryable'],
    ['warning', 'unknown'],
  ])('%s means %s', (word, meaning) => {
    expect(readOne({ status: word })).toMatchObject([{ status: meaning, rawStatus: word }])
  })

  test.each(codeRows)('failed with %i', (code, fault) => {
    const errors = [{ code, title: 't', message: 'm', error_data: { details: 'd' }, href: 'h' }]
    expect(readOne({ status: 'failed', errors })).toMatchObject([
      { status: statusOfFault[fault as keyof typeof statusOfFault], rawStatus: `failed:${code}` },
    ])
  })

  test.each([
    ['a code that nobody wrote down', [{ code: 139999 }]],
    ['a code that is no number', [{ code: '131026' }]],
    ['no error', []],
    ['errors of another kind', 'oops'],
  ])('failed with %s never blames the number', (_title, errors) => {
    expect(readOne({ status: 'failed', errors })).toMatchObject([{ status: 'failed.retryable' }])
  })

  test('a batch: every status of every change of every entry', () => {
    const changes = [
      { field: 'messages', value: { metadata, statuses: [status, { ...status, id: 'wamid.2' }] } },
      {
        field: 'messages',
        value: { metadata, messages: [{ from: '233', text: { body: 'STOP' } }] },
      },
      { field: 'message_template_status_update', value: { event: 'APPROVED' } },
      { field: 'messages', value: { metadata, statuses: [{ ...status, id: 'wamid.3' }] } },
    ]
    const more = { id: 'waba', changes: [{ value: { statuses: [{ ...status, id: 'wamid.4' }] } }] }
    const body = JSON.stringify({ entry: [{ id: 'waba', changes }, more] })
    expect(read(body)?.map(({ providerMessageId }) => providerMessageId)).toEqual([
      'wamid.1',
      'wamid.2',
      'wamid.3',
      'wamid.4',
    ])
  })

  test('what is broken in a batch does not take the rest with it', () => {
    const body = JSON.stringify({
      entry: [
        7,
        { changes: 'none' },
        { changes: [null, 5, { value: 'x' }, { value: { statuses: 'x' } }] },
        { changes: [{ value: { metadata: 'odd', statuses: [null, { id: 5 }, status, 'x'] } }] },
      ],
    })
    expect(read(body)).toMatchObject([{ providerMessageId: 'wamid.1' }])
  })

  test('a status without our reference, or with one that is none of ours', () => {
    for (const biz_opaque_callback_data of [undefined, 'a\u0000', 'x y', 5, 'x'.repeat(200)]) {
      const [receipt] = readOne({ biz_opaque_callback_data }) ?? []
      expect(receipt).toMatchObject({ providerMessageId: 'wamid.1', attemptId: undefined })
    }
  })

  test('of another number of the same Meta app: none of ours', () => {
    const other = { ...metadata, phone_number_id: '1' }
    expect(read(batch({ metadata: other, statuses: [status] }))).toEqual([])
  })

  test.each(['', 'null', '[]', '{}', '{"entry":{}}', '<xml/>'])(
    'genuine, but empty: %s',
    (body) => {
      expect(read(body)).toEqual([])
    },
  )
})

describe('signatures', () => {
  /** As Meta writes JSON, with escapes; the digest is of `openssl dgst -sha256 -hmac` over these bytes. */
  const escaped =
    '{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"106540352242922","display_phone_number":"1555"},"contacts":[{"profile":{"name":"Am\\u00e9 \\/ Kofi"}}],"statuses":[{"id":"wamid.1","status":"sent","timestamp":"1795435200"}]}}]}]}'
  const digest = '371a6b1dc732a4c8059c4116986270271baa97f9c7c8105284f86d1e32dfe0a5'
  const callback = (body: string | Buffer, header: string | string[] | undefined) => ({
    headers: { 'x-hub-signature-256': header },
    body: Buffer.from(body),
    url: 'https://otp.example/webhooks/meta',
  })
  const reading =
    (...given: Parameters<typeof callback>) =>
    () =>
      account?.receipts?.readReceipts(callback(...given))

  test('one that openssl made, over the bytes as they came', () => {
    expect(reading(escaped, `sha256=${digest}`)()).toMatchObject([{ status: 'sent' }])
    const rewritten = JSON.stringify(JSON.parse(escaped))
    expect(rewritten).not.toBe(escaped)
    expect(reading(rewritten, `sha256=${digest}`)).toThrow(ForgedCallback)
  })

  test('the example that GitHub publishes for the same header', () => {
    const published = '757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
    const given = callback('Hello, World!', `sha256=${published}`)
    expect(() => checkHubSignature(given, ["It's a Secret to Everybody"])).not.toThrow()
    expect(() => checkHubSignature(given, ['It’s a Secret to Everybody'])).toThrow(ForgedCallback)
  })

  test.each([
    ['none', undefined],
    ['empty', ''],
    ['without its name', digest],
    ['SHA-1', `sha1=${digest.slice(0, 40)}`],
    ['cut short', `sha256=${digest.slice(0, 62)}`],
    ['too long', `sha256=${digest}00`],
    ['no hex', `sha256=${'z'.repeat(64)}`],
    ['of another', `sha256=${digest.replace('3', '4')}`],
    ['two', [`sha256=${digest}`, `sha256=${digest}`]],
  ])('forged: %s', (_title, header) => {
    expect(reading(escaped, header)).toThrow(ForgedCallback)
  })

  test('forged by one bit, any of the header', () => {
    const header = Buffer.from(`sha256=${digest}`)
    for (let bit = 0; bit < header.length * 8; bit++) {
      const forged = Buffer.from(header)
      forged.writeUInt8(forged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      expect(reading(escaped, forged.toString('latin1'))).toThrow(ForgedCallback)
    }
  })

  test('forged by one bit, anywhere in the body', () => {
    for (const place of [0, 40, 150, escaped.length - 1]) {
      const body = Buffer.from(escaped)
      body[place] = (body[place] ?? 0) ^ 1
      expect(reading(body, `sha256=${digest}`)).toThrow(ForgedCallback)
    }
  })

  test('either of two secrets while one is being replaced', () => {
    const both = accountWith({ META_APP_SECRET: `another-secret ${appSecret}` })
    for (const by of ['another-secret', appSecret])
      expect(both?.receipts?.readReceipts(signed(escaped, by))).toHaveLength(1)
    expect(() => both?.receipts?.readReceipts(signed(escaped, 'another-secret '))).toThrow(
      ForgedCallback,
    )
  })
})

describe('the handshake', () => {
  const handshake = (query: string) => () =>
    account?.handshake?.answerHandshake({
      method: 'GET',
      headers: {},
      body: Buffer.alloc(0),
      url: `https://otp.example/webhooks/meta?${query}`,
    })
  const good = 'hub.mode=subscribe&hub.verify_token=words-of-our-own&hub.challenge=1158201444'

  test('the challenge as it came', () => {
    expect(handshake(good)()).toEqual({ contentType: 'text/plain', body: '1158201444' })
  })

  test.each([
    ['another token', good.replace('words', 'Words')],
    ['no token', good.replace('hub.verify_token=words-of-our-own', '')],
    ['an empty token', good.replace('words-of-our-own', '')],
    ['another mode', good.replace('subscribe', 'unsubscribe')],
    ['no challenge', good.replace('1158201444', '')],
    ['a challenge that is a page', good.replace('1158201444', '%3Cscript%3E')],
    ['nothing', ''],
  ])('refused: %s', (_title, query) => {
    expect(handshake(query)).toThrow(ForgedCallback)
  })
})
