import { patched, setHandler } from '@temporalio/workflow'
import type { Channel } from '../core/channel'
import type { OtpRequestInput, Past, Progress } from '../core/requests/otp-request'
import type { Step } from '../core/requests/plan'
import {
  isFailure,
  rankOf,
  type ReceiptStatus,
  satisfies,
  type SuccessRule,
} from '../core/delivery/receipt'
import type { State } from '../core/requests/state'
import { isNextNotice, isReceiptNotice, isResendNotice } from '../core/requests/wake'
import * as messages from './messages'

/** What operators are shown of a run. */
interface View {
  now: string
  past: string[]
  channel: Channel | undefined
  provider: string | undefined
}

/**
 * What a run knows so far, as Postgres said it. Signals only say that there is something to look at, and may come twice,
 * late, out of order, or from somebody who made them up.
 */
export class Run {
  readonly view: View
  readonly unhealthy = new Set<string>()
  /** How it ended, once it is concluded. */
  concludedAs: State | undefined
  /** How many signals came. */
  signals = 0
  /** It began before signals were mere hints: it acts on what they carry, as its history says that it did. */
  believes = false
  /** The highest step that the user asked to leave. */
  leaveStep = -1

  /** The attempts that a provider accepted, or perhaps did. */
  private readonly accepted = new Map<number, { step: number; rule: SuccessRule }>()
  private readonly statuses = new Map<number, ReceiptStatus>()
  private readonly leftBehind = new Set<number>()
  private mustLook = false
  private mayBeOver = false
  private hasReport = false
  private ended: State | undefined
  private resend: Progress['resend'] = { seq: 0 }
  private servedSeq = 0
  private sendNo = 0

  constructor(readonly input: OtpRequestInput) {
    const [first] = input.steps
    // The API starts a run with the search attributes of its first step.
    this.view = { now: '', past: [], channel: first?.channel, provider: first?.providers[0] }
  }

  /** Registers every handler; before the first await, so that a receipt that overtakes its own send is kept. */
  listen(): void {
    this.believes = !patched('signals-are-hints')
    const on = (signal: (typeof messages)[keyof typeof messages], act: (news: unknown) => void) =>
      setHandler(signal, (news) => {
        this.signals++
        act(news)
      })
    on(messages.receiptArrived, (news) => this.hearReceipt(news))
    on(messages.verified, () => this.hearEnd('verified'))
    on(messages.cancelled, () => this.hearEnd('cancelled'))
    on(messages.locked, () => this.hearEnd('locked'))
    on(messages.nextRequested, (news) => {
      if (this.believes && isNextNotice(news)) this.noteLeave(news.step)
      else this.mustLook = true
    })
    on(messages.resendRequested, (news) => {
      if (this.believes && isResendNotice(news)) this.noteResend(news)
      else this.mustLook = true
    })
    on(messages.lookAgain, () => void (this.mustLook = true))
  }

  /** Takes over what Postgres says. */
  absorb(progress: Progress): void {
    if (this.believes) this.mustLook = false
    this.noteState(progress.state)
    this.noteLeave(progress.leaveStep)
    this.noteResend(progress.resend)
    this.unhealthy.clear()
    for (const name of progress.unhealthy) this.unhealthy.add(name)
    for (const { attempt, step, status } of progress.attempts) {
      if (status) this.noteReceipt({ attempt, step, status })
    }
  }

  /** There is something to ask Postgres about. */
  mustAsk(): boolean {
    return this.mustLook || this.mayBeOver
  }

  /** A signal said something since, which Postgres is to be asked about at once. */
  hasHint(): boolean {
    return !this.believes && this.mustAsk()
  }

  /** A receipt was signalled that says nothing bad: of interest only to who waits for one. */
  hasHintOfReceipt(): boolean {
    return this.hasHint() || this.hasReport
  }

  /** Postgres is to be asked, whatever signals say. */
  wantLook(): void {
    this.mustLook = true
  }

  /** Takes note that Postgres is asked now: of signals that come from here on, it is asked anew. */
  takeHints(): { mustLook: boolean; mayBeOver: boolean } {
    const { mayBeOver } = this
    const mustLook = this.mustLook || this.hasReport
    this.mustLook = false
    this.mayBeOver = false
    this.hasReport = false
    return { mustLook, mayBeOver }
  }

  /** Postgres has the end, and everything that the end brings is done. */
  noteConcluded(state: State): void {
    this.ended = state
    this.concludedAs = state
  }

