import { type Client, WorkflowExecutionAlreadyStartedError } from '@temporalio/client'
import { longestDeliveryMs, type EventDeliveryInput } from '../core/events/event'
import type { eventDelivery } from '../workflows'

const startDeadlineMs = 2_000

/** Starts the run that goes on with a delivery; harmless when it has started before. @throws when Temporal does not take it */
export async function startEventDelivery(
  { client, taskQueue }: { client: Client; taskQueue: string },
  input: EventDeliveryInput,
): Promise<void> {
  try {
    await client.withDeadline(Date.now() + startDeadlineMs, () =>
      client.workflow.start<typeof eventDelivery>('eventDelivery', {
        workflowId: `event-${input.deliveryId}-${input.replays}`,
        taskQueue,
        args: [input],
        workflowIdReusePolicy: 'REJECT_DUPLICATE',
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowExecutionTimeout: longestDeliveryMs(input.delaysMs),
      }),
    )
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error
  }
}
