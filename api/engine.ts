import { setTimeout as pause } from 'node:timers/promises'
import {
  Client,
  Connection,
  type ConnectionOptions,
  isGrpcServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
} from '@temporalio/client'
import type { Logger } from 'pino'
import { searchAttributes } from '../core/search-attributes'
import type { Wake } from '../core/wake'
import type { Queries } from '../db'
import type { Startable } from '../db/sends'
import { clearSignalDue } from '../db/signals'
import type { otpRequest } from '../workflows'

/** A start is waited for this long, never failed fast: a short outage of Temporal costs a second, not a send. */
const startDeadlineMs = 1_500
const healthDeadlineMs = 300
const signalDeadlineMs = 1_000
/** A poller that was not heard of for longer than a long poll is gone. */
const pollerSilenceMs = 75_000

const grpc = {
  // The server's name for a deadline that it saw pass before we did.
  cancelled: 1,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  resourceExhausted: 8,
  unavailable: 14,
}
const codeOf = (error: unknown): number | undefined => {
  const cause = error instanceof Error && !isGrpcServiceError(error) ? error.cause : error
  return isGrpcServiceError(cause) ? cause.code : undefined
}

/** Temporal does not answer. */
export class EngineDown extends Error {
  override name = 'EngineDown'
}
/** Temporal answers, but could not take the start in time. */
export class EngineOverloaded extends Error {
  override name = 'EngineOverloaded'
}

/** The API's and the sweeper's side of Temporal. */
export interface Engine {
  /**
   * Starts the run of a request; harmless when it has started before. Takes 1.8 s at most.
   * @throws {EngineDown} or {EngineOverloaded}
   */
  start(request: Startable): Promise<{ runId: string }>
  /** Tells a run what was committed; never throws: the sweeper repeats what was lost. */
  wake(wake: Wake): Promise<void>
  /** Makes a run look at Postgres; for the sweeper. @throws when Temporal does not take it */
  lookAgain(mark: { requestId: string; dueAt: Date }): Promise<void>
  healthy(): Promise<boolean>
  workerIsPolling(): Promise<boolean>
  /** Makes the search attributes known to the namespace; harmless when they are. */
  registerSearchAttributes(): Promise<void>
  close(): Promise<void>
}

export interface EngineOptions {
  connection: ConnectionOptions
  namespace: string
  taskQueue: string
  db: Queries
  log: Logger
}

/** Connects at the first call, so a process can serve while Temporal is down. */
export function createEngine({
  connection: options,
  namespace,
  taskQueue,
  db,
  log,
}: EngineOptions): Engine {
  const connection = Connection.lazy({
    ...options,
    // A server that is back is found at once, not after gRPC's default back-off of up to two minutes.
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 500 },
  })
  const client = new Client({ connection, namespace })
  const within = <T>(ms: number, call: () => Promise<T>) =>
    connection.withDeadline(Date.now() + ms, call)

  async function healthy(): Promise<boolean> {
    try {
      const { status } = await within(healthDeadlineMs, () => connection.healthService.check({}))
      return status === 1
    } catch {
      return false
    }
  }

  async function startOnce(request: Startable, deadline: number): Promise<{ runId: string }> {
    const { requestId } = request.input
    try {
      const handle = await connection.withDeadline(deadline, () =>
        client.workflow.start<typeof otpRequest>('otpRequest', {
          workflowId: requestId,
          taskQueue,
          args: [request.input],
          workflowIdReusePolicy: 'REJECT_DUPLICATE',
          workflowIdConflictPolicy: 'USE_EXISTING',
          // A run that a killed worker was busy with stands still for this long, by default for 10 s.
          workflowTaskTimeout: '5s',
          typedSearchAttributes: attributesOf(request),
          staticSummary: request.input.steps.map(({ channel }) => channel).join(' → '),
        }),
      )
      return { runId: handle.firstExecutionRunId }
    } catch (error) {
      // It ran and ended already: a start that was repeated after all.
      if (error instanceof WorkflowExecutionAlreadyStartedError) return { runId: 'ended' }
      throw error
    }
  }

  async function start(request: Startable): Promise<{ runId: string }> {
    const deadline = Date.now() + startDeadlineMs
    for (;;) {
      try {
        return await startOnce(request, deadline)
      } catch (error) {
        const code = codeOf(error)
        if (code === grpc.resourceExhausted)
          throw new EngineOverloaded('Temporal sheds load.', { cause: error })
        if (code === grpc.unavailable && Date.now() + 100 < deadline) {
          await pause(100)
          continue
        }
        const tookTooLong = code === grpc.deadlineExceeded || code === grpc.cancelled
        if (code !== grpc.unavailable && !tookTooLong) {
          log.error(
            { requestId: request.input.requestId, err: error },
            'Temporal refused to start a run',
          )
          throw new EngineDown('Temporal refused the start.', { cause: error })
        }
        if (await healthy())
          throw new EngineOverloaded('Temporal did not start the run in time.', { cause: error })
        throw new EngineDown('Temporal does not answer.', { cause: error })
      }
    }
  }

  async function signal(requestId: string, name: string, args: unknown[]): Promise<void> {
    try {
      await within(signalDeadlineMs, () =>
        client.workflow.getHandle(requestId).signal(name, ...args),
      )
    } catch (error) {
      // The run is over: it needs no more news.
      if (!(error instanceof WorkflowNotFoundError)) throw error
    }
  }

  return {
    start,
    healthy,
    async wake({ requestId, dueAt, signal: name, ...notice }) {
      try {
        await signal(requestId, name, Object.keys(notice).length > 0 ? [notice] : [])
        await clearSignalDue(db, { requestId, dueAt })
      } catch (error) {
        log.debug(
          { requestId, signal: name, err: error },
          'a signal was not sent: the sweeper repeats it',
        )
      }
    },
    async lookAgain(mark) {
      await signal(mark.requestId, 'lookAgain', [])
      await clearSignalDue(db, mark)
    },
    async workerIsPolling() {
      try {
        const { pollers } = await within(healthDeadlineMs, () =>
          connection.workflowService.describeTaskQueue({
            namespace,
            taskQueue: { name: taskQueue },
            taskQueueType: 1,
          }),
        )
        return (pollers ?? []).some(
          ({ lastAccessTime }) =>
            Date.now() - Number(lastAccessTime?.seconds ?? 0) * 1000 < pollerSilenceMs,
        )
      } catch {
        return false
      }
    },
    registerSearchAttributes: () =>
      within(5_000, () => registerSearchAttributes(connection, namespace)),
    close: () => connection.close(),
  }
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

/** Temporal's number for the type "Keyword". */
const keyword = 2

async function registerSearchAttributes(connection: Connection, namespace: string): Promise<void> {
  const known = await connection.operatorService.listSearchAttributes({ namespace })
  const missing = Object.values(searchAttributes).filter(
    ({ name }) => !known.customAttributes?.[name],
  )
  if (missing.length === 0) return
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map(({ name }) => [name, keyword])),
    })
  } catch (error) {
    if (codeOf(error) !== grpc.alreadyExists) throw error
  }
}
