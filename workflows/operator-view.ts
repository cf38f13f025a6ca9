import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow'
import type { SendResult } from '../core/requests/otp-request'
import { ruleFor, type Step } from '../core/requests/plan'
import type { SuccessRule } from '../core/delivery/receipt'
import { searchAttributes } from '../core/requests/search-attributes'
import type { State } from '../core/requests/state'
import type { Run } from './run'

// What an operator reads in Temporal UI: the plain-words detail and the search attributes. No personal data.
// Search attributes cost a history event each, so they are written only when they change.

function show(run: Run, now: string): void {
  const { view } = run
  view.now = now
  setCurrentDetails([now, ...view.past.toReversed()].join('; '))
}

const saidOfAccepted: Record<SuccessRule, string> = {
  accepted: 'accepted',
  delivered: 'accepted, waiting for delivery',
  answered: 'ringing',
  verified: 'accepted, waiting for the code',
}

const awaited: Record<SuccessRule, string> = {
  accepted: 'acceptance',
  delivered: 'delivery',
  answered: 'an answer',
  verified: 'the right code',
}

/** Names of timers. */
export const waitingFor = ({ channel, success }: Step): string =>
  `${channel}: waiting for ${awaited[success]}`
export const lifetimeOfCode = 'lifetime of the code'

/** A new channel begins; the one before ended without success. */
export function showStep(run: Run, step: Step): void {
  const { view } = run
  const before = run.input.steps[run.input.steps.indexOf(step) - 1]
  if (before && view.now !== '') view.past.push(sayEnd(run, before))
  show(run, `${step.channel}: sending`)
}

function sayEnd(run: Run, step: Step): string {
  const index = run.input.steps.indexOf(step)
  if (run.leaveStep >= index) return `${step.channel} was left for the next channel on request`
  if (!run.wasAccepted(index)) return `${step.channel} was accepted by no provider`
  if (run.hasFailed(index)) return `${step.channel} failed by its receipt`
  return `${step.channel} gave no receipt in ${step.timeoutMs / 1000} s`
}

export function showSending(run: Run, step: Step, provider: string): void {
  const { view } = run
  show(run, `${step.channel} via ${provider}: sending`)
  if (view.channel === step.channel && view.provider === provider) return
  view.channel = step.channel
  view.provider = provider
  upsertSearchAttributes([
    { key: searchAttributes.channel, value: step.channel },
    { key: searchAttributes.provider, value: provider },
  ])
}

const saidOfSkipped: Record<Extract<SendResult, { outcome: 'skipped' }>['reason'], string> = {
  message_cap: 'not sent, its recipient got as many messages as it may',
  blocked: 'not sent, its recipient is blocked',
  not_planned: 'not sent, the request has no such step',
}

export function showSent(run: Run, step: Step, provider: string, result: SendResult): void {
  const said =
    result.outcome === 'accepted'
      ? saidOfAccepted[ruleFor(step, provider)]
      : result.outcome === 'in_doubt'
        ? 'no answer from the provider, in doubt'
        : result.outcome === 'refused'
          ? result.attempt === 0
            ? 'not called, it failed of late'
            : `refused (${result.fault})`
          : result.outcome === 'skipped'
            ? saidOfSkipped[result.reason]
            : 'not sent, the request had ended'
  if (result.outcome === 'refused' || result.outcome === 'skipped')
    run.view.past.push(`${step.channel} via ${provider}: ${said}`)
  show(run, `${step.channel} via ${provider}: ${said}`)
}

export function showPlanEnded(run: Run): void {
  const last = run.input.steps.at(-1)
  if (last) run.view.past.push(sayEnd(run, last))
  show(run, 'all channels tried without success: the caller was told, the codes stay valid')
}

export function showEnd(run: Run, state: State): void {
  show(run, `ended: ${state}`)
  upsertSearchAttributes([{ key: searchAttributes.state, value: state }])
}
