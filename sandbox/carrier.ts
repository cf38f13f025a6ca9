import { randomUUID } from 'node:crypto'
import type { Callbacks } from './callbacks'
import { Calls } from './calls'
import type { Entry, Inbox } from './inbox'
import type { Message, PersonsReply } from './message'
import type { Phones } from './phones'
import type { PlannedReceipt } from './scenario'
import type { Timers } from './timers'
import { choiceOf, type Dialled, type Dialling, firstAccount, serviceCode, type Ussd } from './ussd'
import { sequenceOf, type Status } from './words'

/** Reloading the page is not hanging up. */
const reopenWithinMs = 2_000
/** The user dials again when the service did not answer or knew of no code yet. */
const dialPausesMs = [1_000, 5_000, 15_000]

interface CarrierParts {
  inbox: Inbox
  phones: Phones
  ussd: Ussd
  callbacks: Callbacks
  timers: Timers
  /** Tells the product what a person sent to an account; @throws when it was not taken. */
  sendReply: (account: string, reply: PersonsReply) => Promise<unknown>
}

/** Carries accepted messages to the phones and reports what happens to them. */
export class Carrier {
  private readonly calls: Calls
  /** Calls that the user ended; what was planned for them no longer happens. */
  private readonly decided = new WeakSet<Message>()

  constructor(private readonly parts: CarrierParts) {
    this.calls = new Calls(parts.timers, (number) => this.showState(number))
  }

  /** All that a phone's page shows. */
  phone(number: string) {
    return { number, entries: this.parts.inbox.list(number, 100), ...this.stateOf(number) }
  }

  /** Puts the message on its phone; its receipts are played by one of the two functions returned. */
  accept(message: Message, receipts: PlannedReceipt[]) {
    if (!message.report) this.parts.ussd.know(message.provider)
    const entry = message.channel === 'ussd' ? undefined : entryOf(message, 'accepted')
    if (entry) this.show(message, entry, receipts)
    else {
      this.parts.ussd.register(message)
      this.showState(message.to)
    }
    return {
      schedule: () => {
        for (const { status, after_ms } of receipts) {
          this.parts.timers.after(after_ms, () => void this.perform(message, entry, status))
        }
      },
      /** Resolves when every receipt was posted once. */
      playNow: async () => {
        for (const { status } of receipts) await this.perform(message, entry, status)
      },
    }
  }

  /** The user picks up or declines; @returns whether the call was ringing. */
  endCall(id: string, status: 'answered' | 'declined'): boolean {
    const call = this.calls.end(id)
    if (!call) return false
    this.decided.add(call.message)
    void this.report(call.message, call.entry, status)
    return true
  }

  /** The user dials, or answers a menu; a code on the screen gets an entry in the inbox. */
  async dial(dialling: Dialling): Promise<Dialled> {
    const { number } = dialling
    const dialled = await this.parts.ussd.dial(dialling)
    const { shown } = dialled
    if (shown) {
      const announced = this.parts.ussd.take(number, shown.code)
      this.noteShown({ number, ...shown, text: dialled.message, announced })
      this.showState(number)
    }
    return dialled
  }

  /**
   * The user answers to the account that wrote last.
   * @returns whether the product took it
   */
  async reply(
    number: string,
    { text, from = number }: { text: string; from?: string | undefined },
  ): Promise<boolean> {
    const { inbox, sendReply } = this.parts
    const { provider, channel } = inbox
      .list(number, 100)
      .find((entry) => entry.channel === 'sms' || entry.channel === 'whatsapp') ?? {
      provider: firstAccount,
      channel: 'sms',
    }
    return sendReply(provider, { from, text, channel }).then(
      () => true,
      () => false,
    )
  }

  /** Marks what became of a request on every message that carried its code. */
  settle(requestId: string, outcome: Entry['outcome']): number {
    const marked = this.parts.inbox.mark(requestId, outcome)
    for (const entry of marked) this.parts.phones.show(entry)
    return marked.length
  }

  /** The page left a phone; the calls that it held are answered as on any other phone. */
  release(number: string) {
    this.parts.timers.after(reopenWithinMs, () => {
      if (this.parts.phones.isOpen(number)) return
      for (const { entry, held } of this.calls.of(number)) {
        if (held) this.endCall(entry.id, 'answered')
      }
    })
  }

