import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { freePort } from '../../cli/ports'
import { findPostgres, startPostgres } from '../../cli/postgres'
import { migrate } from '../../db/setup/migrate'
import { dumpSchema } from '../../db/setup/schema-dump'

/** Writes db/schema.sql: a database of its own is migrated and dumped. Run by `npm run schema` after a migration. */
async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'otpilot-schema-'))
  chmodSync(folder, 0o755)
  const place = findPostgres(folder)
  const postgres = await startPostgres(place, {
    port: await freePort(),
    logFile: join(folder, 'postgres.log'),
  })
  try {
    await migrate(postgres.url)
    const client = new Client({ connectionString: postgres.url })
    await client.connect()
    writeFileSync(join('db', 'schema.sql'), await dumpSchema(client))
    await client.end()
  } finally {
    await postgres.stop()
    for (const path of [folder, place.cluster]) rmSync(path, { recursive: true, force: true })
  }
}

void main()
