import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  condition,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
  TimeoutFailure,
} from '@temporalio/workflow'
import type { Activities } from '../activities'
import { sendRetries } from '../core/requests/plan'
import type { SendOrder } from '../core/requests/otp-request'

const unknownRequest = 'UnknownRequest'

/**
 * Short statements on Postgres, tried once: a local activity that is repeated, or takes longer than this, keeps its
 * workflow task open by a heartbeat of three events every four seconds, for as long as Postgres is away.
 */
const statements = proxyLocalActivities<Activities>({
  startToCloseTimeout: '3500ms',
  retry: { maximumAttempts: 1 },
})

/** Between two tries, in milliseconds: each pause is longer than the one before, so that an outage costs few events. */
const pauses = { firstMs: 2_000, growth: 3, longestMs: 30_000 }

/**
 * Has Postgres asked, or told, until it answers: a run never gives up on its own record. What fails quickly is tried again
 * at once, since a connection may just have broken. A signal ends a pause: the sweeper sends one when Postgres is back.
 */
export async function record<T>(
  run: { signals: number },
  work: (asked: typeof statements) => Promise<T>,
): Promise<T> {
  let pauseMs = 0
  for (;;) {
    const { signals } = run
    try {
      return await work(statements)
    } catch (error) {
      if (isCancellation(error) || isOfNoRequest(error)) throw error
      const isSlow = error instanceof ActivityFailure && error.cause instanceof TimeoutFailure
      pauseMs = pauseMs === 0 && isSlow ? pauses.firstMs : pauseMs
    }
    if (pauseMs > 0) {
      await condition(() => run.signals !== signals, pauseMs, {
        summary: 'Postgres does not answer: asked again',
      })
    }
    pauseMs = Math.min(Math.max(pauseMs * pauses.growth, pauses.firstMs), pauses.longestMs)
  }
}

const isOfNoRequest = (error: unknown): boolean =>
  error instanceof ActivityFailure &&
  error.cause instanceof ApplicationFailure &&
  error.cause.type === unknownRequest

/** Silence for this long means that the worker died in the middle of a provider call. */
const heartbeatTimeoutMs = 2_000

/** What an activity may take beside the call: mostly none of it, all of it while Postgres stumbles. */
const recordMs = 8_000

/** One send with its retries; the activity makes none that its budget has no room for. */
export const sendCode = (order: SendOrder) =>
  proxyActivities<Pick<Activities, 'sendCode'>>({
    startToCloseTimeout: order.callTimeoutMs + recordMs,
    heartbeatTimeout: heartbeatTimeoutMs,
    // The run moves on at once; the call's own row is written all the same.
    cancellationType: ActivityCancellationType.TRY_CANCEL,
    retry: {
      initialInterval: sendRetries.initialIntervalMs,
      backoffCoefficient: sendRetries.backoff,
      // The activity itself counts its tries; what is left here is workers that die, one after the other.
      maximumAttempts: 20,
      maximumInterval: '4s',
    },
    summary: `${order.channel} via ${order.provider}`,
  }).sendCode(order)
