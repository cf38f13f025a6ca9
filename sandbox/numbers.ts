import type { Rule } from './scenario'

/** A number with a behaviour of its own, in the words of the scenario API. */
export interface ReservedNumber {
  number: string
  behaviour: string
  rules: Rule[]
}

const block = '+2335550000'
const silentSms: Rule = { on: { channel: 'sms' }, receipt: 'none' }

const behaviours: Record<string, [behaviour: string, ...rules: Rule[]]> = {
  '01': ['SMS is accepted but never delivered; every other channel works', silentSms],
  '02': ['Every channel accepts, none delivers', { receipt: 'none' }],
  '03': ['Refused: INVALID_NUMBER', { accept: { error_code: 'INVALID_NUMBER' } }],
  '04': ['Refused: BLOCKED', { accept: { error_code: 'BLOCKED' } }],
  '05': ['500 twice for each request, then accepted', { accept: { status: 500, times: 2 } }],
  '06': ['Never answers', { accept: { hang: true } }],
  '07': ['Takes the message, then drops the connection', { accept: { drop: true } }],
  '08': ['The receipt comes before the answer to the send', { receipts_first: true }],
  '09': [
    'Receipts come twice and out of order',
    {
      on: { channel: 'voice' },
      receipts: [
        { status: 'answered', after_ms: 200 },
        { status: 'answered', after_ms: 250 },
        { status: 'ringing', after_ms: 300 },
      ],
    },
    { on: { channel: 'ussd' } },
    {
      receipts: [
        { status: 'delivered', after_ms: 200 },
        { status: 'delivered', after_ms: 250 },
        { status: 'sent', after_ms: 300 },
      ],
    },
  ],
  '10': [
    'The SMS receipt comes after 45 s; other channels work',
    { on: { channel: 'sms' }, receipt_after_ms: 45_000 },
  ],
  '11': [
    'The SMS fails after it was accepted; other channels work',
    { on: { channel: 'sms' }, receipt: 'failed' },
  ],
  '12': ['Every channel accepts, then fails', { receipt: 'failed' }],
  '13': [
    'SMS silent; the call is declined after 1 s; other channels work',
    silentSms,
    {
      on: { channel: 'voice' },
      receipts: [
        { status: 'ringing', after_ms: 50 },
        { status: 'declined', after_ms: 1_000 },
      ],
    },
  ],
  '14': ['Accepts after 3 s', { latency_ms: 3_000 }],
  '15': [
    '429 with Retry-After: 1 twice for each request, then accepted',
    { accept: { status: 429, retry_after_seconds: 1, times: 2 } },
  ],
  '16': ['500 always', { accept: { status: 500 } }],
  '17': [
    'SMS silent; the call rings and nobody answers; other channels work',
    silentSms,
    { on: { channel: 'voice' }, receipts: [{ status: 'ringing', after_ms: 50 }] },
  ],
  '18': [
    'Reported as sent, never as delivered (a route without delivery receipts)',
    { on: { channel: 'voice' } },
    { on: { channel: 'ussd' } },
    { receipt: 'sent' },
  ],
  '19': [
    'sandbox-a answers 503, every other provider works',
    { on: { provider: 'sandbox-a' }, accept: { status: 503 } },
  ],
  '20': [
    'The SMS expires in the network after 1 s; other channels work',
    { on: { channel: 'sms' }, receipt: 'expired', receipt_after_ms: 1_000 },
  ],
}

/** The reserved block. Every other number delivers after 200 ms. */
export const reservedNumbers: ReservedNumber[] = Object.entries(behaviours)
  .toSorted(([a], [b]) => a.localeCompare(b))
  .map(([suffix, [behaviour, ...rules]]) => ({ number: block + suffix, behaviour, rules }))
