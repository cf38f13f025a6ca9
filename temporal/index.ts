import {
  Client,
  Connection,
  type ConnectionOptions,
  WorkflowNotFoundError,
} from '@temporalio/client'
import type { Logger } from 'pino'
import type { EventDeliveryInput } from '../core/events/event'
import type { Wake } from '../core/requests/wake'
import type { Queries } from '../db'
import type { Startable } from '../db/requests/new-request'
import { noteRestarted, takeRestart } from '../db/requests/restarts'
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

/** Of news that a run is to be told of, as its row has it. */
interface Mark {
  requestId: string
  dueAt: Date
}

/** The API's and the sweeper's side of Temporal. */
export interface Engine {
  /**
   * Starts the run of a request; harmless when it has started before. Takes 1.7 s at most.
   * @throws {EngineDown} or {EngineOverloaded}
   */
  start(request: Startable, withinMs?: number): Promise<{ runId: string }>
  /**
   * Tells a run what was committed, and starts one that goes on where there is none; never throws: the sweeper repeats
   * what was lost.
   */
  wake(wake: Wake): Promise<void>
  /** Makes a run look at Postgres, or starts it again; for the sweeper. @throws when Temporal does not take it */
  lookAgain(mark: Mark): Promise<void>
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
  const starting = { client, connection, taskQueue, healthy, log }
  const goOn = (requestId: string) => restart({ starting, db, log }, requestId)
  /** A run that is told, or that reads Postgres since it begins now, needs the mark no more. */
  const tell = async (mark: Mark, name: string, args: unknown[]) => {
    const isTold = await signal(client, mark.requestId, name, args)
    const isMissing = !isTold && (await goOn(mark.requestId)) === undefined
    await clearSignalDue(db, { ...mark, isMissing })
  }
  return {
    healthy,
    start: calls.counted(async (request, withinMs) => {
      const started = await startRun(starting, request, withinMs)
      if (started !== 'ran_before') return started
      // Either this start was repeated after all, or Postgres knows nothing of what that run did.
      return (await goOn(request.input.requestId)) ?? { runId: 'ended' }
    }),
    wake: calls.counted(async ({ requestId, dueAt, signal: name, ...notice }) => {
      try {
        await tell({ requestId, dueAt }, name, Object.keys(notice).length > 0 ? [notice] : [])
      } catch (error) {
        log.debug(
          { requestId, signal: name, err: error },
          'a signal was not sent: the sweeper repeats it',
        )
      }
    }),
    lookAgain: calls.counted((mark) => tell(mark, 'lookAgain', [])),
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

/** @returns false when there is no run: it has ended, or was deleted, or Temporal never had it. */
async function signal(
  client: Client,
  requestId: string,
  name: string,
  args: unknown[],
): Promise<boolean> {
  try {
    await client.withDeadline(Date.now() + signalDeadlineMs, () =>
      client.workflow.getHandle(requestId).signal(name, ...args),
    )
    return true
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}

/**
 * Starts a run that goes on with a request whose own is gone. Postgres says whether it is wanted, and when.
 * @returns undefined when the request is over, or has been given a run a short while ago
 * @throws {EngineDown} or {EngineOverloaded}
 */
async function restart(
  { starting, db, log }: { starting: Parameters<typeof startRun>[0]; db: Queries; log: Logger },
  requestId: string,
): Promise<{ runId: string } | undefined> {
  const request = await takeRestart(db, requestId)
  if (!request) return undefined
  const started = await startRun(starting, request)
  // Not where every end of a run may be followed by another.
  if (started === 'ran_before') throw new Error('Temporal did not start a run again.')
  await noteRestarted(db, requestId, started.runId)
  log.warn({ requestId }, 'a run was gone: another one goes on with its request')
  return started
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
