import { type SQL, sql } from 'drizzle-orm'
import type { Environment } from '../../core/requests/state'
import type { Named } from '../statement'

/**
 * Whose requests a call may see and touch: an app's, and of them those of the key's environment, so that a test key
 * can neither read nor resend what goes to real people.
 */
export interface Owner {
  appId: string
  environment: Environment
}

/** The condition on `otp_requests` that holds an owner to its own. */
export const ownedBy = ({ appId, environment }: Owner | Named<Owner>): SQL =>
  sql`app_id = ${appId} and environment = ${environment}`
