import type { ReceiptStatus } from '../../core/delivery/receipt'
import { type CodeMeaning, codeTable, forGood, meanings } from '../error-codes'

/** What one status of Infobip's means: in a report, and as the answer to a send. */
interface Meaning {
  receipt: ReceiptStatus
  /** Undefined: the message is taken. */
  refused?: CodeMeaning
}

const {
  badNumber,
  optedOut,
  noWay,
  elsewhere,
  destination,
  allowList,
  message,
  credentials,
  setup,
  money,
  throttled,
  outage,
  unknown,
} = meanings

/** The message's own validity was over. */
const tooLate: CodeMeaning = { about: 'message', fault: 'unavailable', receipt: 'expired' }

/** Statuses that are no failure: "Response status and error codes" of Infobip's documentation. */
const taken: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['PENDING_WAITING_DELIVERY', 'sent'], // 3
  ['PENDING_ENROUTE', 'sent'], // 7
  ['PENDING_ACCEPTED', 'accepted'], // 26
  ['DELIVERED_TO_OPERATOR', 'sent'], // 2
  ['DELIVERED_TO_HANDSET', 'delivered'], // 5
  ['EXPIRED_DLR_UNKNOWN', 'unknown'], // 29
  // A repetition under our own id: the first one was taken. That it is refused is documented, how long, is not.
  ['REJECTED_DUPLICATE_MESSAGE_ID', 'accepted'], // 23
])

/**
 * Failures by status name, general and voice, and the words and numbers of errors of its API, from the same page. By name,
 * since a number such as 87 means one thing for a text and another for a call. What each is about is our judgement;
 * undeliverable messages are judged by their error as well, see {@link meaningOf}. A setting of the account for one
 * number's country, text or language is not the account's, in reports neither: whoever asks for a code in a country that the
 * account does not serve would have all of it taken for broken.
 */
export const infobipCodes = codeTable(
  // 8, 51 and 52.
  [badNumber, 'REJECTED_PREFIX_MISSING', 'MISSING_TO', 'REJECTED_DESTINATION'],
  // 10, 14 and 87.
  [optedOut, 'REJECTED_DND', 'REJECTED_DESTINATION_BLOCKLISTED', 'SIGNALS_BLOCKED'],
  // 98, and 99: the user declined the call.
  [noWay, 'CANCELLED', 'REJECTED'],
  // 96, 97, and 20: too many to one number, which others have nothing to do with.
  [elsewhere, 'NO_ANSWER', 'BUSY', 'REJECTED_FLOODING_FILTER'],
  // 6: out of coverage, or not set up for the account; 19: other numbers of the account still work.
  [forGood(destination), 'REJECTED_NETWORK', 'REJECTED_ROUTE_NOT_AVAILABLE'],
  // 18: a trial reaches registered numbers only.
  [forGood(allowList), 'REJECTED_DESTINATION_NOT_REGISTERED'],
  // 25 and 54.
  [forGood(message), 'REJECTED_MESSAGE_TOO_LONG', 'REJECTED_UNSUPPORTED_LANGUAGE'],
  // 15.
  [tooLate, 'EXPIRED_EXPIRED'],
  [credentials, 'UNAUTHORIZED', 'FORBIDDEN', 'E401', 'E403'],
  // 11, 13, 24, 56, 83; an address that is none.
  [setup, 'REJECTED_SOURCE', 'REJECTED_SENDER', 'REJECTED_INVALID_UDH', 'NOT_FOUND', 'E404'],
  [setup, 'REJECTED_INVALID_NOTIFY_URL', 'REJECTED_MACHINE_DETECTION_DISABLED'],
  // 12 and 17.
  [money, 'REJECTED_NOT_ENOUGH_CREDITS', 'REJECTED_PREPAID_PACKAGE_EXPIRED'],
  [throttled, 'TOO_MANY_REQUESTS', 'E429'],
  // 21 and 100.
  [outage, 'REJECTED_SYSTEM_ERROR', 'UNDELIVERABLE_REJECTED_PLATFORM', 'GENERAL_ERROR', 'E500'],
)

/** A request that is wrong, with the members that are: those decide. */
export const badRequest: ReadonlySet<string> = new Set(['BAD_REQUEST', 'E400'])

const accepted: Meaning = { receipt: 'accepted' }
const refused = (meaning: CodeMeaning): Meaning => ({ receipt: meaning.receipt, refused: meaning })

/** Groups: what a status says whose name is new. Never a permanent failure, and never the account's. */
const meaningOfGroup: ReadonlyMap<number, Meaning> = new Map([
  [0, accepted],
  [1, accepted],
  [2, refused(unknown)],
  [3, { receipt: 'sent' }],
  [4, refused(tooLate)],
  [5, refused(unknown)],
])

/** Flagged as permanent, and by their own description not so. */
const passing = new Set(['EC_TEMPORARY_HANDSET_FAILURE'])

export interface InfobipStatus {
  groupId?: number | undefined
  name?: string | undefined
}

/** What Infobip says of a message beside its status. */
export interface InfobipError {
  name?: string | undefined
  permanent?: boolean | undefined
}

/**
 * Translates a status. `error.permanent` counts for texts only: of calls, even "busy" is flagged as permanent.
 * @returns undefined for a status of which neither name nor group is known
 */
export function meaningOf(
  { groupId, name }: InfobipStatus,
  about: { isText: boolean; error?: InfobipError | undefined } = { isText: false },
): Meaning | undefined {
  const receipt = taken.get(name ?? '')
  if (receipt) return { receipt }
  const code = infobipCodes.get(name ?? '')
  if (code) return refused(code)
  const { isText, error } = about
  const isForGood = isText && error?.permanent === true && !passing.has(error.name ?? '')
  if (groupId === 2 && isForGood) return refused(noWay)
  return meaningOfGroup.get(groupId ?? -1)
}
