import { describe, expect, test } from '@jest/globals'
import { ForgedCallback, type ProviderAccount } from '../../providers/provider'
import { accountAt } from '../harness/infobip'

const nowhere = 'http://127.0.0.1:9'
const reports = (...results: object[]) => Buffer.from(JSON.stringify({ results }))
const report = (status: object, more: object = {}) => ({
  messageId: 'att_1',
  to: '233241234567',
  callbackData: 'sms:att_1',
  doneAt: '2026-11-23T05:00:00.000+0100',
  status,
  ...more,
})
const read = (body: Buffer, given: Partial<Parameters<typeof readWith>[1]> = {}) =>
  readWith(accountAt(nowhere), { body, ...given })
const readWith = (
  { receipts }: ProviderAccount,
  given: { body: Buffer; url?: string; headers?: Record<string, string>; pathSecret?: string },
) => {
  const url = 'https://otp.example.com/webhooks/infobip/token'
  return receipts?.readReceipts({ headers: {}, url, ...given }) ?? []
}

describe('reports', () => {
  test.each<[number, string, string]>([
    [1, 'PENDING_ACCEPTED', 'accepted'],
    [1, 'PENDING_ENROUTE', 'sent'],
    [1, 'PENDING_WAITING_DELIVERY', 'sent'],
    [3, 'DELIVERED_TO_OPERATOR', 'sent'],
    [3, 'DELIVERED_TO_HANDSET', 'delivered'],
    [4, 'EXPIRED_EXPIRED', 'expired'],
    [4, 'EXPIRED_DLR_UNKNOWN', 'unknown'],
    [4, 'SIGNALS_BLOCKED', 'failed.permanent'],
    [5, 'REJECTED_NETWORK', 'failed.permanent'],
    [5, 'REJECTED_PREFIX_MISSING', 'failed.permanent'],
    [5, 'REJECTED_DND', 'failed.permanent'],
    [5, 'REJECTED_SOURCE', 'failed.config'],
    [5, 'REJECTED_NOT_ENOUGH_CREDITS', 'failed.config'],
    [5, 'REJECTED_SENDER', 'failed.config'],
    [5, 'REJECTED_DESTINATION_BLOCKLISTED', 'failed.permanent'],
    [5, 'REJECTED_PREPAID_PACKAGE_EXPIRED', 'failed.config'],
    [5, 'REJECTED_DESTINATION_NOT_REGISTERED', 'failed.permanent'],
    // Of one number, text or language: a report must not have the whole account left alone.
    [5, 'REJECTED_ROUTE_NOT_AVAILABLE', 'failed.permanent'],
    [5, 'REJECTED_MESSAGE_TOO_LONG', 'failed.permanent'],
    [5, 'REJECTED_UNSUPPORTED_LANGUAGE', 'failed.permanent'],
    [5, 'REJECTED_FLOODING_FILTER', 'failed.retryable'],
    [5, 'REJECTED_SYSTEM_ERROR', 'failed.retryable'],
    [5, 'REJECTED_DUPLICATE_MESSAGE_ID', 'accepted'],
    [5, 'MISSING_TO', 'failed.permanent'],
    [5, 'REJECTED_DESTINATION', 'failed.permanent'],
    [5, 'UNDELIVERABLE_REJECTED_PLATFORM', 'failed.retryable'],
    [2, 'UNDELIVERABLE_NOT_DELIVERED', 'failed.retryable'],
    [0, 'A_NEW_NAME', 'accepted'],
    [1, 'A_NEW_NAME', 'accepted'],
    [2, 'A_NEW_NAME', 'failed.retryable'],
    [3, 'A_NEW_NAME', 'sent'],
    [4, 'A_NEW_NAME', 'expired'],
    [5, 'A_NEW_NAME', 'failed.retryable'],
    [77, 'A_NEW_NAME', 'unknown'],
  ])('group %d %s means %s', (groupId, name, status) => {
    const isFailed = status.startsWith('failed') || status === 'expired'
    expect(read(reports(report({ groupId, name })))).toEqual([
      {
        ...(isFailed && { code: name }),
        status,
        rawStatus: name,
        eventKey: `att_1:${name}`,
        providerMessageId: 'att_1',
        attemptId: 'att_1',
        at: new Date('2026-11-23T04:00:00.000Z'),
        cost: undefined,
      },
    ])
  })

  const undelivered = { groupId: 2, name: 'UNDELIVERABLE_NOT_DELIVERED' }
  test.each<[string, object, string, string]>([
    ['EC_UNKNOWN_SUBSCRIBER', {}, 'sms', 'failed.permanent'],
    ['EC_TEMPORARY_HANDSET_FAILURE', {}, 'sms', 'failed.retryable'],
    ['EC_ABSENT_SUBSCRIBER', { permanent: false }, 'sms', 'failed.retryable'],
    ['EC_ABSENT_SUBSCRIBER', { permanent: 'yes' }, 'sms', 'failed.retryable'],
    ['EC_VOICE_CONGESTION', {}, 'voice', 'failed.retryable'],
    ['EC_UNKNOWN', {}, 'whatsapp', 'failed.retryable'],
  ])('undelivered for %s %p (%s): %s', (name, more, channel, status) => {
    const error = { groupId: 1, name, permanent: true, ...more }
    const body = reports(report(undelivered, { callbackData: `${channel}:att_1`, error }))
    expect(read(body)).toMatchObject([{ status, rawStatus: `UNDELIVERABLE_NOT_DELIVERED ${name}` }])
  })

  const arrived = { groupId: 3, name: 'DELIVERED_TO_HANDSET' }
  test.each<[object, object, string]>([
    [arrived, { answeredBy: 'HUMAN' }, 'answered'],
    [arrived, { answeredBy: null }, 'answered'],
    [arrived, { answeredBy: 'MACHINE' }, 'failed.retryable'],
    [{ groupId: 2, name: 'NO_ANSWER' }, {}, 'failed.retryable'],
    [{ groupId: 2, name: 'BUSY' }, {}, 'failed.retryable'],
    [{ groupId: 2, name: 'CANCELLED' }, {}, 'failed.permanent'],
    [{ groupId: 5, name: 'REJECTED' }, {}, 'failed.permanent'],
  ])('a call: %p %p means %s', (status, voiceCall, expected) => {
    const error = { name: 'VOICE_SOMETHING', permanent: true }
    const found = report(status, { callbackData: 'voice:att_1', voiceCall, error })
    expect(read(reports(found))).toMatchObject([{ status: expected }])
    // Without our own words, the call itself tells.
    expect(read(reports({ ...found, callbackData: undefined }))).toMatchObject([
      { status: expected },
    ])
  })

  const through = { groupId: 3, name: 'DELIVERED_TO_HANDSET' }
  test.each<[string, object, string]>([
    ['the error’s name', { error: { name: 'VOICE_ANSWERED_MACHINE' } }, 'failed.retryable'],
    ['the name of detection', { error: { name: 'MACHINE_DETECTED' } }, 'failed.retryable'],
    ['an error’s id', { error: { id: 5001 } }, 'failed.retryable'],
    ['the id of detection', { error: { id: 10_002 } }, 'failed.retryable'],
    ['answeredBy', { voiceCall: { answeredBy: 'MACHINE' } }, 'failed.retryable'],
    [
      'one of two signs',
      { voiceCall: { answeredBy: 'HUMAN' }, error: { name: 'VOICE_ANSWERED_MACHINE' } },
      'failed.retryable',
    ],
    ['a person by detection', { error: { id: 10_001, name: 'HUMAN_DETECTED' } }, 'answered'],
    ['a person', { voiceCall: { answeredBy: 'HUMAN' } }, 'answered'],
    ['no error', { error: { id: 0, name: 'NO_ERROR' } }, 'answered'],
  ])('who answered a call is told by %s', (_title, more, status) => {
    const found = report(through, { callbackData: 'voice:att_1', ...more })
    expect(read(reports(found))).toMatchObject([{ status }])
  })

  test('an error about machines makes a report one of a call, whatever else it lacks', () => {
    const found = report(through, { callbackData: undefined, error: { name: 'MACHINE_DETECTED' } })
    expect(read(reports(found))).toMatchObject([{ status: 'failed.retryable' }])
    const person = report({}, { callbackData: undefined, error: { name: 'HUMAN_DETECTED' } })
    expect(read(reports(person))).toMatchObject([{ status: 'answered' }])
  })

  test('WhatsApp says that it was seen', () => {
    const seen = report({}, { status: undefined, seenAt: '2026-11-23T05:00:01.000+0000' })
    expect(read(reports(seen))).toMatchObject([
      { status: 'delivered', rawStatus: 'SEEN', at: new Date('2026-11-23T05:00:01.000Z') },
    ])
  })

  test.each<[object, object | undefined]>([
    [
      { price: { pricePerMessage: 0.0421, currency: 'EUR' } },
      { amount: '0.042100', currency: 'EUR' },
    ],
    [
      { price: { pricePerMessage: 0.01, currency: 'EUR' }, messageCount: 2 },
      { amount: '0.020000', currency: 'EUR' },
    ],
    [
      { price: { pricePerSecond: 0.002, currency: 'EUR' }, voiceCall: { duration: 12 } },
      { amount: '0.024000', currency: 'EUR' },
    ],
    [{ price: { pricePerSecond: 0.002, currency: 'EUR' } }, undefined],
    [{ price: { pricePerMessage: 'free', currency: 'EUR' } }, undefined],
    [{ price: { pricePerMessage: -1, currency: 'EUR' } }, undefined],
    [{ price: { pricePerMessage: 1 } }, undefined],
  ])('%p costs %p', (more, cost) => {
    expect(read(reports(report(arrived, more)))[0]?.cost).toEqual(cost)
  })

  test('a batch tells of each message, and one that cannot be read spoils no other', () => {
    const of = (id: string) => ({ messageId: id, callbackData: `sms:${id}`, status: arrived })
    const many = Array.from({ length: 100 }, (_, i) => of(`att_${i}`))
    const body = reports(...many.slice(0, 50), { to: '233241234567' }, ...many.slice(50))
    expect(read(body).map(({ attemptId }) => attemptId)).toEqual(
      many.map(({ messageId }) => messageId),
    )
  })

  test('of a repetition, it is told of the attempt that made it', () => {
    const repeated = report(arrived, { messageId: 'att_0', callbackData: 'sms:att_1' })
    expect(read(reports(repeated))).toMatchObject([
      { attemptId: 'att_1', providerMessageId: 'att_0' },
    ])
    const without = report(arrived, { messageId: 'att_0', callbackData: 'of somebody else' })
    expect(read(reports(without))).toMatchObject([{ attemptId: 'att_0' }])
    const foreign = report(arrived, { messageId: 'not-ours', callbackData: undefined })
    expect(read(reports(foreign))).toMatchObject([
      { attemptId: undefined, providerMessageId: 'not-ours' },
    ])
  })

  test('nothing of a person goes into the raw status', () => {
    const named = report(
      { groupId: 3, name: '+233241234567' },
      { error: { name: 'to 0241234567' } },
    )
    expect(read(reports(named))).toMatchObject([{ rawStatus: 'GROUP_3', status: 'sent' }])
  })

  test.each(['', 'null', '[]', '{}', '{"results":{}}', '{"results":[null,7,"x",{}]}', '\u0000'])(
    'nothing to read in %p',
    (body) => expect(read(Buffer.from(body))).toEqual([]),
  )
})