  /** Empties the inbox and the phones. */
  clear() {
    this.parts.inbox.clear()
    this.parts.ussd.clear()
    this.calls.clear()
    this.parts.phones.refresh((number) => this.phone(number))
  }

  /** A code that is dialled for again is the same entry; one that nobody announced by USSD may be known from elsewhere. */
  private noteShown(screen: {
    number: string
    provider: string
    code: string
    text: string
    announced: Message | undefined
  }) {
    const { inbox, phones } = this.parts
    const { number: to, provider, code, text, announced } = screen
    const alike = inbox.list(to, 100).filter((entry) => entry.code === code)
    if (!announced && alike.some(({ channel }) => channel === 'ussd')) return
    const requestId = alike.find((entry) => entry.request_id !== undefined)?.request_id
    const entry: Entry = announced
      ? { ...entryOf(announced, 'dialled'), text, code }
      : {
          ...{ id: `dial_${randomUUID()}`, provider, channel: 'ussd', to, text, code },
          ...{ at: new Date().toISOString(), status: 'dialled' },
          ...(requestId !== undefined && { request_id: requestId }),
        }
    inbox.add(entry)
    phones.show(entry)
  }

  private show(message: Message, entry: Entry, receipts: PlannedReceipt[]) {
    this.parts.inbox.add(entry)
    this.parts.phones.show(entry)
    const rings = receipts.some(({ status }) => status === 'ringing' || status === 'answered')
    if (message.channel !== 'voice' || !rings) return
    this.calls.ring(message, entry, () => void this.report(message, entry, 'failed'))
  }

  /** Makes one planned receipt come true. */
  private async perform(message: Message, entry: Entry | undefined, status: Status) {
    if (message.channel === 'ussd' && status === 'dialled') return this.dialUntilShown(message)
    if (this.decided.has(message)) return
    const isPagesTurn = status === 'answered' && this.parts.phones.isOpen(message.to)
    if (isPagesTurn && this.calls.hold(message.id)) return
    if (status !== 'ringing') this.calls.end(message.id)
    await this.report(message, entry, status)
  }

  private async dialUntilShown(message: Message, tries = 0): Promise<void> {
    const { phones, ussd, timers } = this.parts
    if (phones.isOpen(message.to) || !ussd.holds(message)) return
    const dialling = { number: message.to, serviceCode, inputs: [] }
    const { ends, sessionId, message: screen } = await this.dial(dialling)
    if (!ends)
      await this.dial({ ...dialling, sessionId, inputs: [choiceOf(screen, message.brand)] })
    const pause = dialPausesMs[tries]
    if (pause === undefined || !ussd.holds(message)) return
    timers.after(pause, () => void this.dialUntilShown(message, tries + 1))
  }

  /** Resolves when the first try of the callback is over. */
  private async report(message: Message, entry: Entry | undefined, status: Status) {
    if (entry) {
      this.parts.inbox.advance(entry, status)
      this.parts.phones.show(entry)
    }
    if (message.report) {
      await message.report(status, entry)
      // A call says what it has to say only now.
      if (entry) this.parts.phones.show(entry)
      return
    }
    if (!message.callback_url) return
    await this.parts.callbacks.report(message.callback_url, `${message.id}.${status}`, {
      id: message.id,
      reference: message.reference,
      status,
      at: new Date().toISOString(),
      sequence: sequenceOf(status),
    })
  }

  private stateOf(number: string) {
    return {
      ringing: this.calls.of(number).map(({ entry }) => entry.id),
      ussd_waiting: this.parts.ussd.isWaiting(number),
      service_code: serviceCode,
      service_codes: this.parts.ussd.serviceCodes(),
    }
  }

  private showState(number: string) {
    this.parts.phones.showState(number, () => this.stateOf(number))
  }
}

const entryOf = (message: Message, status: Status): Entry => ({
  id: message.id,
  provider: message.provider,
  channel: message.channel,
  to: message.to,
  text: message.text,
  code: message.code,
  at: new Date().toISOString(),
  status,
  request_id: message.request_id,
})
