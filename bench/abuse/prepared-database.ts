import type { SQL } from 'drizzle-orm'
import pg from 'pg'
import { type Database, type Queries, queryOf } from '../../db'
import type { Bound } from '../../db/statement'

/** Statements by their text; a name is the same on every connection. */
const names = new Map<string, string>()

const nameOf = (text: string): string => {
  const known = names.get(text)
  if (known !== undefined) return known
  const name = `s${names.size}`
  names.set(text, name)
  return name
}

const queriesOn = (client: Pick<pg.ClientBase, 'query'>): Queries => {
  const many = async <T>(statement: SQL | Bound<T>): Promise<T[]> => {
    const query = queryOf(statement)
    const { rows } = await client.query({ name: nameOf(query.text), ...query })
    return rows as T[]
  }
  return { many, one: async <T>(statement: SQL | Bound<T>) => (await many<T>(statement))[0] }
}

/**
 * As `createDatabase` makes it, but each statement is planned once: planning is most of what short statements cost, and
 * a simulator runs the same few a hundred thousand times.
 */
export function preparedDatabase(connectionString: string): Database {
  const options = '-c plan_cache_mode=force_generic_plan -c synchronous_commit=off'
  const pool = new pg.Pool({ connectionString, options, max: 2 })
  // A connection that breaks fails its query; unheard, it would end the process before it has cleaned up.
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  const transaction = async <T>(work: (tx: Queries) => Promise<T>): Promise<T> => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      const result = await work(queriesOn(client))
      await client.query('commit')
      return result
    } catch (error) {
      await client.query('rollback').catch(() => undefined)
      throw error
    } finally {
      client.release()
    }
  }
  return { ...queriesOn(pool), pool, transaction, close: () => pool.end() }
}
