import {
  proxyActivities,
  proxyLocalActivities,
  ActivityCancellationType,
} from '@temporalio/workflow'
import type { Activities } from '../activities'
import { sendRetries } from '../core/plan'
import type { SendOrder } from '../core/otp-request'

/** Short statements on Postgres. They are repeated until it answers: a run never gives up on its own record. */
export const activities = proxyLocalActivities<Activities>({
  startToCloseTimeout: '5s',
  retry: {
    initialInterval: '200ms',
    maximumInterval: '5s',
    nonRetryableErrorTypes: ['UnknownRequest'],
  },
})

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
