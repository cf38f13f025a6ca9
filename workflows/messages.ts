import { defineSignal } from '@temporalio/workflow'
import type { Step } from '../core/plan'
import type { ReceiptStatus } from '../core/receipt'

/** Signals wake a run. Each carries a rank or a state and is safe to repeat, lose or deliver late. */
export const receiptArrived =
  defineSignal<[{ attempt: number; step: number; status: ReceiptStatus }]>('receipt')
export const verified = defineSignal('verified')
export const cancelled = defineSignal('cancelled')
export const locked = defineSignal('locked')
export const nextRequested = defineSignal<[{ step: number }]>('next')
export const resendRequested = defineSignal<[{ seq: number; step: Step }]>('resend')
/** From the sweeper: something was committed and perhaps never signalled, so look at Postgres. */
export const lookAgain = defineSignal('lookAgain')
