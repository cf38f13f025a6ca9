import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleOptions,
  ScheduleOverlapPolicy,
} from '@temporalio/client'
import type { Duration } from '@temporalio/common'
import { pings } from '../core/delivery/breaker'

/** The id of the schedule that a task queue's retention runs by; that of its runs begins with it. */
export const retentionScheduleId = (taskQueue: string): string => `otpilot-retention-${taskQueue}`
/** The same of the one that looks after provider accounts. */
export const healthScheduleId = (taskQueue: string): string => `otpilot-health-${taskQueue}`

/** The same of the one that watches for abuse. */
const abuseScheduleId = (taskQueue: string): string => `otpilot-abuse-${taskQueue}`

/** Has the retention run every hour, one at a time. */
export const scheduleRetention = (client: Client, taskQueue: string): Promise<void> =>
  schedule(client, {
    scheduleId: retentionScheduleId(taskQueue),
    workflowType: 'retention',
    taskQueue,
    every: '1h',
    summary: 'removes what has had its time',
    // Runs that nobody could start are not made up for: the next one removes what they would have.
    catchupWindow: '1m',
  })

/** Has all provider accounts looked after every 30 s, by one run. */
export const scheduleHealth = (client: Client, taskQueue: string): Promise<void> =>
  schedule(client, {
    scheduleId: healthScheduleId(taskQueue),
    workflowType: 'providerHealth',
    taskQueue,
    every: `${pings.everySeconds}s`,
    summary: 'pings provider accounts and sums up what they achieved',
    catchupWindow: '10s',
  })

/** Has what only shows after a while looked at every minute, by one run. */
export const scheduleAbuseWatch = (client: Client, taskQueue: string): Promise<void> =>
  schedule(client, {
    scheduleId: abuseScheduleId(taskQueue),
    workflowType: 'abuseWatch',
    taskQueue,
    every: '60s',
    summary: 'counts codes that did not come back, and judges by the slow fraud rules',
    catchupWindow: '10s',
  })

interface Regular {
  scheduleId: string
  workflowType: string
  taskQueue: string
  every: Duration
  summary: string
  /** How much too late a run may still start. */
  catchupWindow: Duration
}

/**
 * Made where there is none; an older version's is brought up to date, and one that an operator has paused stays paused.
 */
async function schedule(client: Client, regular: Regular): Promise<void> {
  const { scheduleId, workflowType, taskQueue, every, summary, catchupWindow } = regular
  const spec = { intervals: [{ every }] }
  const action = {
    type: 'startWorkflow' as const,
    workflowType,
    workflowId: scheduleId,
    taskQueue,
    args: [],
    staticSummary: summary,
  }
  const policies: ScheduleOptions['policies'] = {
    overlap: ScheduleOverlapPolicy.SKIP,
    catchupWindow,
  }
  try {
    await client.schedule.create({ scheduleId, spec, action, policies })
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
    await client.schedule
      .getHandle(scheduleId)
      .update(({ state }) => ({ spec, action, policies, state }))
  }
}
