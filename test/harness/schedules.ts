import { isGrpcDeadlineError, type ScheduleHandle, ScheduleOverlapPolicy } from '@temporalio/client'
import { until } from './client'

/** Makes a schedule or brings it up to date, again where Temporal took too long on a busy machine. */
export const asWorkersDo = (make: () => Promise<void>): Promise<unknown> =>
  until(
    () =>
      make().then(
        () => true,
        (error: unknown) => {
          if (isGrpcDeadlineError(error)) return false
          throw error
        },
      ),
    { within: 50_000, what: 'the schedule' },
  )

/**
 * Pauses a schedule, and waits until Temporal has taken that up. It is asked until it has: where an update is still on
 * its way, Temporal applies that after the pause, with the state of before.
 */
export const pauseSchedule = (handle: ScheduleHandle): Promise<unknown> =>
  until(
    async () => {
      await handle.pause('an operator looks at something')
      return (await handle.describe()).state.paused
    },
    { what: 'the pause' },
  )

/**
 * Starts a run of a paused schedule beside any that is under way, and gives back its id once Temporal names it. A run
 * that is buffered instead would start only when Temporal's scheduler notices that the one before has ended.
 */
export async function triggerRun(handle: ScheduleHandle): Promise<string> {
  const actions = async () => (await handle.describe()).info.recentActions
  // The id of a run ends with the second of its start, and two runs cannot have the same.
  const before = await until(async () => {
    const taken = await actions()
    const latest = taken.at(-1)?.takenAt.getTime() ?? 0
    return Date.now() - latest > 1_000 && taken
  })
  const known = new Set(before.map(({ action }) => action.workflow.firstExecutionRunId))
  await handle.trigger(ScheduleOverlapPolicy.ALLOW_ALL)
  const { action } = await until(
    async () =>
      (await actions()).find(({ action }) => !known.has(action.workflow.firstExecutionRunId)),
    { within: 50_000, what: 'the run that was triggered' },
  )
  return action.workflow.workflowId
}
