import {
  isFailure,
  rankOf,
  type ReceiptStatus,
  satisfies,
  type SuccessRule,
} from '../delivery/receipt'

/** How far a step got, in words a support desk reads. */
export const stepStatuses = [
  'waiting',
  'sending',
  'sent',
  'succeeded',
  'failed',
  'timed_out',
  'left',
  'skipped',
] as const
export type StepStatus = (typeof stepStatuses)[number]

export interface StepFacts {
  index: number
  success: SuccessRule
  skipped: boolean
  /** The request has gone on to this step, or beyond. */
  currentStep: number
  /** The highest step that a caller asked to leave. */
  leaveStep: number
  planEnded: boolean
  attempts: readonly {
    state: 'open' | 'accepted' | 'refused' | 'in_doubt'
    status: ReceiptStatus | null
    /** The attempt's own rule, where its provider has one. */
    success?: SuccessRule
  }[]
}

const isGood = (status: ReceiptStatus) => rankOf[status] >= rankOf.delivered

/** Tells a step's status from its attempts and from where the request stands. */
export function stepStatus(step: StepFacts): StepStatus {
  const { index, success, attempts, currentStep, leaveStep, planEnded } = step
  // A receipt tells more than an answer: a provider may refuse what it delivers after all.
  const taken = attempts.filter(
    ({ state, status }) =>
      state === 'accepted' || state === 'in_doubt' || isGood(status ?? 'unknown'),
  )
  // Of a resend that was passed over nothing is to be seen where the step's own message went out.
  if (step.skipped && taken.length === 0) return 'skipped'
  const isGoodEnough = ({ status, success: own = success }: (typeof attempts)[number]) =>
    satisfies(own, status ?? 'accepted')
  if (taken.some(isGoodEnough)) return 'succeeded'
  if (attempts.some(({ state }) => state === 'open')) return 'sending'
  const over = planEnded || currentStep > index
  if (attempts.length === 0) return over && currentStep >= index ? 'failed' : 'waiting'
  if (taken.every(({ status }) => isFailure(status ?? 'unknown'))) return 'failed'
  if (leaveStep >= index) return 'left'
  return over ? 'timed_out' : 'sent'
}
