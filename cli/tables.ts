import { migrate } from '../db/setup/migrate'

/**
 * Migrates, or throws one sentence with Postgres's reason in place of the statement that failed.
 * @param databaseUrl of the role that may change tables
 * @param serviceUrl of the role that the service uses, where that is another one
 */
export const bringUpToDate = (databaseUrl: string, serviceUrl = databaseUrl): Promise<void> =>
  migrate(databaseUrl, serviceUrl).catch((error: unknown) => {
    throw new Error(
      `The tables in ${serviceUrl === databaseUrl ? 'DATABASE_URL' : 'MIGRATION_DATABASE_URL'} could not be brought up to date: ${reasonOf(error)}. Nothing was changed.`,
    )
  })

/** The innermost cause: what is around it quotes the statement. */
const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  if (error.cause !== undefined) return reasonOf(error.cause)
  return error.message || ('code' in error ? String(error.code) : error.name)
}
