import { join } from 'node:path'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate as runMigrations } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'

/** One number for "otpilot migrates": processes that start together wait for each other. */
const lockId = 0x07b1
const folder = join(process.cwd(), 'migrations')

/**
 * Brings the database to the newest schema; does nothing when it is there.
 * @throws when Postgres cannot be reached or a migration fails; a failed one leaves nothing behind.
 */
export async function migrate(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    await client.query('select pg_advisory_lock($1)', [lockId])
    await runMigrations(drizzle(client), { migrationsFolder: folder })
  } finally {
    await client.end()
  }
}
