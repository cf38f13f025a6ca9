import {
  CancellationScope,
  condition,
  isCancellation,
  sleep,
  workflowInfo,
} from '@temporalio/workflow'
import { minLifeForStepMs } from '../core/requests/plan'
import { isOtpRequestInput, type OtpRequestInput } from '../core/requests/otp-request'
import type { State } from '../core/requests/state'
import { refuseInput } from './input'
import { lifetimeOfCode, showEnd, showPlanEnded, showStep, waitingFor } from './operator-view'
import { begunBefore, recallPast } from './resuming'
import { Run } from './run'
import { sendByStep } from './sending'
import { record } from './activities'
import { look } from './looking'

/**
 * Delivers one code channel by channel until a step succeeds, then waits for the request's end.
 * Postgres is the truth about the request; this run decides only what happens next.
 */
export async function otpRequest(input: OtpRequestInput): Promise<State> {
  if (!isOtpRequestInput(input)) throw refuseInput()
  // Whoever reaches Temporal could end a request by a run of another id before its own has called anybody.
  if (workflowInfo().workflowId !== input.requestId) throw refuseInput()
  const run = new Run(input)
  run.listen()
  try {
    await walkPlan(run)
  } catch (error) {
    if (!isCancellation(error)) throw error
    await CancellationScope.nonCancellable(() =>
      record(run, (told) => told.cancelByOperator(input.requestId)),
    )
  }
  return CancellationScope.nonCancellable(() => conclude(run))
}

async function walkPlan(run: Run): Promise<void> {
  const { requestId, steps, expiresAt } = run.input
  const past = await recallPast(run)
  for (const [index, step] of steps.entries()) {
    if (run.isOver()) return
    if (index < (past?.currentStep ?? 0)) continue
    const begun = begunBefore(past, step, index)
    if (!begun && run.lifeLeftMs() < minLifeForStepMs) {
      const skipped = { requestId, step: index, channel: step.channel }
      await record(run, (told) => told.recordSkipped(skipped))
      continue
    }
    showStep(run, step)
    const leaves = () => run.leaveStep >= index
    const toSend = begun?.rest ?? step
    const sentAt = await sendByStep(run, { index, step: toSend, resendSeq: 0, abandon: leaves })
    const startedAt = sentAt ?? begun?.startedAt
    if (run.wasAccepted(index)) {
      const stepEndsAt = (startedAt ?? Date.now()) + step.timeoutMs
      const done = () => run.hasSucceeded() || run.hasFailed(index) || leaves()
      await waitServing(run, { until: stepEndsAt, done, leaves, summary: waitingFor(step) })
    }
    if (run.hasSucceeded() && !leaves()) {
      await waitServing(run, { until: expiresAt, done: leaves, leaves, summary: lifetimeOfCode })
    }
    run.leave(index)
  }
  if (!run.isOver()) await endOfPlan(run)
}

interface Wait {
  /** Epoch milliseconds. */
  until: number
  done: () => boolean
  /** The user asked to go on with the next channel. */
  leaves: () => boolean
  /** The timer's name. */
  summary: string
}

const never = () => false

/** No step is left: either nobody accepted anything, or the codes that are out stay valid until the end. */
async function endOfPlan(run: Run): Promise<void> {
  const { requestId, expiresAt } = run.input
  if (!run.anyAccepted()) {
    await record(run, (told) => told.failNothingAccepted(requestId))
    // It did not end if a receipt shows that somebody has the message after all.
    run.absorb(await record(run, (asked) => asked.readProgress(requestId)))
    if (run.isOver()) return
  }
  await record(run, (told) => told.recordPlanEnded(requestId))
  showPlanEnded(run)
  await waitServing(run, { until: expiresAt, done: never, leaves: never, summary: lifetimeOfCode })
}

/**
 * Waits until `done`, the end of the request or the time `until`, whichever is first, and serves resends meanwhile.
 * A timer says only that nothing was heard, so Postgres is asked before that is believed.
 */
async function waitServing(run: Run, { until, done, leaves, summary }: Wait): Promise<void> {
  const stop = () => done() || run.isOver()
  while (!stop() && Date.now() < until) {
    const woken = await condition(() => stop() || run.hasErrand(), until - Date.now(), { summary })
    if (!woken) run.wantLook()
    // Not where there is nothing to see: a run that began before hints would miss a turn of its own.
    if (run.mustAsk()) await look(run)
    const resend = run.isOver() || leaves() ? undefined : run.takeResend()
    if (resend) {
      const { step, seq: resendSeq } = resend
      await sendByStep(run, { index: run.indexOf(step), step, resendSeq, abandon: leaves })
    }
  }
}

/** Ends the request when its time is over by the database's clock, and learns how it ended. */
async function conclude(run: Run): Promise<State> {
  while (run.concludedAs === undefined) {
    const { requestId } = run.input
    const { state, lifeLeftMs } = await record(run, (asked) => asked.conclude(requestId))
    if (state !== 'pending') run.noteConcluded(state)
    // Temporal's clock was ahead of the database's.
    else
      await sleep(Math.max(lifeLeftMs, 100), {
        summary: "lifetime of the code, by the database's clock",
      })
  }
  showEnd(run, run.concludedAs)
  return run.concludedAs
}
