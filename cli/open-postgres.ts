import { join } from 'node:path'
import { roles, separateRoles } from '../db/setup/roles'
import { rotateLog } from './data-folder'
import { answers, findPostgres, readPassword, startPostgres } from './postgres'
import type { Settings } from './settings'
import type { Supervisor } from './supervisor'

export interface DatabaseUrls {
  /** What the programs use. */
  service: string
  /** What may change tables. */
  migration: string
}

/** The Postgres of this start: the one that DATABASE_URL names, as it is, or the packaged one. */
export const openPostgres = async (
  settings: Settings,
  supervisor: Supervisor,
  say: (sentence: string) => void,
): Promise<DatabaseUrls> => {
  const { env } = settings
  if (!env.DATABASE_URL) return openPackaged(settings, supervisor, say)
  say('Postgres: the server that DATABASE_URL names.')
  await answers(env.DATABASE_URL).catch((error: Error) => {
    throw new Error(`The Postgres that DATABASE_URL names cannot be used: ${error.message}`)
  })
  if (!env.MIGRATION_DATABASE_URL)
    say(
      'With one role for everything, who holds DATABASE_URL can rewrite the audit: docs/operations.md, "Database roles", says how to part them.',
    )
  return { service: env.DATABASE_URL, migration: env.MIGRATION_DATABASE_URL || env.DATABASE_URL }
}

/** Its superuser stays with this process; the programs get the service's role, in older data folders too. */
const openPackaged = async (
  { folder, ports }: Settings,
  supervisor: Supervisor,
  say: (sentence: string) => void,
): Promise<DatabaseUrls> => {
  const place = findPostgres(folder.path)
  say(`Postgres: starting on port ${ports.PGPORT}, data in ${place.cluster}.`)
  if (place.notice) say(place.notice)
  let migration = ''
  const logFile = rotateLog(folder.logFile('postgres'))
  await supervisor.keep('Postgres', async (born) => {
    const postgres = await startPostgres(place, { port: ports.PGPORT, logFile, born })
    migration = postgres.url
    return postgres
  })
  const service = new URL(migration)
  service.username = roles.app
  service.password = readPassword(join(folder.path, 'postgres-app-password'))
  await separateRoles(migration, { app: service.password })
  return { service: service.href, migration }
}
