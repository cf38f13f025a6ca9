import { Context } from '@temporalio/activity'

/** The run that asked, for audit rows. */
export const currentRunId = (): string => Context.current().info.workflowExecution?.runId ?? 'none'
