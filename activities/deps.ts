import type { Logger } from 'pino'
import type { Keyring } from '../codes/keyring'
import type { Database } from '../db'
import type { ProviderAccount } from '../providers/provider'

/** What activities work with; made once per process. */
export interface ActivityDeps {
  db: Database
  keyring: Keyring
  providers: ReadonlyMap<string, ProviderAccount>
  /** Our public address, for callback URLs. */
  publicUrl: string
  log: Logger
}
