import type { Step } from './plan'
import { type ReceiptStatus, receiptStatuses } from '../delivery/receipt'
import { isCount, isOneOf, isRecord, isStep } from '../shape'

/** What a signal tells a run: committed in Postgres before, so a lost one costs time, never correctness. */
export type Notice =
  | { signal: 'receipt'; attempt: number; step: number; status: ReceiptStatus }
  | { signal: 'verified' }
  | { signal: 'cancelled' }
  | { signal: 'locked' }
  | { signal: 'next'; step: number }
  | { signal: 'resend'; seq: number; step: Step }

/** A notice for one run. `dueAt` is the commit's mark on the row: clearing it clears no later one. */
export type Wake = { requestId: string; dueAt: Date } & Notice

/** What came with a signal may be anything: these say whether it is what we send with it. */
type Carried<S extends Notice['signal']> = Omit<Extract<Notice, { signal: S }>, 'signal'>

export const isReceiptNotice = (value: unknown): value is Carried<'receipt'> =>
  isRecord(value) &&
  isCount(value.attempt) &&
  isCount(value.step) &&
  isOneOf(receiptStatuses, value.status)

export const isNextNotice = (value: unknown): value is Carried<'next'> =>
  isRecord(value) && isCount(value.step)

export const isResendNotice = (value: unknown): value is Carried<'resend'> =>
  isRecord(value) && isCount(value.seq) && isStep(value.step)
