import type { Fault } from '../core/fault'
import type { ReceiptStatus } from '../core/receipt'

/** Codes of a recipient that mean accepted: providers.md section 5 [3P]. */
export const acceptedCodes: ReadonlySet<number> = new Set([100, 101, 102])

interface Refusal {
  code: number
  /** Says the same, for the recipient or in place of all recipients. */
  word: string
  fault: Fault
}

/** The others: providers.md section 5 [3P]. */
const refusals: readonly Refusal[] = [
  { code: 401, word: 'RiskHold', fault: 'unroutable' },
  { code: 402, word: 'InvalidSenderId', fault: 'config' },
  { code: 403, word: 'InvalidPhoneNumber', fault: 'invalid_number' },
  { code: 404, word: 'UnsupportedNumberType', fault: 'invalid_number' },
  { code: 405, word: 'InsufficientBalance', fault: 'config' },
  { code: 406, word: 'UserInBlacklist', fault: 'blocked' },
  { code: 407, word: 'CouldNotRoute', fault: 'unroutable' },
  { code: 409, word: 'DoNotDisturbRejection', fault: 'blocked' },
  { code: 500, word: 'InternalServerError', fault: 'unavailable' },
  { code: 501, word: 'GatewayError', fault: 'unavailable' },
  { code: 502, word: 'RejectedByGateway', fault: 'unavailable' },
]

/** Undefined for a code or word that is not in the table. */
export const faultOfRecipient = ({ code, word }: Partial<Refusal>): Fault | undefined =>
  refusals.find((refusal) => refusal.code === code || refusal.word === word)?.fault

/** States of a call that is being placed: the SDK's words [S], the refusals [U]. */
export const callQueued = 'Queued'
export const faultOfCall: ReadonlyMap<string, Fault> = new Map([
  ['InvalidPhoneNumber', 'invalid_number'],
  ['DestinationNotSupported', 'unroutable'],
  ['InsufficientCredit', 'config'],
])

/** Delivery reports: providers.md section 5 [at-goa, 3P]. `by reason`: a failure, of the kind that its reason says. */
const meaningOfStatus: ReadonlyMap<string, ReceiptStatus | 'by reason'> = new Map([
  ['Sent', 'sent'],
  ['Submitted', 'sent'],
  ['Buffered', 'sent'],
  ['Success', 'delivered'],
  ['Rejected', 'by reason'],
  ['Failed', 'by reason'],
  ['Expired', 'expired'],
])

/** Reasons of failures: providers.md section 5 [at-goa, 3P]. */
const receiptOfReason: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['UserInBlackList', 'failed.permanent'],
  ['UserDoesNotExist', 'failed.permanent'],
  ['UserIsInactive', 'failed.permanent'],
  ['UserAccountSuspended', 'failed.permanent'],
  ['NotNetworkSubscriber', 'failed.permanent'],
  ['AbsentSubscriber', 'failed.retryable'],
  ['UserMemoryCapacityExceeded', 'failed.retryable'],
  ['DeliveryFailure', 'failed.retryable'],
  ['InsufficientCredit', 'failed.config'],
  ['InvalidLinkId', 'failed.config'],
  ['UserNotSubscribedToProduct', 'failed.config'],
])

/** An unknown reason says nothing about the number: another try, account or channel may do. */
export function receiptOfReport(status: string, reason: string | undefined): ReceiptStatus {
  const meaning = meaningOfStatus.get(status) ?? 'unknown'
  if (meaning !== 'by reason') return meaning
  return (reason !== undefined && receiptOfReason.get(reason)) || 'failed.retryable'
}

/** Why a call ended: providers.md section 5 [at-goa]; anything else is unknown. */
export const receiptOfHangup: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['NORMAL_CLEARING', 'answered'],
  ['USER_BUSY', 'failed.retryable'],
  ['NO_ANSWER', 'failed.retryable'],
  ['NO_USER_RESPONSE', 'failed.retryable'],
  ['SUBSCRIBER_ABSENT', 'failed.retryable'],
  ['NORMAL_TEMPORARY_FAILURE', 'failed.retryable'],
  ['RECOVERY_ON_TIMER_EXPIRE', 'failed.retryable'],
  ['SERVICE_UNAVAILABLE', 'failed.retryable'],
  ['CALL_REJECTED', 'failed.permanent'],
  ['UNALLOCATED_NUMBER', 'failed.permanent'],
  ['UNSPECIFIED', 'unknown'],
])
