import type { SQL } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { blame, type Bound, checkRows } from './statement'

const dialect = new PgDialect()

/** Runs one statement. Rows come as the driver parses them: timestamps as Date, bytea as Buffer. */
export interface Queries {
  many<T>(statement: SQL | Bound<T>): Promise<T[]>
  /** The first row, if any. */
  one<T>(statement: SQL | Bound<T>): Promise<T | undefined>
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

/** Does it again, three times at most, where other transactions' rows were in the way. */
export async function despiteLocks<T>(work: () => Promise<T>): Promise<T> {
  for (let patience = 3; ; patience--) {
    try {
      return await work()
    } catch (error) {
      if (patience === 0 || !isLockConflict(error)) throw error
    }
  }
}

/** A server that does not take this at once rolls back by itself when the connection is thrown away. */
const rollback = { text: 'rollback', query_timeout: 500 }

/** How statements that have a name are run. */
export interface StatementOptions {
  /** Prepared under their names, which not every pooler in front of Postgres can do. */
  named?: boolean
  /** Rows are checked against their schemas. */
  rowsChecked?: boolean
}

interface PoolOptions extends StatementOptions {
  max?: number
  applicationName?: string
  /** Whether connections stay open however long nobody uses them; else 10 s. */
  keepsIdle?: boolean
}

/** Connects lazily; the pool survives a restart of Postgres. */
export function createDatabase(
  url: string,
  { max = 20, applicationName = 'otpilot', keepsIdle = false, ...options }: PoolOptions = {},
): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max,
    application_name: applicationName,
    ...(keepsIdle && { idleTimeoutMillis: 0 }),
    ...timeouts,
  })
  // A connection that breaks fails its query, or is replaced at its next use; unheard, it would end the process.
  // The pool listens to the idle ones only, not to one that a transaction holds.
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  const onPool: Sender = (query) => onFreshPlans(pool, () => pool.query(query))
  const transaction = transactionOn(pool, options)
  return { ...queriesOn(onPool, options), pool, transaction, close: () => pool.end() }
}

type Sender = (query: pg.QueryConfig) => Promise<pg.QueryResult>

/** What goes to the driver. */
export const queryOf = (
  statement: SQL | Bound<unknown>,
  { named = true }: StatementOptions = {},
): pg.QueryConfig => {
  if (!('text' in statement)) {
    const { sql: text, params: values } = dialect.sqlToQuery(statement)
    return { text, values }
  }
  const { name, text, values, isVarying } = statement
  return { ...(named && !isVarying && { name }), text, values: [...values] }
}

function queriesOn(send: Sender, options: StatementOptions): Queries {
  const { rowsChecked = true } = options
  const many = async <T>(statement: SQL | Bound<T>): Promise<T[]> => {
    try {
      const { rows } = await send(queryOf(statement, options))
      if ('text' in statement && rowsChecked) checkRows(statement, rows)
      return rows as T[]
    } catch (error) {
      if ('text' in statement) blame(error, statement)
      throw error
    }
  }
  return {
    many,
    one: async <T>(statement: SQL | Bound<T>) => (await many<T>(statement))[0],
  }
}

/** A migration changed the types of a statement's columns after this connection had prepared it. */
const isOutdatedPlan = (error: unknown): error is pg.DatabaseError =>
  error instanceof pg.DatabaseError &&
  error.code === '0A000' &&
  error.routine === 'RevalidateCachedQuery'

/** Runs `work` again while the connection that it got has an outdated plan; it closes that connection each time. */
async function onFreshPlans<T>(pool: pg.Pool, work: () => Promise<T>): Promise<T> {
  for (let left = pool.options.max; ; left--) {
    try {
      return await work()
    } catch (error) {
      if (left === 0 || !isOutdatedPlan(error)) throw error
    }
  }
}

const transactionOn =
  (pool: pg.Pool, options: StatementOptions) =>
  <T>(work: (tx: Queries) => Promise<T>): Promise<T> =>
    onFreshPlans(pool, async () => {
      const client = await pool.connect()
      let broken: Error | undefined
      try {
        await client.query('begin')
        const result = await work(queriesOn((query) => client.query(query), options))
        await client.query('commit')
        return result
      } catch (error) {
        if (isOutdatedPlan(error)) broken = error
        await client.query(rollback).catch((cause: Error) => (broken = cause))
        throw error
      } finally {
        client.release(broken)
      }
    })
