import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate as runMigrations } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'
import { hasNewestFunctions, makeFunctions } from './functions'
import { grantTo } from './grants'
import { makeIndexes } from './indexes'
import { isSeparated, roles } from './roles'

/** One number for "otpilot migrates": processes that start together wait for each other. */
const lockId = 0x07b1
const folder = join(process.cwd(), 'migrations')

/**
 * Brings the database to the newest schema; does nothing when it is there. In a database that was handed to the
 * owner's role everything is made as that role, and `serviceUrl` says who gets the service's rights.
 * @throws when Postgres cannot be reached or a migration fails; a failed one leaves nothing behind. Indexes of large
 * tables come after the migrations and outside of their transaction: see `indexes.ts`.
 */
export async function migrate(databaseUrl: string, serviceUrl = databaseUrl): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    await waitForTurn(client)
    if (await isSeparated(client)) {
      if (!(await mayBecomeOwner(client))) return await requireNewest(client)
      await client.query(`set role ${roles.owner}`)
    }
    await runMigrations(drizzle(client), { migrationsFolder: folder })
    await makeFunctions(client)
    await makeIndexes(client)
    const role = roleOf(serviceUrl)
    if (role !== roleOf(databaseUrl)) await grantTo(client, role)
  } finally {
    await client.end()
  }
}

/**
 * Asks again and again instead of waiting in Postgres: an index that is made while its table is in use waits for every
 * statement under way, and would wait for the one that waits for it.
 */
async function waitForTurn(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ mine: boolean }>(
      'select pg_try_advisory_lock($1) as mine',
      [lockId],
    )
    if (rows[0]?.mine) return
    await pause(100)
  }
}

async function mayBecomeOwner(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ may: boolean }>(
    `select pg_has_role(current_user, $1, 'member') as may`,
    [roles.owner],
  )
  return rows[0]?.may === true
}

/** A role that may not change tables has nothing to do where they are as they should be. */
async function requireNewest(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ at: string | null }>(
    'select max(created_at)::text as at from drizzle.__drizzle_migrations',
  )
  const newest = readMigrationFiles({ migrationsFolder: folder }).at(-1)?.folderMillis
  if (Number(rows[0]?.at) !== newest || !(await hasNewestFunctions(client)))
    throw new Error(
      'they are of another version, and this role may not change them: name one that may in MIGRATION_DATABASE_URL',
    )
}

const roleOf = (url: string): string => decodeURIComponent(new URL(url).username)
