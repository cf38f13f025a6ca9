import { CancellationScope, condition, isCancellation, sleep } from '@temporalio/workflow'
import { minLifeForStepMs } from '../core/plan'
import type { OtpRequestInput } from '../core/otp-request'
import type { State } from '../core/state'
import { lifetimeOfCode, showEnd, showPlanEnded, showStep, waitingFor } from './operator-view'
import { Run } from './run'
import { sendByStep } from './sending'
import { activities } from './activities'

/**
 * Delivers one code channel by channel until a step succeeds, then waits for the request's end.
 * Postgres is the truth about the request; this run decides only what happens next.
 */
export async function otpRequest(input: OtpRequestInput): Promise<State> {
  const run = new Run(input)
  run.listen()
  try {
    await walkPlan(run)
  } catch (error) {
    if (!isCancellation(error)) throw error
    await CancellationScope.nonCancellable(() => activities.cancelByOperator(input.requestId))
  }
  return CancellationScope.nonCancellable(() => conclude(run))
}

async function walkPlan(run: Run): Promise<void> {
  const { requestId, steps, expiresAt } = run.input
  for (const [index, step] of steps.entries()) {
    if (run.isOver()) return
    if (run.lifeLeftMs() < minLifeForStepMs) {
      await activities.recordSkipped({ requestId, step: index, channel: step.channel })
      continue
    }
    showStep(run, step)
    const leaves = () => run.leaveStep >= index
    const startedAt = await sendByStep(run, { index, step, abandon: leaves })
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
    await activities.failNothingAccepted(requestId)
    // It did not end if a receipt shows that somebody has the message after all.
    run.absorb(await activities.readProgress(requestId))
    if (run.isOver()) return
  }
  await activities.recordPlanEnded(requestId)
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
    if (!woken || run.mustLook) run.absorb(await activities.readProgress(run.input.requestId))
    const resend = run.isOver() || leaves() ? undefined : run.takeResend()
    if (resend) {
      await sendByStep(run, { index: run.indexOf(resend), step: resend, abandon: leaves })
    }
  }
}

/** Ends the request when its time is over by the database's clock, and learns how it ended. */
async function conclude(run: Run): Promise<State> {
  for (;;) {
    const { state, lifeLeftMs } = await activities.conclude(run.input.requestId)
    if (state !== 'pending') {
      showEnd(run, state)
      return state
    }
    // Temporal's clock was ahead of the database's.
    await sleep(Math.max(lifeLeftMs, 100), {
      summary: "lifetime of the code, by the database's clock",
    })
  }
}
