import type { LineType } from '../core/protection/protection'
import type { Channel } from '../core/channel'
import type { Fault } from '../core/delivery/fault'
import type { ReceiptStatus } from '../core/delivery/receipt'

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
  /** E-mail only. */
  subject?: string | undefined
  /** E-mail only: the same as `text`, as a page. */
  html?: string | undefined
  /** Voice only: asks for a key press, so that no code is read to a voicemail. */
  keyPrompt?: string | undefined
  /** BCP 47, e.g. `en`. */
  locale: string
  brand: string
  /** Where this attempt's receipts go; holds its callback token. */
  callbackUrl: string
  /** Life left, in seconds, for providers that drop late messages themselves. */
  validForSeconds: number
  /** By `performance.now()`: not one byte may be written later, see {@link StaleClaim}. */
  notAfter: number
  /**
   * An earlier attempt at the same message through this account that ended in doubt: where a provider knows
   * repetitions by our reference, it is sent again under that one.
   */
  repeats?: string | undefined
}

/** As the provider says it: what Postgres could not keep, the registry replaces. */
export interface Sent {
  /** The attempt's id when the provider gives none. */
  providerMessageId: string
  /** In the account's currency, when the provider says it at once. */
  cost?: Cost | undefined
  /** What became of the message, where that is known at once and no callback will tell it. */
  report?: Pick<Receipt, 'status' | 'rawStatus'> | undefined
  /** What the user must do to get the code, in a few words for a caller's page: what to dial. */
  instruction?: string | undefined
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

/** What of a provider's callback is known before its body is read. */
export interface CallbackHead {
  /** POST unless said otherwise. */
  method?: 'GET' | 'POST' | undefined
  headers: Record<string, string | string[] | undefined>
  /** Our public URL of this callback, with the query as it came: the address from configuration, never from Host. */
  url: string
  /** The secret part of the address, on routes that have one: for providers that sign nothing. */
  pathSecret?: string | undefined
  /** Where the callback comes from, as far as the proxies in front are believed. */
  clientIp?: string | undefined
}

/** A provider's callback as it came in. */
export interface InboundCallback extends CallbackHead {
  /** The raw body: signatures are over bytes. */
  body: Buffer
}

export interface Receipt {
  status: ReceiptStatus
  /** The provider's own word, for the audit row; free of personal data. */
  rawStatus: string
  /** Makes duplicates recognisable: unique per provider account and event. */
  eventKey: string
  providerMessageId?: string | undefined
  /** Our reference of the attempt, where the provider echoes it: a batch may hold reports of several. */
  attemptId?: string | undefined
  /** When the provider says it happened. */
  at?: Date | undefined
  cost?: Cost | undefined
  /** The provider's code for a failure. */
  code?: string | undefined
  /** Concluded from something else that the provider says: it does not count against a failure that it reported. */
  inferred?: boolean | undefined
}

/** Authenticates and translates callbacks. */
export interface ReceiptReader {
  /**
   * At a message's own address nothing but its token proves who calls: what such a callback says is not believed, only
   * a reason to ask the provider about that one message at once, see {@link ReceiptPoller}.
   */
  readonly unsigned?: true | undefined
  /** An `unsigned` account whose callbacks prove themselves at the account's one address. */
  readonly provenAtAccount?: true | undefined
  /** The signature is over the address too: what is signed for an address came from whoever was given it. */
  readonly signsAddress?: true | undefined
  /**
   * @throws {ForgedCallback} when the signature does not hold.
   * @returns no receipt for a genuine callback that reports nothing of interest.
   */
  readReceipts(callback: InboundCallback): Receipt[]
}

/** A message that somebody sent to one of our numbers. */
export interface InboundMessage {
  /** The sender's number as the provider reports it, in whatever spelling. */
  from: string
  text: string
  /**
   * The same each time that the provider reports the message, and no other message of any account there has it. Where a
   * provider gives no id, a digest of what it signed.
   */
  id: string
  /** When it was sent, as the provider signed it; where it says no time, now: a repetition is known by its id. */
  at: Date
}

/** Reads replies to messages. */
export interface InboundReader {
  /** They come to the address of the account's reports too, among these. */
  readonly atAccount?: true | undefined
  /** What the provider reads as "taken", where it reads the answer; else any 2xx is. */
  readonly taken?: Screen | undefined
  /**
   * @throws {ForgedCallback} when the callback is not the provider's.
   * @returns one message, those of a batch, or undefined for a genuine callback that is no message of a person.
   */
  readInbound(callback: InboundCallback): InboundMessage | readonly InboundMessage[] | undefined
}

/** An answer in a provider's own format. */
export interface Screen {
  contentType: string
  body: string
}

/** What a dialled USSD session asks for. */
export interface UssdDial {
  sessionId: string
  /** E.164 with `+`. */
  phoneNumber: string
  /** What was dialled, such as `*384*77#`, where the provider says it. */
  serviceCode?: string | undefined
  /** What the user typed in this session so far, in order. */
  inputs: string[]
}

/** Speaks a provider's USSD session callback. */
export interface UssdMenu {
  /** What the user dials, such as `*384*77#`. */
  readonly serviceCode: string
  /** The answer where nobody waits for a screen; else any 2xx is. */
  readonly over?: Screen | undefined
  /**
   * @throws {ForgedCallback} when the callback is not the provider's: its answer holds a code.
   * @returns undefined for a genuine callback that waits for no screen, such as the end of a session.
   */
  readDial(callback: InboundCallback): UssdDial | undefined
  /** The answer in the provider's format; `code` beside the text where the format has a place for it. */
  showScreen(dial: UssdDial, screen: { text: string; code?: string; asks?: boolean }): Screen
}

/** A call that its provider has connected, and that waits to be told what to say. */
export interface ConnectedCall {
  providerMessageId?: string | undefined
  /** Our reference of the attempt, where the provider echoes it. */
  attemptId?: string | undefined
  /** Somebody pressed a key: not a voicemail. */
  keyPressed: boolean
  /** What the callback reports beside that it waits. */
  receipts: Receipt[]
  /** The call goes on; false when the callback only reports its end. */
  waits: boolean
}

/** What a call says. Holds the code in clear. */
export type Speech = Pick<Message, 'text' | 'locale' | 'keyPrompt'>

/** Tells connected calls what to say, for providers that ask when the call is answered. */
export interface CallAnswerer {
  /** @throws {ForgedCallback} when the callback is not the provider's: its answer holds a code. */
  readCall(callback: InboundCallback): ConnectedCall
  /** `undefined` speech: nothing waits to be said, the call ends. */
  answerCall(call: ConnectedCall, speech: Speech | undefined, callback: InboundCallback): Screen
}

/** Answers the GET by which a provider makes sure that the callback address is ours. */
export interface Handshake {
  /** @throws {ForgedCallback} when it is not our provider who asks. */
  answerHandshake(callback: InboundCallback): Screen
}

/** A cheap call that shows whether the account works. */
export interface Pinger {
  /** @throws {ProviderFault} when it does not. */
  ping(signal: AbortSignal): Promise<void>
}

/** A call whose answer never came. */
export interface Doubt {
  attemptId: string
  channel: Channel
  to: string
  /** When the call was claimed. */
  claimedAt: Date
}

/** Finds out what became of a call without an answer. */
export interface Reconciler {
  /**
   * @returns the message when the provider has it, undefined when it does not know of one (yet).
   * @throws {ProviderFault} when the provider cannot be asked.
   */
  reconcile(doubt: Doubt, signal: AbortSignal): Promise<Sent | undefined>
}

/** Asks for reports, for providers that may not send them. */
export interface ReceiptPoller {
  /** @throws {ProviderFault} when the provider cannot be asked. */
  pollReceipts(
    messages: readonly { attemptId: string; providerMessageId: string; channel?: Channel }[],
    signal: AbortSignal,
  ): Promise<Receipt[]>
}

/** What carriers know of a number. */
export interface LookedUp {
  valid: boolean
  lineType: LineType
  carrier?: string | undefined
  /** How likely its messages are pumped, from 0 to 100, where the account says it. */
  riskScore?: number | undefined
  /** Whether its SIM card was changed, where that was asked for as well and the carrier knows. */
  simChanged?: boolean | undefined
}

/** Asks what kind of number it is. */
export interface NumberLookup {
  /** The account's {@link SimSwapCheck} can be asked by the same call. */
  readonly asksSimSwap?: true | undefined
  /** @throws {ProviderFault} when the provider cannot be asked. */
  lookUp(
    phoneNumber: string,
    signal: AbortSignal,
    /** What else is wanted; it may cost more. */
    wanted?: { risk?: boolean; simSwapWithinHours?: number | undefined },
  ): Promise<LookedUp>
}

/** Asks whether somebody else may have the number by now. */
export interface SimSwapCheck {
  /**
   * Whether the number's SIM card was changed within the last hours.
   * @throws {ProviderFault} when the provider cannot be asked, or does not know.
   */
  hasChanged(
    phoneNumber: string,
    { withinHours }: { withinHours: number },
    signal: AbortSignal,
  ): Promise<boolean>
}

/** A provider that makes and checks codes of its own. */
export interface DelegatedCheck {
  /** The channels that it serves so. */
  readonly channels: readonly Channel[]
  /**
   * Has the provider make a code and send it; `code` and `text` of the message are not used.
   * @throws {ProviderFault} as {@link Sender.send}.
   */
  generate(message: Message, signal: AbortSignal): Promise<Sent>
  /**
   * @returns whether the provider's code for this number is right.
   * @throws {ProviderFault} when the provider gives no answer.
   */
  checkCode(
    check: { to: string; code: string; channel: Channel },
    signal: AbortSignal,
  ): Promise<boolean>
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

/** A mail to people who run the service; no code, and nothing of a user, is in it. */
export interface Letter {
  /** The same for a repetition. */
  id: string
  to: readonly string[]
  subject: string
  text: string
}

/** Sends mail that is no message to a user. */
export interface Mailer {
  /** @throws {ProviderFault} when the server did not take it. */
  mail(letter: Letter, signal: AbortSignal): Promise<void>
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
  /**
   * Whether a callback for the whole account can be genuine, as far as its address and headers tell: nothing is read of
   * the body of one that cannot.
   * @throws {ForgedCallback} where it cannot
   */
  readonly checkHead?: (callback: CallbackHead) => void
  readonly receipts?: ReceiptReader
  readonly inbound?: InboundReader
  readonly ussd?: UssdMenu
  readonly outcomes?: OutcomeReporter
  readonly calls?: CallAnswerer
  readonly handshake?: Handshake
  readonly pinger?: Pinger
  readonly reconciler?: Reconciler
  readonly poller?: ReceiptPoller
  readonly lookup?: NumberLookup
  readonly simSwap?: SimSwapCheck
  readonly delegated?: DelegatedCheck
  readonly mailer?: Mailer
  /** Secret, or two with a blank, of the generic callback `/webhooks/otp-status`, when the account uses it. */
  readonly receiptSecret?: string
}

/** A provider's refusal, or the lack of its answer. The message is ours and holds no provider text. */
export class ProviderFault extends Error {
  constructor(
    readonly fault: Fault,
    message: string,
    options?: {
      cause?: unknown
      retryAfterMs?: number | undefined
      ofRecipient?: boolean
      code?: string | undefined
    },
  ) {
    super(message, options)
    this.name = 'ProviderFault'
    this.retryAfterMs = options?.retryAfterMs
    this.ofRecipient = options?.ofRecipient ?? false
    this.code = options?.code
  }
  readonly retryAfterMs: number | undefined
  /** The provider's own code for it, where it gave one. */
  code: string | undefined
  /** Whatever it is, it is about this recipient: it says nothing of the account, for others. */
  readonly ofRecipient: boolean
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
