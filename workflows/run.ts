import { setHandler } from '@temporalio/workflow'
import type { OtpRequestInput, Progress } from '../core/otp-request'
import type { Step } from '../core/plan'
import { isFailure, rankOf, type ReceiptStatus, satisfies, type SuccessRule } from '../core/receipt'
import type { State } from '../core/state'
import * as messages from './messages'
import { newView, type View } from './operator-view'

/** What a run has heard so far. Everything in it may be told twice, late or out of order. */
export interface Run {
  readonly input: OtpRequestInput
  /** What operators are shown. */
  readonly view: View
  readonly unhealthy: ReadonlySet<string>
  /** Something was said that this run should look up. */
  readonly mustLook: boolean
  /** The highest step that the user asked to leave. */
  readonly leaveStep: number
  isOver(): boolean
  lifeLeftMs(): number
  lastSendNo(): number
  nextSendNo(): number
  /** A provider took the message of this attempt, or perhaps did. */
  noteAccepted(attempt: number, step: number, rule: SuccessRule): void
  wasAccepted(step: number): boolean
  anyAccepted(): boolean
  /** The provider's receipt for this attempt shows that it has the message. */
  isConfirmed(attempt: number): boolean
  /** Some message fulfilled its rule, one of an earlier channel included, unless the user asked to go on since. */
  hasSucceeded(): boolean
  /** Every message of the step has a failure receipt. */
  hasFailed(step: number): boolean
  /** The step is over: what it achieved counts no more if the user asked to go on. */
  leave(step: number): void
  hasErrand(): boolean
  takeResend(): Step | undefined
  indexOf(step: Step): number
  absorb(progress: Progress): void
}

/** Registers every handler before the first await, so that a receipt that overtakes its own send is kept. */
export function listen(input: OtpRequestInput): Run {
  const accepted = new Map<number, { step: number; rule: SuccessRule }>()
  const statuses = new Map<number, ReceiptStatus>()
  const leftBehind = new Set<number>()
  const unhealthy = new Set<string>()
  const currentIndex = () => Math.max(0, ...[...accepted.values()].map(({ step }) => step))
  let ended: State | undefined
  let sendNo = 0
  let leaveStep = -1
  let mustLook = false
  let resend: Progress['resend'] = { seq: 0 }
  let servedSeq = 0

  const noteStatus = (attempt: number, status: ReceiptStatus) => {
    const known = statuses.get(attempt)
    if (known === undefined || rankOf[known] < rankOf[status]) statuses.set(attempt, status)
  }
  const noteResend = (wish: Progress['resend']) => {
    if (wish.seq > resend.seq) resend = wish
  }
  setHandler(messages.receiptArrived, ({ attempt, status }) => noteStatus(attempt, status))
  setHandler(messages.verified, () => void (ended = 'verified'))
  setHandler(messages.cancelled, () => void (ended = 'cancelled'))
  setHandler(messages.locked, () => void (ended = 'locked'))
  setHandler(messages.nextRequested, ({ step }) => void (leaveStep = Math.max(leaveStep, step)))
  setHandler(messages.resendRequested, noteResend)
  setHandler(messages.lookAgain, () => void (mustLook = true))

  const attemptsOf = (step: number) =>
    [...accepted].filter(([, sent]) => sent.step === step).map(([attempt]) => attempt)
  const failed = (attempt: number) => isFailure(statuses.get(attempt) ?? 'unknown')

  return {
    input,
    view: newView(input.steps[0]),
    unhealthy,
    get mustLook() {
      return mustLook
    },
    get leaveStep() {
      return leaveStep
    },
    isOver: () => ended !== undefined || Date.now() >= input.expiresAt,
    lifeLeftMs: () => input.expiresAt - Date.now(),
    lastSendNo: () => sendNo,
    nextSendNo: () => ++sendNo,
    noteAccepted: (attempt, step, rule) => void accepted.set(attempt, { step, rule }),
    wasAccepted: (step) => attemptsOf(step).length > 0,
    anyAccepted: () => accepted.size > 0,
    isConfirmed: (attempt) => {
      const status = statuses.get(attempt)
      return status !== undefined && !isFailure(status) && rankOf[status] >= rankOf.accepted
    },
    hasSucceeded: () =>
      [...accepted].some(
        ([attempt, { rule }]) =>
          !leftBehind.has(attempt) && satisfies(rule, statuses.get(attempt) ?? 'accepted'),
      ),
    hasFailed: (step) => attemptsOf(step).every(failed),
    leave: (step) => {
      if (leaveStep >= step) for (const attempt of accepted.keys()) leftBehind.add(attempt)
    },
    hasErrand: () => mustLook || resend.seq > servedSeq,
    takeResend: () => {
      if (resend.seq <= servedSeq) return undefined
      servedSeq = resend.seq
      return resend.step
    },
    indexOf: ({ channel }) => {
      const index = input.steps.findIndex((step) => step.channel === channel)
      return index === -1 ? currentIndex() : index
    },
    absorb: (progress) => {
      mustLook = false
      if (progress.state !== 'pending') ended = progress.state
      leaveStep = Math.max(leaveStep, progress.leaveStep)
      noteResend(progress.resend)
      unhealthy.clear()
      for (const name of progress.unhealthy) unhealthy.add(name)
      for (const { attempt, status } of progress.attempts) if (status) noteStatus(attempt, status)
    },
  }
}
