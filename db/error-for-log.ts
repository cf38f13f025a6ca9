import pg from 'pg'
import pino from 'pino'
import { statementOf } from './statement'

/**
 * An error as a log line holds it. Postgres quotes values in its messages and details, a number or a code among
 * them, so of its errors only the SQLSTATE code, the names and the stack frames are kept. A named statement is named.
 */
export function errorForLog(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const fault = postgresErrorIn(error)
  const statement = statementIn(error)
  if (!fault) return Object.assign(pino.stdSerializers.err(error), statement && { statement })
  const { code, table, constraint, column } = fault
  const frames = error.stack?.split('\n').filter((line) => line.startsWith('    at '))
  return { type: error.name, statement, code, table, constraint, column, stack: frames?.join('\n') }
}

const statementIn = (error: Error): string | undefined =>
  statementOf(error) ?? (error.cause instanceof Error ? statementIn(error.cause) : undefined)

function postgresErrorIn(error: Error): pg.DatabaseError | undefined {
  if (error instanceof pg.DatabaseError) return error
  return error.cause instanceof Error ? postgresErrorIn(error.cause) : undefined
}
