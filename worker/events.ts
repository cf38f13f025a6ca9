import { type NativeConnection, Worker } from '@temporalio/worker'
import type { Logger } from 'pino'
import { createEventActivities } from '../activities/deliver-event'
import type { Keyring } from '../codes/keyring'
import { eventTaskQueue, retryDelaysMs } from '../core/events/event'
import type { Database } from '../db'
import type { Engine } from '../temporal'
import type { Reach } from '../events/address'
import { createGuardedDispatcher } from '../events/dispatcher'
import { startEventSender } from '../events/sender'

/** Retries of one process at a time; a receiver that hangs holds one for 15 s. */
const retriesAtOnce = 50

export interface EventsOptions {
  db: Database
  keyring: Keyring
  engine: Pick<Engine, 'startRetries'>
  connection: NativeConnection
  namespace: string
  taskQueue: string
  reach: Reach
  /** Where this process stands; apps of another region are left to a process there. */
  region?: string | undefined
  /** Pauses between tries, in milliseconds; shorter ones are for tests. */
  delaysMs?: readonly number[]
  log: Logger
}

export interface EventsWorker {
  /** Settles when it has stopped; rejects when its part of the worker fails. */
  running: Promise<void>
  /** Takes nothing more from the outbox; runs go on. */
  stopSending: () => Promise<void>
  stop(): Promise<void>
}

/** What tells apps of events: the sender of the outbox, and the worker for the runs of those that failed. */
export async function startEvents({
  engine,
  connection,
  namespace,
  taskQueue,
  delaysMs = retryDelaysMs,
  reach,
  log,
  ...rest
}: EventsOptions): Promise<EventsWorker> {
  const dispatcher = createGuardedDispatcher(reach)
  const deps = { ...rest, reach, dispatcher, log }
  // Activities only: the runs themselves are the common workers' business.
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue: eventTaskQueue(taskQueue),
    activities: createEventActivities(deps),
    maxConcurrentActivityTaskExecutions: retriesAtOnce,
    shutdownGraceTime: '12s',
    shutdownForceTime: '20s',
  })
  const startRetries = engine.startRetries.bind(engine)
  const sender = startEventSender({ ...deps, startRetries, delaysMs })
  const run = async () => {
    try {
      await worker.run()
    } finally {
      await sender.stop()
      await dispatcher.destroy()
    }
  }
  const running = run()
  // Whoever awaits it hears of a failure; until then it must not end the process.
  running.catch(() => undefined)
  return {
    running,
    stopSending: () => sender.stop(),
    stop: async () => {
      if (worker.getState() === 'RUNNING') worker.shutdown()
      await sender.stop()
      await running
    },
  }
}
