import {
  Client,
  Connection,
  type ConnectionOptions,
  WorkflowNotFoundError,
} from '@temporalio/client'
import type { Logger } from 'pino'
import type { EventDeliveryInput } from '../core/event'
import type { Wake } from '../core/wake'
import type { Queries } from '../db'
import type { Startable } from '../db/requests/new-request'
import { clearSignalDue } from '../db/requests/signals'
import { startEventDelivery } from './start-event-delivery'
import { scheduleAbuseWatch, scheduleHealth, scheduleRetention } from './schedules'
import { registerSearchAttributes } from './search-attributes'
import { startRun } from './starting'

export { EngineDown, EngineOverloaded } from './temporal-error'

/** Time-outs of calls that are made beside the start, in milliseconds. */
const healthDeadlineMs = 800
const signalDeadlineMs = 1_000
const registrationDeadlineMs = 5_000
/** A poller that was not heard of for longer than a long poll is gone. */
const pollerSilenceMs = 75_000

/** The API's and the sweeper's side of Temporal. */
export interface Engine {
  /**
   * Starts the run of a request; harmless when it has started before. Takes 1.7 s at most.
   * @throws {EngineDown} or {EngineOverloaded}
   */
  start(request: Startable, withinMs?: number): Promise<{ runId: string }>
  /** Tells a run what was committed; never throws: the sweeper repeats what was lost. */
  wake(wake: Wake): Promise<void>
  /** Makes a run look at Postgres; for the sweeper. @throws when Temporal does not take it */
  lookAgain(mark: { requestId: string; dueAt: Date }): Promise<void>
  /** Goes on with an event whose first call failed. @throws when Temporal does not take it */
  startRetries(delivery: EventDeliveryInput): Promise<void>
  healthy(): Promise<boolean>
  workerIsPolling(): Promise<boolean>
  /** Makes the search attributes known to the namespace; harmless when they are. */
  registerSearchAttributes(): Promise<void>
  /** Has the retention run every hour; harmless when it does. @throws when Temporal does not take it */
  scheduleRetention(): Promise<void>
  /** Has provider accounts looked after every 30 s; harmless when they are. @throws when Temporal does not take it */
  scheduleHealth(): Promise<void>
  /** Has abuse watched for, by one run a minute. */
  scheduleAbuseWatch(): Promise<void>
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
export function createEngine(options: EngineOptions): Engine {
  const { namespace, taskQueue, log, db } = options
  const connection = Connection.lazy({
    ...options.connection,
    // A server that is back is found at once, not after gRPC's default back-off of up to two minutes.
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 500 },
  })
  const client = new Client({ connection, namespace })
  const calls = createCalls()
  const healthy = calls.counted(() => isServing(connection))
  return {
    healthy,
    start: calls.counted((request, withinMs) =>
      startRun({ client, connection, taskQueue, healthy, log }, request, withinMs),
    ),
    wake: calls.counted(async ({ requestId, dueAt, signal: name, ...notice }) => {
      try {
        await signal(client, requestId, name, Object.keys(notice).length > 0 ? [notice] : [])
        await clearSignalDue(db, { requestId, dueAt })
      } catch (error) {
        log.debug(
          { requestId, signal: name, err: error },
          'a signal was not sent: the sweeper repeats it',
        )
      }
    }),
    lookAgain: calls.counted(async (mark) => {
      await signal(client, mark.requestId, 'lookAgain', [])
      await clearSignalDue(db, mark)
    }),
    startRetries: calls.counted((delivery) => startEventDelivery({ client, taskQueue }, delivery)),
    workerIsPolling: calls.counted(() => isPolled(connection, { namespace, taskQueue })),
    registerSearchAttributes: calls.counted(() =>
      within(connection, registrationDeadlineMs, () =>
        registerSearchAttributes(connection, namespace),
      ),
    ),
    scheduleRetention: calls.counted(() =>
      within(connection, registrationDeadlineMs, () => scheduleRetention(client, taskQueue)),
    ),
    scheduleAbuseWatch: calls.counted(() =>
      within(connection, registrationDeadlineMs, () => scheduleAbuseWatch(client, taskQueue)),
    ),
    scheduleHealth: calls.counted(() =>
      within(connection, registrationDeadlineMs, () => scheduleHealth(client, taskQueue)),
    ),
    async close() {
      await calls.over()
      await connection.close()
    },
  }
}

/**
 * Counts calls under way. The client repeats a call that a closing connection cuts off, on that very connection, and
 * what is thrown then is caught by nobody: it would end the process. All calls have deadlines of seconds.
 */
function createCalls() {
  const underWay = new Set<Promise<unknown>>()
  return {
    counted:
      <Args extends unknown[], T>(call: (...args: Args) => Promise<T>) =>
      (...args: Args): Promise<T> => {
        const result = call(...args)
        const forget = () => void underWay.delete(result)
        underWay.add(result)
        result.then(forget, forget)
        return result
      },
    over: async (): Promise<void> => {
      while (underWay.size > 0) await Promise.allSettled(underWay)
    },
  }
}

const within = <T>(connection: Connection, ms: number, call: () => Promise<T>) =>
  connection.withDeadline(Date.now() + ms, call)

async function signal(
  client: Client,
  requestId: string,
  name: string,
  args: unknown[],
): Promise<void> {
  try {
    await client.withDeadline(Date.now() + signalDeadlineMs, () =>
      client.workflow.getHandle(requestId).signal(name, ...args),
    )
  } catch (error) {
    // The run is over: it needs no more news.
    if (!(error instanceof WorkflowNotFoundError)) throw error
  }
}

async function isServing(connection: Connection): Promise<boolean> {
  try {
    const { status } = await within(connection, healthDeadlineMs, () =>
      connection.healthService.check({}),
    )
    return status === 1
  } catch {
    return false
  }
}

async function isPolled(
  connection: Connection,
  { namespace, taskQueue }: Pick<EngineOptions, 'namespace' | 'taskQueue'>,
): Promise<boolean> {
  const workflowTasks = 1
  try {
    const { pollers } = await within(connection, healthDeadlineMs, () =>
      connection.workflowService.describeTaskQueue({
        namespace,
        taskQueue: { name: taskQueue },
        taskQueueType: workflowTasks,
      }),
    )
    return (pollers ?? []).some(
      ({ lastAccessTime }) =>
        Date.now() - Number(lastAccessTime?.seconds ?? 0) * 1000 < pollerSilenceMs,
    )
  } catch {
    return false
  }
}
