import type { ReceiptStatus } from '../../core/delivery/receipt'
import { codeTable, meanings } from '../error-codes'

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

/**
 * Codes of Messages v1 (providers.md section 2 [S nx-spec messages-olympus]) and the words that end the `type` of errors of
 * all of Vonage's APIs; the subjects are our judgement. 1150 is not here: it says that a parameter is wrong, and the answer
 * says which.
 */
export const codeMeanings = codeTable(
  // No such number, absent for good, unreachable, blocked by the carrier, no user of the service, the wrong device.
  [badNumber, 1170, 1190, 1260, 1280, 1300, 1310],
  [optedOut, 1050, 1240],
  // Absent for the moment; the handset is busy.
  [absent, 1180, 1220],
  // Too many to one number; anti-spam; no route; the subscriber's age; no prepaid funds of the subscriber.
  [elsewhere, 1200, 1210, 1241, 1250, 1270],
  [noWay, 1290],
  // Fraud Defender keeps the account from writing to this prefix; local regulations do not let this sender write there.
  [destination, 1470, 1120],
  // The network there.
  [{ about: 'destination', fault: 'unavailable', receipt: 'failed.retryable' }, 1230],
  // A trial account, and the number is not on its list.
  [allowList, 1160],
  [message, 1040, 1090],
  [credentials, 1110, 'unauthorized', 'forbidden', 'invalid-signature', 'jwt-expired'],
  // The account barred, not set up for this; WhatsApp: outside the window for free text.
  [setup, 1060, 1080, 1140, 1340, 1420, 'unprovisioned', 'account-suspended'],
  [money, 1070, 1460, 'low-balance'],
  [throttled, 1000, 'throttled'],
  // Inside of Vonage; the messaging service, which could not be spoken to or failed.
  [outage, 1030, 1100, 1331],
  // The operator's receipts "unknown" and "expired" come so [D sms-status-callbacks]: neither is a refusal.
  [{ about: 'unknown', fault: 'unavailable', receipt: 'unknown' }, 1330],
  [{ about: 'message', fault: 'unavailable', receipt: 'expired' }, 1360],
)

/** The code in an error's title or at the end of its type: four digits from 1000, or the word behind the `#`. */
export function codeIn({ title, type }: { title: string; type: string }): string | undefined {
  const [, digits] = /(?<!\d)(1\d{3})(?!\d)/.exec(`${title} ${type}`) ?? []
  const [, word] = /#([a-z]+(?:-[a-z]+){0,4})$/.exec(type) ?? []
  return digits ?? word
}

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
