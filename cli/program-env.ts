import type { Settings } from './settings'
import type { Variables } from './dotenv'

export const programs = ['sandbox', 'api', 'worker'] as const
export type ProgramName = (typeof programs)[number]

/** What callers hold: the service keeps digests of keys and has no use for the keys themselves. */
const ofCallers: readonly string[] = [
  'OTP_API_KEY',
  'OTPILOT_LIVE_KEY',
  'OTPILOT_ADMIN_KEY',
  'OTPILOT_PUBLISHABLE_KEY',
]
/** What makes tables and roles: commands and this start read it, and no program does, so that none can change tables. */
const ofOwners: readonly string[] = [
  'MIGRATION_DATABASE_URL',
  'SUPERUSER_DATABASE_URL',
  'POSTGRES_PASSWORD',
  'POSTGRES_MIGRATOR_PASSWORD',
  'TEMPORAL_POSTGRES_PASSWORD',
]
/** What the sandbox reads of ours; it plays others' services, so that nothing else of ours is its business. */
const ofSandbox: readonly string[] = ['OTPILOT_URL', 'OTPILOT_PUBLISHABLE_KEY']
const ours = /^(OTP_|OTPILOT_|TEMPORAL_|PG|POSTGRES_)|DATABASE_URL$/

function isFor(program: ProgramName, variable: string): boolean {
  if (ofOwners.includes(variable)) return false
  if (program === 'sandbox') return ofSandbox.includes(variable) || !ours.test(variable)
  return !ofCallers.includes(variable)
}

/**
 * The environment of a program: what it needs, so that who reads the one's memory or files has not the keys of the rest.
 * @param variables what the start found or made
 */
export function programEnv(
  program: ProgramName,
  settings: Settings,
  variables: Variables,
): NodeJS.ProcessEnv {
  const all: NodeJS.ProcessEnv = {
    ...settings.env,
    OTPILOT_ENV: settings.env.OTPILOT_ENV || 'development',
    OTPILOT_DATA_DIR: settings.folder.path,
    // Who waits for the start wants to send next, and to read the code in the sandbox.
    OTPILOT_READY_AFTER: settings.env.OTPILOT_READY_AFTER || 'everything',
    PORT: String(settings.ports.PORT),
    SANDBOX_PORT: String(settings.ports.SANDBOX_PORT),
    ...variables,
  }
  return Object.fromEntries(Object.entries(all).filter(([name]) => isFor(program, name)))
}
