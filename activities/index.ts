import type { Logger } from 'pino'
import type { Keyring } from '../codes/keyring'
import type { Database } from '../db'
import type { ProviderAccount } from '../providers/provider'
import { conclude } from './conclude'
import {
  cancelByOperator,
  failNothingAccepted,
  readProgress,
  recordPlanEnded,
  recordSkipped,
} from './record'
import { sendCode } from './send-code'
import { settleSend } from './settle-send'

export interface ActivityDeps {
  db: Database
  keyring: Keyring
  providers: ReadonlyMap<string, ProviderAccount>
  /** Our public address, for callback URLs. */
  publicUrl: string
  log: Logger
}

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
