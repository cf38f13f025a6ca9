import { conclude } from './conclude'
import type { ActivityDeps } from './deps'
import {
  cancelByOperator,
  failNothingAccepted,
  readProgress,
  recordPlanEnded,
  recordSkipped,
} from './record'
import { sendCode } from './send-code'
import { settleSend } from './settle-send'

/** Everything a run may ask of the outside world. */
export const createActivities = (deps: ActivityDeps) => ({
  sendCode: sendCode(deps),
  settleSend: settleSend(deps),
  readProgress: readProgress(deps),
  recordSkipped: recordSkipped(deps),
  recordPlanEnded: recordPlanEnded(deps),
  failNothingAccepted: failNothingAccepted(deps),
  cancelByOperator: cancelByOperator(deps),
  conclude: conclude(deps),
})
export type Activities = ReturnType<typeof createActivities>
