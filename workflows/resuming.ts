import { patched } from '@temporalio/workflow'
import { consequenceOf } from '../core/delivery/fault'
import type { Past } from '../core/requests/otp-request'
import type { Step } from '../core/requests/plan'
import { record } from './activities'
import type { Run } from './run'

/** Learns what an earlier run of the request did, where that one is gone. */
export async function recallPast(run: Run): Promise<Past | undefined> {
  const { requestId, resumed } = run.input
  if (!resumed || !patched('resumed-runs')) return undefined
  const past = await record(run, (asked) => asked.readPast(requestId))
  run.remember(past)
  return past
}

/** How far a step had come. */
export interface Begun {
  /** When its first call was claimed, in epoch milliseconds, where some provider has a message or may have one. */
  startedAt: number | undefined
  /** The step with the providers that are still to be asked. */
  rest: Step
}

/** @returns undefined for a step that had not begun */
export function begunBefore(past: Past | undefined, step: Step, index: number): Begun | undefined {
  if (past?.currentStep !== index) return undefined
  const calls = past.calls.filter((call) => call.step === index)
  const last = calls.at(-1)
  if (!last) return undefined
  if (calls.some(({ taken }) => taken)) {
    const startedAt = Date.now() - Math.max(...calls.map(({ ageMs }) => ageMs))
    return { startedAt, rest: { ...step, providers: [] } }
  }
  const isOver = last.fault !== null && consequenceOf[last.fault] === 'end_step'
  const asked = new Set(calls.map(({ provider }) => provider))
  const providers = isOver ? [] : step.providers.filter((name) => !asked.has(name))
  return { startedAt: undefined, rest: { ...step, providers } }
}
