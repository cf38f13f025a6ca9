import type { Logger } from 'pino'
import type { Keyring } from '../codes/keyring'
import type { AlertPolicy } from '../core/alerts/policy'
import type { Retention } from '../core/recipients/retention'
import type { Wake } from '../core/requests/wake'
import type { Database } from '../db'
import type { ProviderAccount } from '../providers/provider'

/** What activities work with; made once per process. */
export interface ActivityDeps {
  db: Database
  keyring: Keyring
  providers: ReadonlyMap<string, ProviderAccount>
  /** Where this process stands; it claims nothing for an app of another region. */
  region?: string | undefined
  /** How long what is kept is kept; may change from one reading to the next. */
  retention: Retention
  /** What the policy file says about alerts now. */
  alertPolicy: () => AlertPolicy
  /** Our public address, for callback URLs. */
  publicUrl: string
  /** Tells a run what was committed; never throws: the sweeper repeats what was lost. */
  wake: (wake: Wake) => Promise<void>
  log: Logger
}
