import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { freePort } from '../../cli/ports'
import { findPostgres, startPostgres } from '../../cli/postgres'
import { makeKeyFile, openKeyFile } from '../../codes/key-file'
import type { Keyring } from '../../codes/keyring'
import type { Database } from '../../db'
import { migrate } from '../../db/setup/migrate'
import { preparedDatabase } from './prepared-database'

/** Where traffic is run: a Postgres, and for each run a database of its own in it. */
export interface Ground {
  keyring: Keyring
  /** An empty, migrated database for the time of `work`. */
  withDatabase<T>(work: (db: Database, url: string) => Promise<T>): Promise<T>
  stop(): Promise<void>
}

/** Nothing of it has to survive a crash of the machine. */
const quick = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', jit: 'off' }

/**
 * Starts a Postgres whose data are thrown away, or goes to the one of `databaseUrl`, whose role must be one that may
 * create databases. Call `stop` in any case.
 */
export async function openGround(
  databaseUrl: string | undefined,
  settings: Record<string, string> = quick,
): Promise<Ground> {
  const folder = mkdtempSync(join(tmpdir(), 'otpilot-abuse-'))
  chmodSync(folder, 0o755)
  const stops: (() => Promise<void>)[] = []
  let stopping: Promise<void> | undefined
  const stopAll = async () => {
    for (const end of stops.toReversed()) await end()
  }
  // Whoever fails because it is being stopped waits for the end of that too.
  const stop = () => (stopping ??= stopAll())
  // Not once: after Ctrl-C the terminal sends a signal, and npm another, which would end us before Postgres is stopped.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => void stop().finally(() => process.exit(130)))
  try {
    stops.push(async () => rmSync(folder, { recursive: true, force: true }))
    const server = databaseUrl ?? (await startServer(folder, settings, stops))
    const template = `otpilot_abuse_${randomBytes(4).toString('hex')}`
    await run(server, `create database ${template}`)
    stops.push(() => run(server, `drop database ${template} with (force)`))
    await migrate(databaseNamed(server, template))
    const keysFile = join(folder, 'keys.json')
    makeKeyFile(keysFile, 'development')
    const keyring = openKeyFile(keysFile, { strict: false })
    stops.push(async () => keyring.close())
    return { keyring, withDatabase: cloneOf(server, template), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startServer(
  folder: string,
  settings: Record<string, string>,
  stops: (() => Promise<void>)[],
): Promise<string> {
  const place = findPostgres(folder)
  stops.push(async () => rmSync(place.cluster, { recursive: true, force: true }))
  const postgres = await startPostgres(place, {
    port: await freePort(),
    logFile: join(folder, 'postgres.log'),
    settings,
    born: (born) => void stops.push(born.stop),
  })
  return postgres.url
}

const databaseNamed = (server: string, name: string): string => {
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}

async function run(server: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: server, connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/** Clones are made one after the other: Postgres refuses while somebody else looks at the template. */
function cloneOf(server: string, template: string): Ground['withDatabase'] {
  let made = 0
  let last: Promise<unknown> = Promise.resolve()
  return async (work) => {
    const name = `${template}_${++made}`
    const clone = last.then(() => run(server, `create database ${name} template ${template}`))
    last = clone.catch(() => undefined)
    await clone
    const url = databaseNamed(server, name)
    const db = preparedDatabase(url)
    try {
      return await work(db, url)
    } finally {
      await db.close()
      await run(server, `drop database ${name} with (force)`)
    }
  }
}
