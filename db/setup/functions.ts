import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClientBase } from 'pg'

const folder = join(process.cwd(), 'db', 'functions')

interface FunctionFile {
  name: string
  text: string
  digest: string
}

/** A file for each function, with the triggers that call it. */
const readFunctions = (): FunctionFile[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => {
      const text = readFileSync(join(folder, file), 'utf8')
      const digest = createHash('sha256').update(text).digest('hex')
      return { name: file.replace(/\.sql$/, ''), text, digest }
    })

async function changedFunctions(client: ClientBase): Promise<FunctionFile[]> {
  const known = await client.query<{ is: boolean }>(
    `select to_regclass('drizzle.functions') is not null as is`,
  )
  if (!known.rows[0]?.is) return readFunctions()
  const { rows } = await client.query<{ name: string; digest: string }>(
    'select name, digest from drizzle.functions',
  )
  const applied = new Map(rows.map(({ name, digest }) => [name, digest]))
  return readFunctions().filter(({ name, digest }) => applied.get(name) !== digest)
}

/** Whether the database's functions are those of `db/functions`. */
export const hasNewestFunctions = async (client: ClientBase): Promise<boolean> =>
  (await changedFunctions(client)).length === 0

/**
 * Makes the functions and triggers of `db/functions` as the files say, those only whose file has changed since. Each is
 * a transaction of its own: replacing a trigger waits for the writers of its table, one table at a time. A function
 * whose parameters change needs a migration that drops the old one.
 */
export async function makeFunctions(client: ClientBase): Promise<void> {
  await client.query(
    'create table if not exists drizzle.functions (name text primary key, digest text not null)',
  )
  for (const { name, text, digest } of await changedFunctions(client)) {
    await client.query('begin')
    try {
      // A function may call one whose file comes later.
      await client.query('set local check_function_bodies = off')
      await client.query(text)
      await client.query(
        `insert into drizzle.functions (name, digest) values ($1, $2)
         on conflict (name) do update set digest = excluded.digest`,
        [name, digest],
      )
      await client.query('commit')
    } catch (error) {
      await client.query('rollback')
      throw error
    }
  }
}
