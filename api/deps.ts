import type { Logger } from 'pino'
import type { ChallengeAccounts } from '../config/challenges'
import type { TrustProxy } from '../config/trust-proxy'
import type { Keyring } from '../codes/keyring'
import type { Wake } from '../core/requests/wake'
import type { RecordedReceipt } from '../db/delivery/receipts'
import type { Database } from '../db/index'
import type { Engine } from '../temporal'
import type { SimSwapCheck } from '../providers/provider'
import type { Routing } from './plan-for'

/** All that the API works with; made once per process. */
export interface ApiDeps {
  db: Database
  /** A pool of its own for checks: sends that wait for Postgres must not keep a user from typing the code. */
  checksDb: Database
  /** One connection for the readiness check: pools that are in use to the last connection are no outage. */
  readinessDb: Database
  keyring: Keyring
  engine: Engine
  routing: Routing
  logger: Logger
  /** Aborts when the process is to end: nothing waits any longer then. */
  draining: AbortSignal
  isProduction: boolean
  /** Proxies whose forwarding headers are believed; none when absent. */
  trustProxy?: TrustProxy | undefined
  /** What calls without encryption get in production; `refuse` when absent. */
  plainHttp?: 'refuse' | 'redirect'
  /** Where this process stands; it serves no app of another region. */
  region?: string | undefined
  /** Public base address, without a slash at its end. */
  publicUrl: string
  /** Where Temporal UI shows a namespace's workflows; absent in production. */
  workflowsUrl?: string | undefined
  /** Its state is shown beside that of the other parts when set. */
  sandboxUrl?: string | undefined
  /** At vendors of challenges; without any, proof of work is all there is. */
  challengeAccounts?: ChallengeAccounts | undefined
  /** Asks operators about SIM cards, beside the accounts of the policy. */
  camara?: SimSwapCheck | undefined
  /** What has to answer before this process calls itself ready for the first time; Postgres when absent. */
  readyAfter?: 'postgres' | 'everything'
}

/** Says in the log that a receipt showed an account to be of no use for now. */
export function logBreaker(
  { logger }: Pick<ApiDeps, 'logger'>,
  { breakerOpened }: Pick<RecordedReceipt, 'breakerOpened'>,
  provider: string,
): void {
  if (breakerOpened)
    logger.warn(
      { provider, fault: 'config' },
      'a breaker opened: the account is left alone for now',
    )
}

/** Wakes runs after a commit, without waiting: what gets lost here the sweeper sends again. */
export function wakeRuns({ engine }: Pick<ApiDeps, 'engine'>, wakes: (Wake | undefined)[]): void {
  for (const wake of wakes) if (wake) void engine.wake(wake)
}
