import { activityInfo } from '@temporalio/activity'
import { ApplicationFailure } from '@temporalio/common'
import { busyPauseMs, type DeliveryState } from '../core/events/event'
import { takeForRetry } from '../db/events/taking'
import { claimSeconds, deliver, type DeliverDeps } from '../events/deliver'
import { inOurWords } from './failure'
import type { Logger } from 'pino'

/** One more try of a delivery. */
export interface EventTry {
  deliveryId: string
  replays: number
  /** None follows. */
  last: boolean
}

const deliverEvent =
  (deps: DeliverDeps) =>
  async ({ deliveryId, replays, last }: EventTry): Promise<DeliveryState> => {
    const { db, region } = deps
    const taken = await takeForRetry(db, { id: deliveryId, replays, claimSeconds, region })
    if (taken === 'busy') {
      throw ApplicationFailure.create({
        message: 'The endpoint gets no more calls at a time, or is called from another region.',
        type: 'EndpointBusy',
        nextRetryDelay: busyPauseMs(activityInfo().attempt, Math.random()),
      })
    }
    if (typeof taken === 'string') return taken
    // Undecided: another call has decided it, or it was started anew. Either way this run has nothing more to do.
    return (await deliver(deps, taken, { last })) ?? 'failed'
  }

/** What the runs of failed deliveries ask for; they have workers of their own. */
export const createEventActivities = ({ log, ...deps }: DeliverDeps & { log: Logger }) => ({
  deliverEvent: inOurWords(log)(deliverEvent(deps)),
})
export type EventActivities = ReturnType<typeof createEventActivities>
