import type { SQL } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import pg from 'pg'

const dialect = new PgDialect()

/** Runs one statement. Rows come as the driver parses them: timestamps as Date, bytea as Buffer. */
export interface Queries {
  many<T>(statement: SQL): Promise<T[]>
  /** The first row, if any. */
  one<T>(statement: SQL): Promise<T | undefined>
}

export interface Database extends Queries {
  /** READ COMMITTED; rolls back when `work` throws. */
  transaction<T>(work: (tx: Queries) => Promise<T>): Promise<T>
  readonly pool: pg.Pool
  close(): Promise<void>
}

/** Waits no longer than this, in milliseconds, for anything Postgres does (security reference D8). */
const timeouts = {
  connectionTimeoutMillis: 3_000,
  statement_timeout: 3_000,
  lock_timeout: 1_000,
  idle_in_transaction_session_timeout: 10_000,
  // The client's own limit: a frozen server never sends the statement's.
  query_timeout: 5_000,
}

/** Whether a statement gave up waiting for another transaction's row. */
export const isLockTimeout = (error: unknown): error is pg.DatabaseError =>
  error instanceof pg.DatabaseError && error.code === '55P03'

/** Whether another transaction's rows were in the way, or each waited for the other's: a second try may succeed. */
export const isLockConflict = (error: unknown): error is pg.DatabaseError =>
  isLockTimeout(error) || (error instanceof pg.DatabaseError && error.code === '40P01')

/** A server that does not take this at once rolls back by itself when the connection is thrown away. */
const rollback = { text: 'rollback', query_timeout: 500 }

/** Connects lazily; the pool survives a restart of Postgres. */
export function createDatabase(
  url: string,
  { max = 20, applicationName = 'otpilot' }: { max?: number; applicationName?: string } = {},
): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max,
    application_name: applicationName,
    ...timeouts,
  })
  // A connection that breaks fails its query, or is replaced at its next use; unheard, it would end the process.
  // The pool listens to the idle ones only, not to one that a transaction holds.
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  return { ...queriesOn(pool), pool, transaction: transactionOn(pool), close: () => pool.end() }
}

function queriesOn(client: Pick<pg.ClientBase, 'query'>): Queries {
  const many = async <T>(statement: SQL): Promise<T[]> => {
    const { sql, params } = dialect.sqlToQuery(statement)
    const { rows } = await client.query(sql, params)
    return rows as T[]
  }
  return { many, one: async <T>(statement: SQL) => (await many<T>(statement))[0] }
}

const transactionOn =
  (pool: pg.Pool) =>
  async <T>(work: (tx: Queries) => Promise<T>): Promise<T> => {
    const client = await pool.connect()
    let broken: Error | undefined
    try {
      await client.query('begin')
      const result = await work(queriesOn(client))
      await client.query('commit')
      return result
    } catch (error) {
      await client.query(rollback).catch((cause: Error) => (broken = cause))
      throw error
    } finally {
      client.release(broken)
    }
  }
