import type { Channel } from '../channel'
import type { Fault } from '../delivery/fault'
import type { Plan, Step } from './plan'
import type { ReceiptStatus, SuccessRule } from '../delivery/receipt'
import { isCount, isPlan, isRecord } from '../shape'
import type { MessageSkip } from './skip-reason'
import type { State } from './state'

/** All that a run knows of its request: no recipient, no code, no text. */
export interface OtpRequestInput {
  requestId: string
  steps: Plan
  /** Epoch milliseconds, by the database's clock. */
  expiresAt: number
  /** An earlier run of the request is gone: this one learns from Postgres what it did, and goes on. */
  resumed?: boolean
}

export const isOtpRequestInput = (value: unknown): value is OtpRequestInput =>
  isRecord(value) &&
  typeof value.requestId === 'string' &&
  isPlan(value.steps) &&
  isCount(value.expiresAt) &&
  (value.resumed === undefined || typeof value.resumed === 'boolean')

/** One send that a run asks for; `sendNo` counts the run's sends from 1 and makes the claim its own. */
export interface SendOrder {
  requestId: string
  sendNo: number
  step: number
  channel: Channel
  provider: string
  success: SuccessRule
  /** The resend that it serves, 0 for the plan's own send of the step; undefined from runs of older versions. */
  resendSeq?: number
  /** The first of the sends that share one budget: the step's clock starts at its claim. */
  firstSendNo: number
  /** What sending may take from that claim on, retries included, in milliseconds. */
  budgetMs: number
  /** How long the provider may take to answer, in milliseconds. */
  callTimeoutMs: number
  /** Nobody else can send it: a transient fault is worth a retry here. */
  lastResort: boolean
}

/**
 * What a run learns about one send; Postgres has the rest. `attempt` is 0 when nothing was claimed, `ageMs` is
 * the time since the first claim of the sends that share the budget (a duration: clocks of two machines differ).
 */
export type SendResult = {
  attempt: number
  ageMs: number | null
  /** Who has the message, where that is not the provider that was to send it: an earlier call got through after all. */
  provider?: string
} & (
  | { outcome: 'accepted' | 'in_doubt' | 'ended' }
  | { outcome: 'refused'; fault: Fault }
  /** Nothing was sent, and no other provider may: `not_planned` is what the request's row does not know. */
  | { outcome: 'skipped'; reason: MessageSkip | 'not_planned' }
)

/** What an earlier run of a request did, for the one that goes on. */
export interface Past extends Progress {
  /** The last step that had its turn. */
  currentStep: number
  /** The highest number of a send; 0 for none. */
  lastSendNo: number
  /** The last resend of which a call was claimed. */
  servedSeq: number
  calls: {
    attempt: number
    step: number
    provider: string
    success: SuccessRule
    /** The provider has it, or may have it. */
    taken: boolean
    fault: Fault | null
    /** Since its claim, in milliseconds. */
    ageMs: number
  }[]
}

/** A run's view of Postgres, read after timers and before it concludes. */
export interface Progress {
  state: State
  /** Every claimed call: `accepted` covers the ones in doubt. */
  attempts: { attempt: number; step: number; accepted: boolean; status: ReceiptStatus | null }[]
  /** The highest step that a caller asked to leave, -1 for none. */
  leaveStep: number
  /** The last resend asked for: 0 for none. */
  resend: { seq: number; step?: Step }
  /** Channels of provider accounts that are to be tried last: see `unhealthyOn`. */
  unhealthy: string[]
}
