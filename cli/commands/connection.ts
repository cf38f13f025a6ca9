import { assertEncrypted } from '../../config/clear-text'
import { createDatabase } from '../../db'
import type { Database } from '../../db'

/** The Postgres that DATABASE_URL names. */
export const databaseUrl = (): string => {
  const url = process.env.DATABASE_URL
  if (!url)
    throw new Error(
      'DATABASE_URL is not set: name the Postgres of this installation. That of npm start: set -a; . .otpilot/env; set +a',
    )
  return assertEncrypted('DATABASE_URL', url, process.env)
}

/** For the few statements of a command: none is prepared, so that any pooler will do. */
export const openDatabase = (url: string): Database =>
  createDatabase(assertEncrypted('DATABASE_URL', url, process.env), {
    max: 2,
    applicationName: 'otpilot cli',
    named: false,
    rowsChecked: false,
  })

/** Gives `work` a connection of its own, and closes it. */
export const withDatabase = async <T>(
  work: (db: Database) => Promise<T>,
  url = databaseUrl(),
): Promise<T> => {
  const db = openDatabase(url)
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}
