import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import { assertEncrypted } from '../../config/clear-text'
import { roles, separateRoles } from '../../db/setup/roles'
import { makeTemporalRole, temporalNames } from '../../db/setup/temporal-role'
import { bringUpToDate } from '../tables'
import { databaseUrl } from './connection'

export const addTableCommands = (program: Command): void => {
  program
    .command('migrate')
    .description(
      'brings the tables up to date, with the role of MIGRATION_DATABASE_URL where it is set, and gives the role of DATABASE_URL its rights',
    )
    .action(() => bringUpToDate(urlOfMigrator() ?? databaseUrl(), databaseUrl()))

  program
    .command('create-roles')
    .description(
      'parts owner, migrator and service of the database in SUPERUSER_DATABASE_URL; passwords come from DATABASE_URL and MIGRATION_DATABASE_URL, or are made and printed',
    )
    .action(createRoles)

  program
    .command('create-temporal-role')
    .description(
      'gives a Temporal server on the same Postgres a role and two databases of its own; run by SUPERUSER_DATABASE_URL after create-roles, the password is TEMPORAL_POSTGRES_PASSWORD',
    )
    .action(createTemporalRole)
}

function urlOfMigrator(): string | undefined {
  const url = process.env.MIGRATION_DATABASE_URL
  return url ? assertEncrypted('MIGRATION_DATABASE_URL', url, process.env) : undefined
}

function urlOfSuperuser(): string {
  const url = process.env.SUPERUSER_DATABASE_URL
  if (!url)
    throw new Error(
      'SUPERUSER_DATABASE_URL is not set: name the database as its superuser reaches it.',
    )
  return assertEncrypted('SUPERUSER_DATABASE_URL', url, process.env)
}

async function createTemporalRole(): Promise<void> {
  const password = process.env.TEMPORAL_POSTGRES_PASSWORD
  if (!password) throw new Error('TEMPORAL_POSTGRES_PASSWORD is not set.')
  await makeTemporalRole(urlOfSuperuser(), password)
  console.log(
    `The databases ${temporalNames.databases.join(' and ')} belong to ${temporalNames.role}.`,
  )
}

async function createRoles(): Promise<void> {
  const superuser = urlOfSuperuser()
  const service = urlOf(roles.app, process.env.DATABASE_URL, superuser)
  const migration = urlOf(roles.migrator, process.env.MIGRATION_DATABASE_URL, superuser)
  await separateRoles(superuser, {
    app: decodeURIComponent(service.url.password),
    migrator: decodeURIComponent(migration.url.password),
  })
  console.log(`The tables belong to ${roles.owner} now.`)
  if (service.isNew) console.log(`Set for API and workers:\n  DATABASE_URL=${service.url.href}`)
  if (migration.isNew)
    console.log(
      `Set for "otpilot migrate", beside DATABASE_URL:\n  MIGRATION_DATABASE_URL=${migration.url.href}`,
    )
  console.log('Run "otpilot migrate" next: it gives the service its rights.')
}

/** The address given for a role, or one beside the superuser's with a password of its own. */
function urlOf(role: string, given: string | undefined, superuser: string) {
  const named = given ? new URL(given) : undefined
  if (named?.username === role && named.password) return { url: named, isNew: false }
  const url = new URL(superuser)
  url.username = role
  url.password = randomBytes(24).toString('hex')
  return { url, isNew: true }
}
