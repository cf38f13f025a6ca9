import { defineSignal } from '@temporalio/workflow'

/**
 * Signals wake a run. Anybody who reaches Temporal can send one, with anything in it, so what a signal carries is for the
 * operators who read it: the run looks at Postgres, and acts on what is recorded there.
 */
export const receiptArrived = defineSignal<[unknown]>('receipt')
export const verified = defineSignal<[unknown]>('verified')
export const cancelled = defineSignal<[unknown]>('cancelled')
export const locked = defineSignal<[unknown]>('locked')
export const nextRequested = defineSignal<[unknown]>('next')
export const resendRequested = defineSignal<[unknown]>('resend')
/** From the sweeper: something was committed and perhaps never signalled, so look at Postgres. */
export const lookAgain = defineSignal<[unknown]>('lookAgain')
