import type { Fault } from '../core/fault'
import type { ReceiptStatus } from '../core/receipt'

/** What one status of Infobip's means: in a report, and as the answer to a send. */
interface Meaning {
  receipt: ReceiptStatus
  /** Undefined: the message is taken. */
  fault?: Fault
}

const accepted: Meaning = { receipt: 'accepted' }
const sent: Meaning = { receipt: 'sent' }
const again = (fault: Fault): Meaning => ({ receipt: 'failed.retryable', fault })
const never = (fault: Fault): Meaning => ({ receipt: 'failed.permanent', fault })
const ours: Meaning = { receipt: 'failed.config', fault: 'config' }
/**
 * A setting of the account, but one for this number's country, text or language. The table calls it the account's; here
 * it is not, in reports neither, or whoever asks for a code in a country or language that the account does not serve
 * would have all of it taken for broken.
 */
const notHere = never('unroutable')

/**
 * Status names of the general and the voice family, "Response status and error codes" of Infobip's documentation. By
 * name, since a number such as 87 means one thing for a text and another for a call. What follows from each is our
 * judgement; undeliverable messages are judged by their error as well, see {@link meaningOf}.
 */
const meaningOfName: ReadonlyMap<string, Meaning> = new Map([
  ['PENDING_WAITING_DELIVERY', sent], // 3
  ['PENDING_ENROUTE', sent], // 7
  ['PENDING_ACCEPTED', accepted], // 26
  ['DELIVERED_TO_OPERATOR', sent], // 2
  ['DELIVERED_TO_HANDSET', { receipt: 'delivered' }], // 5
  ['EXPIRED_EXPIRED', { receipt: 'expired', fault: 'unavailable' }], // 15
  ['EXPIRED_DLR_UNKNOWN', { receipt: 'unknown' }], // 29
  ['SIGNALS_BLOCKED', never('blocked')], // 87
  ['NO_ANSWER', again('unroutable')], // 96
  ['BUSY', again('unroutable')], // 97
  ['CANCELLED', never('unroutable')], // 98
  ['REJECTED', never('unroutable')], // 99: the user declined the call
  ['UNDELIVERABLE_REJECTED_PLATFORM', again('unavailable')], // 100
  ['REJECTED_NETWORK', never('unroutable')], // 6: out of coverage, or not set up for the account
  ['REJECTED_PREFIX_MISSING', never('invalid_number')], // 8
  ['REJECTED_DND', never('blocked')], // 10
  ['REJECTED_SOURCE', ours], // 11
  ['REJECTED_NOT_ENOUGH_CREDITS', ours], // 12
  ['REJECTED_SENDER', ours], // 13
  ['REJECTED_DESTINATION_BLOCKLISTED', never('blocked')], // 14
  ['REJECTED_PREPAID_PACKAGE_EXPIRED', ours], // 17
  ['REJECTED_DESTINATION_NOT_REGISTERED', ours], // 18: a trial reaches registered numbers only
  ['REJECTED_ROUTE_NOT_AVAILABLE', notHere], // 19: other numbers of the account still work
  // Too many to one number: others have nothing to do with it.
  ['REJECTED_FLOODING_FILTER', again('unroutable')], // 20
  ['REJECTED_SYSTEM_ERROR', again('unavailable')], // 21
  // A repetition under our own id: the first one was taken. That it is refused is documented, how long, is not.
  ['REJECTED_DUPLICATE_MESSAGE_ID', accepted], // 23
  ['REJECTED_INVALID_UDH', ours], // 24
  ['REJECTED_MESSAGE_TOO_LONG', notHere], // 25: the template's fault
  ['MISSING_TO', never('invalid_number')], // 51
  ['REJECTED_DESTINATION', never('invalid_number')], // 52
  ['REJECTED_UNSUPPORTED_LANGUAGE', notHere], // 54
  ['REJECTED_INVALID_NOTIFY_URL', ours], // 56
  ['REJECTED_MACHINE_DETECTION_DISABLED', ours], // 83
])

/** Groups: what a status says whose name is new. Never a permanent failure. */
const meaningOfGroup: ReadonlyMap<number, Meaning> = new Map([
  [0, accepted],
  [1, accepted],
  [2, again('unavailable')],
  [3, sent],
  [4, { receipt: 'expired', fault: 'unavailable' }],
  [5, again('unavailable')],
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
  const named = meaningOfName.get(name ?? '')
  if (named) return named
  const { isText, error } = about
  const isForGood = isText && error?.permanent === true && !passing.has(error.name ?? '')
  if (groupId === 2 && isForGood) return never('unroutable')
  return meaningOfGroup.get(groupId ?? -1)
}
