import { type ScheduleHandle, ScheduleOverlapPolicy } from '@temporalio/client'
import { until } from './client'

/** Pauses a schedule, and waits until Temporal has taken that up, which it does a moment after it has answered. */
export async function pauseSchedule(handle: ScheduleHandle): Promise<void> {
  await handle.pause('an operator looks at something')
  await until(async () => (await handle.describe()).state.paused, { what: 'the pause' })
}

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
