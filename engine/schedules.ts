import { type Client, ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client'

/** The id of the schedule that a task queue's retention runs by; that of its runs begins with it. */
export const retentionScheduleId = (taskQueue: string): string => `otpilot-retention-${taskQueue}`

/**
 * Has the retention run every hour, one at a time. Made where there is none; an older version's is brought up to
 * date, and one that an operator has paused stays paused.
 */
export async function scheduleRetention(client: Client, taskQueue: string): Promise<void> {
  const scheduleId = retentionScheduleId(taskQueue)
  const spec = { intervals: [{ every: '1h' as const }] }
  const action = {
    type: 'startWorkflow' as const,
    workflowType: 'retention',
    workflowId: scheduleId,
    taskQueue,
    args: [],
    staticSummary: 'removes what has had its time',
  }
  // Runs that nobody could start are not made up for: the next one removes what they would have.
  const policies = { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1m' as const }
  try {
    await client.schedule.create({ scheduleId, spec, action, policies })
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
    await client.schedule
      .getHandle(scheduleId)
      .update(({ state }) => ({ spec, action, policies, state }))
  }
}
