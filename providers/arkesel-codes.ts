import type { Fault } from '../core/fault'
import type { ReceiptStatus } from '../core/receipt'

/** States of a message: providers.md section 4 [3P]; anything else is unknown. */
const receiptOfStatus: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['QUEUED', 'accepted'],
  ['SUBMITTED', 'sent'],
  ['DELIVERED', 'delivered'],
  ['NOT_DELIVERED', 'failed.retryable'],
  ['PROHIBITED', 'failed.permanent'],
  ['EXPIRED', 'expired'],
])

/** The account's word for a state, in the one form of the table above. */
export const statusWord = (status: string): string =>
  status.trim().toUpperCase().replaceAll(/[ -]/g, '_')

export const receiptOf = (word: string): ReceiptStatus => receiptOfStatus.get(word) ?? 'unknown'

/** What the OTP API answers to `generate` when it made a code: providers.md section 4 [S]. */
export const generated = '1000'

/**
 * Its refusals: providers.md section 4 [S, 3P]. A country that is not served says nothing about the account, or whoever
 * asks for codes there would have it taken for broken.
 */
export const faultOfGenerate: ReadonlyMap<string, Fault> = new Map([
  ['1001', 'config'],
  ['1002', 'config'],
  ['1003', 'config'],
  ['1004', 'config'],
  ['1005', 'invalid_number'],
  ['1006', 'unroutable'],
  ['1007', 'config'],
  ['1008', 'config'],
  ['1009', 'config'],
  ['1011', 'unavailable'],
])

/** What `verify` says of a code: providers.md section 4 [S]. Any other answer is none. */
export const verdictOfVerify: ReadonlyMap<string, boolean> = new Map([
  ['1100', true],
  ['1104', false],
  ['1105', false],
])
