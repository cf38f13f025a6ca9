import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate as runMigrations } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'
import { createDatabase, type Database } from '../../db'
import { migrate } from '../../db/setup/migrate'
import { roles } from '../../db/setup/roles'
import { freshDatabase } from './database'

export interface OlderDatabase {
  /** With all rights: an older version's rows are written by hand. */
  db: Database
  /** Brings it up to date, as an update does. */
  migrate(): Promise<void>
  drop(): Promise<void>
}

/** An empty database as an older version left it, whose newest migration was this one. */
export async function olderDatabase(newest: string): Promise<OlderDatabase> {
  const { adminUrl, drop } = await freshDatabase()
  const client = new pg.Client({ connectionString: adminUrl })
  await client.connect()
  await client.query('drop schema public cascade')
  await client.query('drop schema drizzle cascade')
  await client.query(`create schema public authorization ${roles.owner}`)
  await client.query(`set role ${roles.owner}`)
  await runMigrations(drizzle(client), { migrationsFolder: migrationsUntil(newest) })
  await client.end()
  const db = createDatabase(adminUrl)
  return {
    db,
    migrate: () => migrate(adminUrl),
    async drop() {
      await db.close()
      await drop()
    },
  }
}

interface Journal {
  entries: { tag: string }[]
}

/** The migrations up to one, in a folder of their own. */
function migrationsUntil(tag: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'otpilot-migrations-'))
  cpSync('migrations', folder, { recursive: true })
  const path = join(folder, 'meta', '_journal.json')
  const journal = JSON.parse(readFileSync(path, 'utf8')) as Journal
  const last = journal.entries.findIndex((entry) => entry.tag === tag)
  writeFileSync(path, JSON.stringify({ ...journal, entries: journal.entries.slice(0, last + 1) }))
  return folder
}
