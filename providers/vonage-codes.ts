import type { Fault } from '../core/fault'
import type { ReceiptStatus } from '../core/receipt'

/**
 * Messages v1: what its status webhook says (providers.md section 2, words [S vg-java MessageStatus]); `rejected` is told
 * apart by its error's code.
 */
export const messageStatusOf: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['submitted', 'sent'],
  ['delivered', 'delivered'],
  ['read', 'delivered'],
  // Vonage could not reach the messaging service.
  ['undeliverable', 'failed.retryable'],
])

interface Meaning {
  /** In a report. */
  status: ReceiptStatus
  /** In the answer to a send. */
  fault: Fault
}

const passing: Meaning = { status: 'failed.retryable', fault: 'unavailable' }
const number: Meaning = { status: 'failed.permanent', fault: 'invalid_number' }
const optedOut: Meaning = { status: 'failed.permanent', fault: 'blocked' }
const elsewhere: Meaning = { status: 'failed.retryable', fault: 'unroutable' }
const account: Meaning = { status: 'failed.config', fault: 'config' }

/** Codes of Messages v1 (providers.md section 2 [S nx-spec messages-olympus]); the classes are our judgement. */
export const codeMeanings: ReadonlyMap<string, Meaning> = new Map([
  ['1100', passing], // The messaging service could not be spoken to.
  ['1180', passing], // Absent for the moment.
  ['1220', passing], // The handset is busy.
  ['1230', passing], // The network.
  ['1331', passing], // The messaging service.
  ['1241', elsewhere], // Too many to one number: others have nothing to do with it.
  ['1170', number], // No such number.
  ['1190', number], // Absent for good.
  ['1260', number],
  ['1280', number],
  ['1300', number], // No user of the service.
  ['1310', number], // A device that cannot show it.
  ['1240', optedOut],
  ['1210', elsewhere], // Anti-spam.
  ['1250', elsewhere], // No route.
  ['1270', elsewhere],
  ['1120', account], // The sender is refused.
  ['1140', account],
  ['1160', account], // A trial account, and the number is not on its list.
  ['1340', account], // WhatsApp: outside the window for free text.
  // The operator's receipts "unknown" and "expired" come so [D sms-status-callbacks]: neither is a refusal.
  ['1330', { status: 'unknown', fault: 'unavailable' }],
  ['1360', { status: 'expired', fault: 'unavailable' }],
])

/** What a rejected message means; a code that nobody wrote down never blames the number. */
export const rejectionOf = (code: string | undefined): ReceiptStatus =>
  (code === undefined ? undefined : codeMeanings.get(code)?.status) ?? 'failed.retryable'

/** Voice: words of its event webhook (providers.md section 2 [S CallStatus.java]). */
export const callStatusOf: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['started', 'accepted'],
  ['ringing', 'sent'],
  ['answered', 'answered'],
  ['human', 'answered'],
  ['machine', 'failed.retryable'],
  ['busy', 'failed.retryable'],
  ['unanswered', 'failed.retryable'],
  ['timeout', 'failed.retryable'],
  ['cancelled', 'failed.retryable'],
  // Told apart by their detail.
  ['rejected', 'failed.retryable'],
  ['failed', 'failed.retryable'],
  // The end of a call: what it came to was said before.
  ['completed', 'unknown'],
  ['disconnected', 'unknown'],
])

/** Details of `rejected` and `failed` (providers.md section 2 [S CallStatusDetail.java]). */
export const callDetailStatusOf: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['invalid_number', 'failed.permanent'],
  ['number_out_of_service', 'failed.permanent'],
  ['cannot_route', 'failed.permanent'],
  ['declined', 'failed.permanent'],
  ['restricted', 'failed.permanent'],
  ['internal_error', 'failed.retryable'],
  ['carrier_timeout', 'failed.retryable'],
  ['unavailable', 'failed.retryable'],
])

/** Languages of its voices, by language and, where one has several, by locale (providers.md section 2; [S vg-node TTSLanguages]). */
const voices = [
  ...['en-US', 'en-GB', 'en-AU', 'en-IN', 'en-ZA', 'fr-FR', 'fr-CA', 'pt-PT', 'pt-BR', 'es-ES'],
  ...['es-MX', 'es-US', 'ar', 'de-DE', 'it-IT', 'nl-NL', 'hi-IN', 'tr-TR', 'id-ID', 'pl-PL'],
]

/** The voice that reads a BCP 47 locale: of the same place, else of the same language, else an English one. */
export function voiceOf(locale: string): string {
  const wanted = locale.replaceAll('_', '-').toLowerCase()
  const [tongue = wanted] = wanted.split('-')
  return (
    voices.find((voice) => voice.toLowerCase() === wanted) ??
    voices.find((voice) => voice.split('-')[0] === tongue) ??
    'en-US'
  )
}