  /** Takes over what an earlier run of the request did. */
  remember(past: Past): void {
    this.view.past.push('an earlier run was gone')
    this.sendNo = past.lastSendNo
    this.servedSeq = past.servedSeq
    for (const { attempt, step, success, taken } of past.calls) {
      if (!taken) continue
      this.noteAccepted(attempt, step, success)
      if (step <= past.leaveStep) this.leftBehind.add(attempt)
    }
    this.absorb(past)
  }

  isOver(): boolean {
    return this.ended !== undefined || this.lifeLeftMs() <= 0
  }

  lifeLeftMs(): number {
    return this.input.expiresAt - Date.now()
  }

  /** How many sends there were; the next one's number is one higher. */
  sends(): number {
    return this.sendNo
  }

  nextSendNo(): number {
    return ++this.sendNo
  }

  noteAccepted(attempt: number, step: number, rule: SuccessRule): void {
    this.accepted.set(attempt, { step, rule })
  }

  wasAccepted(step: number): boolean {
    return this.attemptsOf(step).length > 0
  }

  anyAccepted(): boolean {
    return this.accepted.size > 0
  }

  /** A receipt shows that the provider has this message, whatever became of its answer. */
  isConfirmed(attempt: number): boolean {
    const status = this.statuses.get(attempt) ?? 'unknown'
    return !isFailure(status) && rankOf[status] >= rankOf.accepted
  }

  /** Some message fulfilled its rule, one of an earlier channel included, unless the user asked to go on since. */
  hasSucceeded(): boolean {
    return [...this.accepted].some(
      ([attempt, { rule }]) =>
        !this.leftBehind.has(attempt) && satisfies(rule, this.statuses.get(attempt) ?? 'accepted'),
    )
  }

  /** Every message of the step has a failure receipt. */
  hasFailed(step: number): boolean {
    return this.attemptsOf(step).every((attempt) =>
      isFailure(this.statuses.get(attempt) ?? 'unknown'),
    )
  }

  /** The step is over; what was achieved so far counts no more if the user asked to go on. */
  leave(step: number): void {
    if (this.leaveStep < step) return
    for (const attempt of this.accepted.keys()) this.leftBehind.add(attempt)
  }

  /** There is something to look up, or a resend to serve. */
  hasErrand(): boolean {
    return this.mustAsk() || this.resend.seq > this.servedSeq
  }

  takeResend(): { seq: number; step: Step } | undefined {
    const { seq, step } = this.resend
    if (seq <= this.servedSeq) return undefined
    this.servedSeq = seq
    return step && { seq, step }
  }

  /** The plan's step of a channel; a channel outside the plan counts with the step in progress. */
  indexOf({ channel }: Step): number {
    const index = this.input.steps.findIndex((step) => step.channel === channel)
    if (index !== -1) return index
    return Math.max(0, ...[...this.accepted.values()].map(({ step }) => step))
  }

  private attemptsOf(step: number): number[] {
    return [...this.accepted].filter(([, sent]) => sent.step === step).map(([attempt]) => attempt)
  }

  /**
   * A failure makes the run go on sooner. Success ends nothing: the step's timer asks Postgres in any case, so a run whose
   * code is typed in before needs no look of its own.
   */
  private hearReceipt(news: unknown): void {
    if (!isReceiptNotice(news)) this.mustLook = true
    else if (this.believes) this.noteReceipt(news)
    else if (isFailure(news.status)) this.mustLook = true
    else this.hasReport = true
  }

  private hearEnd(state: State): void {
    if (this.believes) this.noteState(state)
    else this.mayBeOver = true
  }

  private noteReceipt(receipt: { attempt: number; step: number; status: ReceiptStatus }): void {
    const { attempt, step, status } = receipt
    const known = this.statuses.get(attempt)
    if (known === undefined || rankOf[known] < rankOf[status]) this.statuses.set(attempt, status)
    // Who has the message has it, even from a provider that had refused it.
    const rule = this.input.steps[step]?.success
    if (rule && rankOf[status] >= rankOf.delivered && !this.accepted.has(attempt)) {
      this.noteAccepted(attempt, step, rule)
    }
  }

  private noteState(state: State): void {
    if (state !== 'pending') this.ended = state
  }

  private noteLeave(step: number): void {
    this.leaveStep = Math.max(this.leaveStep, step)
  }

  private noteResend(wish: Progress['resend']): void {
    if (wish.seq > this.resend.seq) this.resend = wish
  }
}
