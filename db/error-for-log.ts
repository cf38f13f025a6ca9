import pg from 'pg'
import pino from 'pino'

/**
 * An error as a log line holds it. Postgres quotes values in its messages and details, a number or a code among
 * them, so of its errors only the SQLSTATE code, the names and the stack frames are kept.
 */
export function errorForLog(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const fault = postgresErrorIn(error)
  if (!fault) return pino.stdSerializers.err(error)
  const { code, table, constraint, column } = fault
  const frames = error.stack?.split('\n').filter((line) => line.startsWith('    at '))
  return { type: error.name, code, table, constraint, column, stack: frames?.join('\n') }
}

function postgresErrorIn(error: Error): pg.DatabaseError | undefined {
  if (error instanceof pg.DatabaseError) return error
  return error.cause instanceof Error ? postgresErrorIn(error.cause) : undefined
}
