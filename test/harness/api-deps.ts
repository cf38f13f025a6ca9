import pino from 'pino'
import type { ApiDeps } from '../../api/deps'
import type { System } from './system'

/** What the API of a system works with, for tests that make another API, or its table of routes, beside it. */
export const apiDepsOf = (system: System, given: Partial<ApiDeps> = {}): ApiDeps => ({
  db: system.db,
  checksDb: system.db,
  readinessDb: system.db,
  keyring: system.keyring,
  engine: system.engine,
  routing: { policy: system.policy, accounts: system.accounts },
  logger: pino({ level: 'silent' }),
  draining: new AbortController().signal,
  isProduction: false,
  publicUrl: system.url,
  sandboxUrl: system.sandboxUrl,
  ...given,
})
