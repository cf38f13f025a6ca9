import { Context } from '@temporalio/activity'
import { ApplicationFailure, TemporalFailure } from '@temporalio/common'
import type { Logger } from 'pino'

type Activity<A extends unknown[], R> = (...args: A) => Promise<R>

/**
 * Lets an activity fail in our words only: Temporal keeps failures for every operator to read, and errors of
 * Postgres and of providers quote values. The worker's log has the whole error.
 */
export const inOurWords =
  (log: Logger) =>
  <A extends unknown[], R>(activity: Activity<A, R>): Activity<A, R> =>
  async (...args) => {
    try {
      return await activity(...args)
    } catch (error) {
      if (error instanceof TemporalFailure) throw error
      const { activityType, workflowExecution } = Context.current().info
      log.warn(
        { requestId: workflowExecution?.workflowId, activity: activityType, err: error },
        'an activity failed',
      )
      throw ApplicationFailure.create({
        message: `${activityType} failed; the worker's log says why`,
        // The run tells by it what not to try again.
        type: error instanceof Error ? error.name : 'Error',
      })
    }
  }
