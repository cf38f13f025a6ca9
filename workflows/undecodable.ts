import { defaultPayloadConverter, type WorkflowInterceptors } from '@temporalio/workflow'

type Payload = Parameters<typeof defaultPayloadConverter.fromPayload>[0]

function canBeRead(payload: Payload): boolean {
  try {
    defaultPayloadConverter.fromPayload(payload)
    return true
  } catch {
    return false
  }
}

const readable = (payloads: Payload[] | null | undefined): Payload[] =>
  payloads?.every(canBeRead) ? payloads : []

/**
 * Takes away what no converter can read before the run converts it. The SDK would throw while it hands over the signal or
 * starts the run, which fails the workflow task, for ever: the same history comes with every retry.
 */
export const interceptors = (): WorkflowInterceptors => ({
  internals: [
    {
      activate(input, next) {
        for (const { signalWorkflow, initializeWorkflow } of input.activation.jobs ?? []) {
          if (signalWorkflow) signalWorkflow.input = readable(signalWorkflow.input)
          if (initializeWorkflow)
            initializeWorkflow.arguments = readable(initializeWorkflow.arguments)
        }
        next(input)
      },
    },
  ],
})
