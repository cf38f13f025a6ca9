import {
  NativeConnection,
  type NativeConnectionOptions,
  Worker,
  type WorkerOptions,
} from '@temporalio/worker'
import { createActivities } from '../activities'
import type { ActivityDeps } from '../activities/deps'

export interface OtpWorkerOptions extends ActivityDeps {
  connection: NativeConnectionOptions
  namespace: string
  taskQueue: string
  /** The prebuilt bundle in production, else the sources. */
  workflows: Pick<WorkerOptions, 'workflowBundle' | 'workflowsPath' | 'interceptors'>
}

/** A worker for runs and activities. Its `connection` is to be closed after `worker.run()`. */
export async function createWorker(
  options: OtpWorkerOptions,
): Promise<{ worker: Worker; connection: NativeConnection }> {
  const { namespace, taskQueue, workflows } = options
  const connection = await NativeConnection.connect(options.connection)
  try {
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue,
      ...workflows,
      // As a whole: what follows the policy file is read when it is needed.
      activities: createActivities(options),
      maxConcurrentActivityTaskExecutions: 200,
      // A killed worker's runs go to another one after this, not after the default of 10 s.
      stickyQueueScheduleToStartTimeout: '2s',
      maxHeartbeatThrottleInterval: '500ms',
      defaultHeartbeatThrottleInterval: '500ms',
      shutdownGraceTime: '12s',
      shutdownForceTime: '20s',
    })
    return { worker, connection }
  } catch (error) {
    await connection.close()
    throw error
  }
}
