import type { LineType } from '../../core/protection/protection'
import type { ReceiptStatus } from '../../core/delivery/receipt'
import { type CodeMeaning, codeTable, forGood, meanings } from '../error-codes'

const {
  badNumber,
  optedOut,
  absent,
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
} = meanings

/** The message's own validity was over: another provider may have time. */
const tooLate: CodeMeaning = { about: 'message', fault: 'unroutable', receipt: 'expired' }
/** The carrier gives no reason: another try may do. */
const noReason: CodeMeaning = {
  about: 'unknown',
  fault: 'unavailable',
  receipt: 'failed.retryable',
}

/**
 * Error codes: Twilio's error and warning dictionary (docs/errors/{code}) and providers.md section 1, table "Codes"; 21212
 * from its test credentials. The subjects are our judgement. A setting of the account for one country (21408) or, on
 * trial, for one number (21608) is not the account's: whoever asks for a code there would have all of it taken for broken.
 */
export const twilioCodes = codeTable(
  // Not a valid number, not a mobile phone, a landline, no such handset, not on WhatsApp; the sender itself.
  [badNumber, 21211, 21214, 21217, 21266, 21614, 21635, 30005, 30006, 63003, 63024],
  [optedOut, 21610, 30004, 63014],
  [absent, 30003, 34002],
  // From this sender no way leads there; the account may not call it.
  [noWay, 21216, 21612],
  // WhatsApp's limits on what one user gets.
  [elsewhere, 63032, 63049],
  // Permissions by country, for messages and for calls; pumping protection; carriers that want a registered sender.
  [forGood(destination), 13227, 21215, 21408, 30024, 30040, 30041, 30450, 32205, 60601, 60605],
  // The sender does not go with this destination, such as a short code of another country, or is not the account's.
  [destination, 21606],
  // Trial accounts, for messages and for calls, and the WhatsApp sandbox.
  [forGood(allowList), 21219, 21608, 63015],
  // Filtered, without a body, too long.
  [forGood(message), 21602, 21617, 30007, 30038],
  [tooLate, 30036],
  [credentials, 20003, 20006, 20008, 20403],
  // Account: closed, suspended, not found.
  [setup, 10001, 20005, 20404, 30002, 30037],
  // Senders: not the account's, not verified, not able, without caller id.
  [setup, 21210, 21212, 21213, 21601, 21603, 21607],
  // Senders that are not registered: toll-free, 10DLC, suspended campaigns.
  [setup, 30032, 30033, 30034],
  // Content: its id, its variables, its parameters.
  [setup, 21654, 21655, 21656],
  // Messaging services: not found, without a sender, not named.
  [setup, 21701, 21703, 21704, 21705],
  // WhatsApp: no such sender, an account that is disabled or restricted, no template, or one that is not approved.
  [setup, 63007, 63016, 63020, 63023, 63027, 63028, 63040, 63041, 63042, 63112],
  [money, 30022, 30023, 30027, 60728, 63017, 63038],
  [throttled, 14107, 20429, 21611, 30001, 63018],
  [noReason, 30008],
  [outage, 20500, 20503, 30410, 30500],
)

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
