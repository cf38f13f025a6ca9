import { proxyActivities, sleep, workflowInfo } from '@temporalio/workflow'
import type { EventActivities } from '../activities/deliver-event'
import {
  type DeliveryState,
  type EventDeliveryInput,
  eventTaskQueue,
  isEventDeliveryInput,
  retryJitter,
} from '../core/events/event'
import { refuseInput } from './input'

/**
 * Goes on with an event whose first call failed, until its receiver has it or the last try is over. Postgres has the
 * event, the address and the log; this run knows when the next try is due.
 */
export async function eventDelivery(input: EventDeliveryInput): Promise<DeliveryState> {
  if (!isEventDeliveryInput(input)) throw refuseInput()
  const { deliveryId, replays, delaysMs } = input
  const { deliverEvent } = proxyActivities<EventActivities>({
    taskQueue: eventTaskQueue(workflowInfo().taskQueue),
    // Longer than a call and its record take. What fails here is not the call, but Postgres or the worker.
    startToCloseTimeout: '40s',
    retry: { initialInterval: '1s', maximumInterval: '60s' },
  })
  for (const [index, delayMs] of delaysMs.entries()) {
    await sleep(delayMs * (1 + retryJitter * Math.random()), { summary: `before try ${index + 2}` })
    const last = index === delaysMs.length - 1
    const state = await deliverEvent({ deliveryId, replays, last })
    if (state === 'delivered' || state === 'failed') return state
  }
  return 'failed'
}
