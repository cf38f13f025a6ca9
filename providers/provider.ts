import type { Channel } from '../core/channel'
import type { Fault } from '../core/fault'
import type { ReceiptStatus } from '../core/receipt'

/** One message to hand to a provider. Holds the code in clear: never logged, never stored. */
export interface Message {
  requestId: string
  /** Our reference of the attempt, for providers that echo one. */
  attemptId: string
  channel: Channel
  /** E.164 with `+`, or an e-mail address. */
  to: string
  code: string
  /** The finished text; for voice, already with the digits spaced. */
  text: string
  /** BCP 47, e.g. `en`. */
  locale: string
  brand: string
  /** Where this attempt's receipts go; holds its callback token. */
  callbackUrl: string
  /** Life left, in seconds, for providers that drop late messages themselves. */
  validForSeconds: number
  /** By `performance.now()`: not one byte may be written later, see {@link StaleClaim}. */
  notAfter: number
}

/** As the provider says it: what Postgres could not keep, the registry replaces. */
export interface Sent {
  /** The attempt's id when the provider gives none. */
  providerMessageId: string
  /** In the account's currency, when the provider says it at once. */
  cost?: Cost | undefined
}

export interface Cost {
  /** A decimal number with a point. */
  amount: string
  /** ISO 4217. */
  currency: string
}

/** Hands a message to the provider. */
export interface Sender {
  /**
   * Resolves when the provider accepted the message.
   * @throws {ProviderFault} otherwise; `in_doubt` whenever the request may have been processed.
   * @throws {StaleClaim} when the message's time to be sent was over before the first byte.
   */
  send(message: Message, signal: AbortSignal): Promise<Sent>
}

/** A provider's callback as it came in. */
export interface InboundCallback {
  headers: Record<string, string | string[] | undefined>
  /** The raw body: signatures are over bytes. */
  body: Buffer
  /** Our public URL of this callback, from configuration, never from Host. */
  url: string
}

export interface Receipt {
  status: ReceiptStatus
  /** The provider's own word, for the audit row; free of personal data. */
  rawStatus: string
  /** Makes duplicates recognisable: unique per provider account and event. */
  eventKey: string
  providerMessageId?: string | undefined
  /** When the provider says it happened. */
  at?: Date | undefined
  cost?: Cost | undefined
}

/** Authenticates and translates callbacks. */
export interface ReceiptReader {
  /**
   * @throws {ForgedCallback} when the signature does not hold.
   * @returns no receipt for a genuine callback that reports nothing of interest.
   */
  readReceipts(callback: InboundCallback): Receipt[]
}

/** A message that somebody sent to one of our numbers. */
export interface InboundMessage {
  /** E.164 with `+`. */
  from: string
  text: string
  /** When it was sent, as the provider signed it: the same each time that it reports the message. */
  at: Date
}

/** Reads replies to messages. */
export interface InboundReader {
  /**
   * @throws {ForgedCallback} when the callback is not the provider's.
   * @returns undefined for a genuine callback that is no message of a person.
   */
  readInbound(callback: InboundCallback): InboundMessage | undefined
}

/** What a dialled USSD session asks for. */
export interface UssdDial {
  sessionId: string
  /** E.164 with `+`. */
  phoneNumber: string
}

/** Speaks a provider's USSD session callback. */
export interface UssdMenu {
  /** @throws {ForgedCallback} when the callback is not the provider's: its answer holds a code. */
  readDial(callback: InboundCallback): UssdDial
  /** The answer in the provider's format; `undefined` code when nothing waits for this number. */
  showCode(screen: { text: string; code?: string }): { contentType: string; body: string }
}

/** What became of a request whose message a provider carried. */
export interface Outcome {
  requestId: string
  /** The provider's id of the message that carried the code, where one is known. */
  providerMessageId?: string
  outcome: 'verified' | 'not_verified'
}

/** Tells a provider whether its message led to a verification; some route or bill by it. */
export interface OutcomeReporter {
  /**
   * Best effort: nothing in a request's life may wait for it.
   * @throws {ProviderFault} when the provider did not take the report.
   */
  reportOutcome(outcome: Outcome, signal: AbortSignal): Promise<void>
}

/** A configured account at a messaging service. What it cannot do is absent. */
export interface ProviderAccount {
  /** The account's name in policy, tables and callback paths. */
  readonly name: string
  readonly adapter: string
  readonly channels: readonly Channel[]
  /** A test key reaches only accounts marked so. */
  readonly test: boolean
  /** Where the provider keeps what it is given; apps of a region use accounts of that region only. */
  readonly region?: string | undefined
  readonly sender: Sender
  readonly receipts?: ReceiptReader
  readonly inbound?: InboundReader
  readonly ussd?: UssdMenu
  readonly outcomes?: OutcomeReporter
  /** Secret, or two with a blank, of the generic callback `/webhooks/otp-status`, when the account uses it. */
  readonly receiptSecret?: string
}

/** A provider's refusal, or the lack of its answer. The message is ours and holds no provider text. */
export class ProviderFault extends Error {
  constructor(
    readonly fault: Fault,
    message: string,
    options?: { cause?: unknown; retryAfterMs?: number },
  ) {
    super(message, options)
    this.name = 'ProviderFault'
    this.retryAfterMs = options?.retryAfterMs
  }
  readonly retryAfterMs: number | undefined
}

/** Nothing was sent, because the claim had grown too old for it; worth another try under a fresh claim. */
export class StaleClaim extends ProviderFault {
  override name = 'StaleClaim'
  constructor() {
    super('unavailable', 'The claim grew old before the call began.')
  }
}

/** A callback that failed its provider's authentication. */
export class ForgedCallback extends Error {
  override name = 'ForgedCallback'
}
