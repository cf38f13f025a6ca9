import { describe, expect, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { createProviders, type AccountConfig } from '../../providers'
import { ForgedCallback } from '../../providers/provider'

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const sandbox: AccountConfig = {
  name: 'sandbox-a',
  adapter: 'sandbox',
  channels: ['sms'],
  test: true,
}

describe('callbacks to the sandbox account', () => {
  const { receipts, ussd } =
    createProviders([sandbox], { SANDBOX_URL: 'http://127.0.0.1:9', SANDBOX_SECRET: secret }).get(
      'sandbox-a',
    ) ?? {}
  const callback = (payload: unknown, changed: Record<string, string> = {}, at = new Date()) => {
    const body = typeof payload === 'string' ? payload : JSON.stringify(payload)
    const headers = {
      'webhook-id': 'm1.delivered',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign('m1.delivered', at, body),
      ...changed,
    }
    return { headers, body: Buffer.from(body), url: 'http://127.0.0.1:9/webhooks/sandbox-a/t' }
  }

  test.each([
    ['queued', 'accepted'],
    ['sent', 'sent'],
    ['ringing', 'sent'],
    ['delivered', 'delivered'],
    ['dialled', 'delivered'],
    ['read', 'delivered'],
    ['answered', 'answered'],
    ['declined', 'failed.retryable'],
    ['failed', 'failed.permanent'],
    ['expired', 'expired'],
    ['moonwalking', 'unknown'],
  ])('%s means %s', (rawStatus, status) => {
    const body = { id: 'm1', reference: 'att_1', status: rawStatus, at: '2026-11-23T05:00:00.000Z' }
    expect(receipts?.readReceipts(callback(body))).toEqual([
      {
        status,
        rawStatus,
        eventKey: `m1:${rawStatus}`,
        providerMessageId: 'm1',
        at: new Date('2026-11-23T05:00:00.000Z'),
      },
    ])
  })

  test.each([['not json'], ['{}'], ['[1]'], ['{"id":"m1","status":"+233241234567"}']])(
    'genuine, but no receipt: %s',
    (body) => expect(receipts?.readReceipts(callback(body))).toEqual([]),
  )

  test('an id that Postgres could not keep still tells two events apart', () => {
    const receiptOf = (id: string) =>
      receipts?.readReceipts(callback({ id, status: 'delivered' }))[0]
    const [one, another] = [receiptOf('m\u00001'), receiptOf('m\u00002')]
    expect(one).toMatchObject({ status: 'delivered', rawStatus: 'delivered' })
    expect(one?.providerMessageId).toBeUndefined()
    expect(one?.eventKey).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(one?.eventKey).not.toBe(another?.eventKey)
    expect(receiptOf('m\u00001')).toEqual(one)
  })

  const body = { id: 'm1', status: 'delivered' }
  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000)
  test.each([
    ['no signature', callback(body, { 'webhook-signature': '' })],
    ['a wrong signature', callback(body, { 'webhook-signature': `v1,${'A'.repeat(43)}=` })],
    ['another id', callback(body, { 'webhook-id': 'm2.delivered' })],
    ['an old one', callback(body, {}, minutesAgo(6))],
    ['one from the future', callback(body, {}, minutesAgo(-60))],
    ['another body', { ...callback(body), body: Buffer.from('{"id":"m1","status":"failed"}') }],
  ])('forged: %s', (_title, forged) => {
    expect(() => receipts?.readReceipts(forged)).toThrow(ForgedCallback)
    expect(() => ussd?.readDial(forged)).toThrow(ForgedCallback)
  })

  test('a dialled session, and the screen that answers it', () => {
    const dial = { session_id: 's1', phone_number: '+233241234567', service_code: '*920*1#' }
    const read = ussd?.readDial(callback({ ...dial, input: '1*2' }))
    expect(read).toEqual({
      sessionId: 's1',
      phoneNumber: '+233241234567',
      serviceCode: '*920*1#',
      inputs: ['1', '2'],
    })
    if (!read) throw new Error('no dial')
    expect(ussd?.showScreen(read, { text: 'Your code is 1', code: '1' })).toEqual({
      contentType: 'application/json',
      body: '{"message":"Your code is 1","code":"1","end":true}',
    })
    expect(ussd?.showScreen(read, { text: 'No code' }).body).toBe(
      '{"message":"No code","code":null,"end":true}',
    )
  })
})
