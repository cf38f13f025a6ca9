import type { ReceiptStatus } from '../../core/delivery/receipt'
import { type CodeMeaning, codeTable, meanings } from '../error-codes'

/** Words of `statuses[].status` (providers.md section 3 [S, D]); `failed` is told apart by its error's code. */
export const statusOf: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['accepted', 'accepted'],
  ['sent', 'sent'],
  ['delivered', 'delivered'],
  // Meta may leave `delivered` out when the message is read at once [D].
  ['read', 'delivered'],
  ['played', 'delivered'],
])

const {
  badNumber,
  optedOut,
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

/** One message in 6 s to the same user: what the resend of a code runs into. */
const pairLimit: CodeMeaning = { ...throttled, about: 'number', waitMs: 6_000 }

/**
 * Codes of the Graph and Cloud APIs, in answers and in reports: Meta's list of error codes, as providers.md section 3 has
 * it and others copy it ([D] and [3P] lists; 131021, 131045, 132005, 132007, 132012, 132015 and 132016 from general lists
 * [U]). Meta says to build on codes, not titles.
 */
export const codeMeanings = codeTable(
  // Not on WhatsApp, an old client, or its terms were not accepted; sender and recipient are the same.
  [badNumber, 131026, 131021],
  [optedOut, 131050],
  [pairLimit, 131056],
  // Meta's cap on what one user gets waits for about a day; an experiment of Meta's that the user is in.
  [elsewhere, 131049, 130472],
  // The account may not write to users in this country.
  [destination, 130497],
  // A test number, and the recipient is not on its list.
  [allowList, 131030],
  [message, 131051, 131052, 131053],
  // The token, or what it may do; 200 to 299 too.
  [credentials, 0, 3, 10, 190, 131005],
  // The number's id is of none, or was deleted; a parameter is missing; the account is locked.
  [setup, 33, 131008, 131031, 368],
  // A parameter is wrong, and it may be the recipient: Meta refuses the sender's own number so, which anybody can ask for.
  [unknown, 100, 131009],
  // The number has no approved name, is not registered, or its PIN is wrong or was tried too often.
  [setup, 131037, 131045, 133005, 133006, 133008, 133009, 133010, 133015],
  // Free text outside the window, where only a template may go; the number was marked as spam.
  [setup, 131047, 131048],
  // The template: its parameters, its name, its text, its format, paused, disabled.
  [setup, 132000, 132001, 132005, 132007, 132012, 132015, 132016],
  [money, 131042],
  // Of the number, the account, the app, and of registering.
  [throttled, 130429, 80007, 4, 133016],
  // The platform; unknown to Meta too; being looked after.
  [outage, 1, 2, 131000, 131016, 131057, 133004],
)

/** Undefined for a code that nobody wrote down. */
export const meaningOf = (code: number): CodeMeaning | undefined =>
  codeMeanings.get(String(code)) ?? (code >= 200 && code < 300 ? credentials : undefined)

/** What a failed message means; an unknown code never blames the number. */
export const failureOf = (code: number | undefined): ReceiptStatus =>
  (code === undefined ? undefined : meaningOf(code)?.receipt) ?? 'failed.retryable'