describe('whose report it is', () => {
  const body = reports(report({ groupId: 3, name: 'DELIVERED_TO_HANDSET' }))
  const atAccount = 'https://otp.example.com/webhooks/infobip?x=/webhooks/infobip/t'
  const basic = (text: string) => ({
    authorization: `Basic ${Buffer.from(text).toString('base64')}`,
  })
  const subscribed = () =>
    accountAt(nowhere, {
      INFOBIP_CALLBACK_USER: 'otpilot',
      INFOBIP_CALLBACK_PASSWORD: 'a-password',
      INFOBIP_CALLBACK_SECRET: 's'.repeat(22),
    })

  test('at the account’s address, the credentials of the subscription', () => {
    const headers = basic('otpilot:a-password')
    expect(readWith(subscribed(), { body, url: atAccount, headers })).toHaveLength(1)
    expect(readWith(subscribed(), { body, pathSecret: 's'.repeat(22) })).toHaveLength(1)
  })

  test.each([
    ['none', {}],
    ['another password', basic('otpilot:b-password')],
    ['another user', basic('otpilou:a-password')],
    ['no scheme', { authorization: Buffer.from('otpilot:a-password').toString('base64') }],
  ])('forged: %s', (_title, headers: Record<string, string>) => {
    expect(() => readWith(subscribed(), { body, url: atAccount, headers })).toThrow(ForgedCallback)
  })

  test('forged: at the account’s address of an account without credentials', () => {
    const headers = basic('undefined:undefined')
    expect(() => read(body, { url: atAccount, headers })).toThrow(ForgedCallback)
  })

  test.each([`${'s'.repeat(21)}t`, ''])('forged: the secret %p', (pathSecret) => {
    expect(() => readWith(subscribed(), { body, pathSecret })).toThrow(ForgedCallback)
    expect(() => read(body, { pathSecret })).toThrow(ForgedCallback)
  })
})
