import { checkProviders } from './check-providers'
import { conclude } from './conclude'
import type { ActivityDeps } from './deps'
import { inOurWords } from './failure'
import {
  cancelByOperator,
  failNothingAccepted,
  readPast,
  readProgress,
  recordPlanEnded,
  recordSkipped,
} from './record'
import { retain } from './retain'
import { sendCode } from './send-code'
import { settleSend } from './settle-send'
import { watchAbuse } from './watch-abuse'
import { watchAlerts } from './watch-alerts'

/** Everything a run may ask of the outside world. */
export const createActivities = (deps: ActivityDeps) => {
  const safe = inOurWords(deps.log)
  return {
    sendCode: safe(sendCode(deps)),
    settleSend: safe(settleSend(deps)),
    readProgress: safe(readProgress(deps)),
    readPast: safe(readPast(deps)),
    recordSkipped: safe(recordSkipped(deps)),
    recordPlanEnded: safe(recordPlanEnded(deps)),
    failNothingAccepted: safe(failNothingAccepted(deps)),
    cancelByOperator: safe(cancelByOperator(deps)),
    conclude: safe(conclude(deps)),
    retain: safe(retain(deps)),
    checkProviders: safe(checkProviders(deps)),
    watchAbuse: safe(watchAbuse(deps)),
    watchAlerts: safe(watchAlerts(deps)),
  }
}
export type Activities = ReturnType<typeof createActivities>
