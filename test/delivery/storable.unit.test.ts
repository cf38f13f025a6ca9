import { expect, test } from '@jest/globals'
import type { Message, Receipt, Sent } from '../../providers/provider'
import { storable } from '../../providers/storable'

const message = { attemptId: 'att_1' } as Message
const callback = { headers: {}, body: Buffer.from(''), url: '' }
const delivered = { status: 'delivered', rawStatus: 'DELIVRD', eventKey: 'm1:DELIVRD' } as const

/** An account whose adapter believes everything it is told. */
const gullible = ({ sent, receipt }: { sent?: Sent; receipt?: Receipt }) =>
  storable({
    name: 'a',
    adapter: 'a',
    channels: ['sms'],
    test: true,
    sender: { send: async () => sent ?? { providerMessageId: 'm1' } },
    receipts: { readReceipts: () => (receipt ? [receipt] : []) },
  })
const kept = (sent: Sent) => gullible({ sent }).sender.send(message, AbortSignal.timeout(1_000))
const read = (receipt: Receipt) => gullible({ receipt }).receipts?.readReceipts(callback)[0]

test.each([
  ['0.05', 'USD', true],
  ['999999999.999999', 'GHS', true],
  ['0.00650000', 'EUR', true],
  ['0,05', 'USD', false],
  ['1e400', 'USD', false],
  ['NaN', 'USD', false],
  ['-1', 'USD', false],
  ['0.05', 'USD\u0000', false],
  ['0.05', 'dollars', false],
])('a cost of %s %j is kept only if Postgres can keep it', async (amount, currency, isKept) => {
  const cost = { amount, currency }
  const expected = isKept ? cost : undefined
  expect((await kept({ providerMessageId: 'm1', cost })).cost).toEqual(expected)
  expect(read({ ...delivered, cost })).toMatchObject({ status: 'delivered' })
  expect(read({ ...delivered, cost })?.cost).toEqual(expected)
})

test.each([
  ['as it is', 'm1', 'm1'],
  ['empty', '', 'att_1'],
  ['with a NUL', 'm\u00001', 'att_1'],
  ['too long', 'm'.repeat(201), 'att_1'],
])('an id %s', async (_title, providerMessageId, expected) => {
  expect((await kept({ providerMessageId })).providerMessageId).toBe(expected)
})

test('a receipt’s words are cut, its key is not: two that differ go on to differ', () => {
  const rawStatus = `\u0000${'x'.repeat(500)}`
  const keyOf = (end: string) =>
    read({ ...delivered, rawStatus, eventKey: 'k'.repeat(5_000) + end })?.eventKey
  expect(read({ ...delivered, rawStatus })?.rawStatus).toBe('x'.repeat(100))
  expect(keyOf('1')).toMatch(/^sha256:[0-9a-f]{64}$/)
  expect(keyOf('1')).toBe(keyOf('1'))
  expect(keyOf('1')).not.toBe(keyOf('2'))
  expect(read({ ...delivered, at: new Date('nonsense') })?.at).toBeUndefined()
  expect(read(delivered)).toEqual(delivered)
})
