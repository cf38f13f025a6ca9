import { setTimeout as pause } from 'node:timers/promises'
import {
  type Client,
  type Connection,
  WorkflowExecutionAlreadyStartedError,
} from '@temporalio/client'
import type { Logger } from 'pino'
import { searchAttributes } from '../core/requests/search-attributes'
import type { Startable } from '../db/requests/new-request'
import type { otpRequest } from '../workflows'
import { EngineDown, EngineOverloaded, grpc, grpcCodeOf } from './temporal-error'

/** A start is waited for this long, never failed fast: a short outage of Temporal costs a second, not a send. */
const startDeadlineMs = 1_500
/** A start that has taken this share of its time has Temporal's health asked beside it, so that the answer is there in time. */
const suspiciousShare = 0.6
const retryPauseMs = 100

/** A run may live so much longer than its request, in milliseconds: Postgres may be away when it wants to conclude. */
const concludeWithinMs = 15 * 60_000

interface Starting {
  client: Client
  connection: Connection
  taskQueue: string
  healthy: () => Promise<boolean>
  log: Logger
}

/**
 * Starts the run of a request; harmless while it runs.
 * @returns `ran_before`: a run of it has ended by itself
 * @param withinMs the deadline, where a call has waited for other things before
 * @throws {EngineDown} or {EngineOverloaded} after the deadline
 */
export async function startRun(
  deps: Starting,
  request: Startable,
  withinMs = startDeadlineMs,
): Promise<{ runId: string } | 'ran_before'> {
  const deadline = Date.now() + withinMs
  let health: Promise<boolean> | undefined
  const suspicion = setTimeout(() => {
    health = deps.healthy()
  }, withinMs * suspiciousShare)
  try {
    for (;;) {
      try {
        return await startOnce(deps, request, deadline)
      } catch (error) {
        const isUnavailable = grpcCodeOf(error) === grpc.unavailable
        if (!isUnavailable || Date.now() + retryPauseMs >= deadline)
          throw await explain(deps, request, error, health)
        await pause(retryPauseMs)
      }
    }
  } finally {
    clearTimeout(suspicion)
  }
}

async function startOnce(
  { client, connection, taskQueue }: Starting,
  request: Startable,
  deadline: number,
): Promise<{ runId: string } | 'ran_before'> {
  try {
    const handle = await connection.withDeadline(deadline, () =>
      client.workflow.start<typeof otpRequest>('otpRequest', {
        workflowId: request.input.requestId,
        taskQueue,
        args: [request.input],
        // Postgres says that the request goes on: then a run that is over was ended by somebody, or by a fault.
        workflowIdReusePolicy: request.input.resumed
          ? 'ALLOW_DUPLICATE'
          : 'ALLOW_DUPLICATE_FAILED_ONLY',
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowExecutionTimeout:
          Math.max(request.input.expiresAt - Date.now(), 0) + concludeWithinMs,
        // A run that a killed worker was busy with stands still for this long; by default it would be 10 s.
        workflowTaskTimeout: '5s',
        typedSearchAttributes: attributesOf(request),
        // Where the server shares its task queues by it, one app's flood does not keep another's runs waiting.
        priority: { fairnessKey: request.appId },
        staticSummary: request.input.steps.map(({ channel }) => channel).join(' → '),
      }),
    )
    return { runId: handle.firstExecutionRunId }
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return 'ran_before'
    throw error
  }
}

/** Tells an outage from an overload: an engine that still answers a health call is merely busy. */
async function explain(
  { healthy, log }: Starting,
  { input }: Startable,
  cause: unknown,
  health: Promise<boolean> | undefined,
): Promise<Error> {
  const code = grpcCodeOf(cause)
  if (code === grpc.resourceExhausted)
    return new EngineOverloaded('Temporal sheds load.', { cause })
  const tookTooLong = code === grpc.deadlineExceeded || code === grpc.cancelled
  if (code !== grpc.unavailable && !tookTooLong) {
    log.error({ requestId: input.requestId, err: cause }, 'Temporal refused to start a run')
    return new EngineDown('Temporal refused the start.', { cause })
  }
  return (await (health ?? healthy()))
    ? new EngineOverloaded('Temporal did not start the run in time.', { cause })
    : new EngineDown('Temporal does not answer.', { cause })
}

function attributesOf({ input, appId, country }: Startable) {
  const first = input.steps[0]
  return [
    { key: searchAttributes.state, value: 'pending' },
    { key: searchAttributes.app, value: appId },
    ...(first ? [{ key: searchAttributes.channel, value: first.channel }] : []),
    ...(first?.providers[0] ? [{ key: searchAttributes.provider, value: first.providers[0] }] : []),
    ...(country ? [{ key: searchAttributes.country, value: country }] : []),
  ]
}
