import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { createDatabase, type Database } from '../../db'
import { errorForLog } from '../../db/error-for-log'
import { freshDatabase } from '../harness/database'

let db: Database
let drop: () => Promise<void>
const lines: string[] = []
const log = pino(
  { serializers: { err: errorForLog } },
  { write: (line: string) => void lines.push(line) },
)

beforeAll(async () => {
  const fresh = await freshDatabase()
  drop = fresh.drop
  db = createDatabase(fresh.url)
})
afterAll(async () => {
  await db.close()
  await drop()
})

test('a value that Postgres quotes in its error does not get into the log, its code and place do', async () => {
  const error = await db
    .one(sql`select ${'+233241234567 482910'}::int`)
    .catch((fault: Error) => fault)
  expect((error as Error).message).toContain('233241234567')
  log.warn({ err: error }, 'an activity failed')
  log.warn({ err: new Error('outer', { cause: error }) }, 'an activity failed')
  expect(lines).toHaveLength(2)
  expect(lines.join()).not.toContain('233241234567')
  for (const line of lines) expect(line).toMatch(/"code":"22..."/)
  expect(lines[0]).toContain('    at ')
})

test('any other error keeps its message', () => {
  log.warn({ err: new Error('the sandbox is away') }, 'x')
  expect(lines.at(-1)).toContain('the sandbox is away')
})
