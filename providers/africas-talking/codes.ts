import type { ReceiptStatus } from '../../core/delivery/receipt'
import {
  type CodeMeaning,
  type CodeTable,
  codeTable,
  meanings,
  receiptOfCode,
} from '../error-codes'

/** Codes of a recipient that mean accepted: providers.md section 5 [3P]. */
export const acceptedCodes: ReadonlySet<number> = new Set([100, 101, 102])

const { badNumber, optedOut, noWay, elsewhere, destination, setup, money, outage } = meanings

interface Refusal {
  code: number
  /** Says the same, for the recipient or in place of all recipients. */
  word: string
  meaning: CodeMeaning
}

/** The others: providers.md section 5 [3P]. */
const refusals: readonly Refusal[] = [
  { code: 401, word: 'RiskHold', meaning: elsewhere },
  { code: 402, word: 'InvalidSenderId', meaning: setup },
  { code: 403, word: 'InvalidPhoneNumber', meaning: badNumber },
  { code: 404, word: 'UnsupportedNumberType', meaning: badNumber },
  { code: 405, word: 'InsufficientBalance', meaning: money },
  { code: 406, word: 'UserInBlacklist', meaning: optedOut },
  { code: 407, word: 'CouldNotRoute', meaning: destination },
  { code: 409, word: 'DoNotDisturbRejection', meaning: optedOut },
  { code: 500, word: 'InternalServerError', meaning: outage },
  { code: 501, word: 'GatewayError', meaning: outage },
  { code: 502, word: 'RejectedByGateway', meaning: outage },
]

/** Undefined for a code or word that is not in the table. */
export const refusalOf = ({ code, word }: Partial<Refusal>): Refusal | undefined =>
  refusals.find((refusal) => refusal.code === code || refusal.word === word)

/** States of a call that is being placed: the SDK's words [S], the refusals [U]. */
export const callQueued = 'Queued'
export const callCodes: CodeTable = codeTable(
  [badNumber, 'InvalidPhoneNumber'],
  [destination, 'DestinationNotSupported'],
  [money, 'InsufficientCredit'],
)

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

/** Reasons of failed messages: providers.md section 5 [at-goa, 3P]. What is charged to the user is not the account's. */
const reasonCodes: CodeTable = codeTable(
  [noWay, 'UserInBlackList', 'UserDoesNotExist', 'UserIsInactive', 'UserAccountSuspended'],
  [noWay, 'NotNetworkSubscriber', 'InsufficientCredit', 'UserNotSubscribedToProduct'],
  [elsewhere, 'AbsentSubscriber', 'UserMemoryCapacityExceeded', 'DeliveryFailure'],
  [setup, 'InvalidLinkId'],
)

/** All of them: a call's refusals under a name of their own, since its words mean other things than a message's. */
export const africasTalkingCodes: CodeTable = new Map([
  ...refusals.flatMap(({ code, word, meaning }): [string, CodeMeaning][] => [
    [String(code), meaning],
    [word, meaning],
  ]),
  ...reasonCodes,
  ...[...callCodes].map(([code, meaning]): [string, CodeMeaning] => [`call.${code}`, meaning]),
])

/** An unknown reason says nothing about the number: another try, account or channel may do. */
export function receiptOfReport(status: string, reason: string | undefined): ReceiptStatus {
  const meaning = meaningOfStatus.get(status) ?? 'unknown'
  return meaning === 'by reason' ? receiptOfCode(reasonCodes, reason) : meaning
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
