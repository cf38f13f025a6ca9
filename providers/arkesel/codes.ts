import type { ReceiptStatus } from '../../core/delivery/receipt'
import { type CodeTable, codeTable, meanings } from '../error-codes'

const { badNumber, destination, setup, money, outage } = meanings

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
export const arkeselCodes: CodeTable = codeTable(
  [badNumber, 1005],
  [destination, 1006],
  // A field, the place of the code, the sender, the gateway; the text of a call, which is ours, is too long.
  [setup, 1001, 1002, 1003, 1004, 1009],
  [money, 1007, 1008],
  [outage, 1011],
)

/** What `verify` says of a code: providers.md section 4 [S]. Any other answer is none. */
export const verdictOfVerify: ReadonlyMap<string, boolean> = new Map([
  ['1100', true],
  ['1104', false],
  ['1105', false],
])
