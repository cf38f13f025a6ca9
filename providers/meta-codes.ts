import type { Fault } from '../core/fault'
import type { ReceiptStatus } from '../core/receipt'

/** Words of `statuses[].status` (providers.md section 3 [S, D]); `failed` is told apart by its error's code. */
export const statusOf: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['accepted', 'accepted'],
  ['sent', 'sent'],
  ['delivered', 'delivered'],
  // Meta may leave `delivered` out when the message is read at once [D].
  ['read', 'delivered'],
  ['played', 'delivered'],
])

interface Meaning {
  /** In a report. */
  status: ReceiptStatus
  /** In the answer to a send. */
  fault: Fault
  /** Not to be sent again to the same user sooner; to others it may. */
  waitMs?: number
}

const passing: Meaning = { status: 'failed.retryable', fault: 'unavailable' }
const throttled: Meaning = { status: 'failed.retryable', fault: 'throttled' }
const number: Meaning = { status: 'failed.permanent', fault: 'invalid_number' }
const optedOut: Meaning = { status: 'failed.permanent', fault: 'blocked' }
const elsewhere: Meaning = { status: 'failed.retryable', fault: 'unroutable' }
const account: Meaning = { status: 'failed.config', fault: 'config' }

/**
 * Codes of the Graph and Cloud APIs, in answers and in reports (providers.md section 3: [D] and [3P] lists; 131021,
 * 131045, 132005, 132007, 132012, 132015 and 132016 from general lists [U]). Meta says to build on codes, not titles.
 */
export const codeMeanings: ReadonlyMap<number, Meaning> = new Map([
  [131026, number], // Not on WhatsApp, an old client, or its terms were not accepted.
  [131021, number], // Sender and recipient are the same.
  [131050, optedOut],
  // One message in 6 s to the same user: what the resend of a code runs into.
  [131056, { ...throttled, waitMs: 6_000 }],
  [130429, throttled], // Throughput of the number.
  [80007, throttled], // Of the account.
  [4, throttled], // Of the app.
  [1, passing], // The platform.
  [2, passing],
  [131000, passing], // Unknown to Meta too.
  [131016, passing],
  [131049, elsewhere], // Meta's cap on what one user gets: it waits for about a day.
  [0, account], // The token, or what it may do; 200 to 299 too.
  [10, account],
  [190, account],
  [100, account], // A parameter.
  [131008, account],
  [131009, account],
  [131030, account], // A test number, and the recipient is not on its list.
  [131031, account], // Locked.
  [368, account],
  [131042, account], // Payment.
  [131045, account], // The number is not registered.
  [133010, account],
  [131047, account], // Free text outside the window, where only a template may go.
  [131048, account], // The number was marked as spam.
  [132000, account], // The template: its parameters, its name, its text, its format, paused, disabled.
  [132001, account],
  [132005, account],
  [132007, account],
  [132012, account],
  [132015, account],
  [132016, account],
])

/** Undefined for a code that nobody wrote down. */
export const meaningOf = (code: number): Meaning | undefined =>
  codeMeanings.get(code) ?? (code >= 200 && code < 300 ? account : undefined)

/** What a failed message means; an unknown code never blames the number. */
export const failureOf = (code: number | undefined): ReceiptStatus =>
  (code === undefined ? undefined : meaningOf(code)?.status) ?? 'failed.retryable'
