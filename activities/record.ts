import type { Channel } from '../core/channel'
import type { Past, Progress } from '../core/requests/otp-request'
import * as past from '../db/requests/past'
import * as progress from '../db/requests/progress'
import { currentRunId } from './execution'
import type { ActivityDeps } from './deps'

export const readProgress =
  ({ db }: ActivityDeps) =>
  (requestId: string): Promise<Progress> =>
    progress.readProgress(db, requestId)

export const readPast =
  ({ db }: ActivityDeps) =>
  (requestId: string): Promise<Past> =>
    past.readPast(db, requestId)

export const recordSkipped =
  ({ db }: ActivityDeps) =>
  (skipped: { requestId: string; step: number; channel: Channel }): Promise<void> =>
    progress.recordSkipped(db, { ...skipped, runId: currentRunId() })

export const recordPlanEnded =
  ({ db }: ActivityDeps) =>
  (requestId: string): Promise<void> =>
    progress.recordPlanEnded(db, requestId, currentRunId())

export const cancelByOperator =
  ({ db }: ActivityDeps) =>
  (requestId: string): Promise<void> =>
    progress.cancelByOperator(db, requestId, currentRunId())

export const failNothingAccepted =
  ({ db }: ActivityDeps) =>
  (requestId: string): Promise<void> =>
    progress.failNothingAccepted(db, requestId, currentRunId())
