import type { LineType } from '../core/abuse/protection'
import type { Fault } from '../core/fault'
import type { ReceiptStatus } from '../core/receipt'
import { type Answer, faultOfStatus } from './http'

/** What an error code means, said at the send and said in a report. */
interface Meaning {
  fault: Fault
  receipt: ReceiptStatus
}

const number: Meaning = { fault: 'invalid_number', receipt: 'failed.permanent' }
const blocked: Meaning = { fault: 'blocked', receipt: 'failed.permanent' }
/** Of this sender and text to this number; another account or channel may have a way. */
const noWay: Meaning = { fault: 'unroutable', receipt: 'failed.permanent' }
const busy: Meaning = { fault: 'throttled', receipt: 'failed.retryable' }
const passing: Meaning = { fault: 'unavailable', receipt: 'failed.retryable' }
const account: Meaning = { fault: 'config', receipt: 'failed.config' }
/**
 * A setting of the account, but one for this number's country or, on trial, for this number. The table calls it the
 * account's; here it is not, or whoever asks for a code in a country that the account does not serve would have all of
 * it taken for broken.
 */
const notHere = noWay

/** Error codes: providers.md section 1, table "Codes" (texts [D], classes our judgement); 21212 from its test credentials. */
const meaningOfCode: ReadonlyMap<number, Meaning> = new Map([
  [21211, number],
  [21214, number],
  [21217, number],
  [21614, number],
  [21635, number],
  [30005, number],
  [30006, number],
  [63003, number],
  [63024, number],

  [21610, blocked],
  [30004, blocked],
  [63014, blocked],

  [21612, noWay],
  [30007, noWay],

  [20429, busy],
  [21611, busy],
  [30001, busy],
  [63018, busy],

  [30003, passing],
  [30008, passing],
  [34002, passing],

  [30036, { fault: 'unroutable', receipt: 'expired' }],

  [20003, account],
  [21212, account],
  [21606, account],
  [30002, account],
  [60728, account],
  [63016, account],
  [63017, account],
  [63038, account],

  [21408, notHere],
  [21608, notHere],
  [60601, notHere],
])

/** `by code`: a failure, of the kind that its error code says. */
type StatusMeaning = ReceiptStatus | 'by code'

/** MessageStatus: the enum of the API's description and its map, providers.md section 1 [S]. */
export const meaningOfMessageStatus: ReadonlyMap<string, StatusMeaning> = new Map([
  ['accepted', 'accepted'],
  ['scheduled', 'accepted'],
  ['queued', 'accepted'],
  ['sending', 'accepted'],
  ['sent', 'sent'],
  ['partially_delivered', 'sent'],
  ['delivered', 'delivered'],
  ['read', 'delivered'],
  ['undelivered', 'by code'],
  ['failed', 'by code'],
  ['canceled', 'failed.permanent'],
])

/** CallStatus: as above. `completed` is told by its duration, and what AnsweredBy says comes before all of them. */
export const meaningOfCallStatus: ReadonlyMap<string, StatusMeaning> = new Map([
  ['queued', 'accepted'],
  ['initiated', 'accepted'],
  ['ringing', 'sent'],
  ['in-progress', 'answered'],
  ['answered', 'answered'],
  ['busy', 'failed.retryable'],
  ['no-answer', 'failed.retryable'],
  ['failed', 'by code'],
  ['canceled', 'failed.permanent'],
])

/** An unknown code says nothing about the number: another try, account or channel may do. */
export const receiptOfCode = (code: number | undefined): ReceiptStatus =>
  (code !== undefined && meaningOfCode.get(code)?.receipt) || 'failed.retryable'

/** What a refusal means. Of an unknown code with a status that blames the request, no more than "not by this way". */
export function faultOfRefusal(
  { status }: Pick<Answer, 'status'>,
  code: number | undefined,
): Fault {
  if (status >= 500) return faultOfStatus(status)
  const known = code === undefined ? undefined : meaningOfCode.get(code)
  if (known) return known.fault
  return status === 400 && code !== undefined ? 'unroutable' : faultOfStatus(status)
}

/** Types of lines, as Lookup v2 names them. */
export const lineTypeOf: ReadonlyMap<string, LineType> = new Map([
  ['mobile', 'mobile'],
  ['landline', 'fixed_line'],
  ['fixedVoip', 'voip'],
  ['nonFixedVoip', 'voip'],
  ['personal', 'personal_number'],
  ['tollFree', 'toll_free'],
  ['premium', 'premium_rate'],
  ['sharedCost', 'shared_cost'],
  ['uan', 'uan'],
  ['voicemail', 'voicemail'],
  ['pager', 'pager'],
])
