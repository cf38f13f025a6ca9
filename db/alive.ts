import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Queries } from './index'
import { statement } from './statement'

const aliveStatement = statement(
  'ping_postgres',
  z.strictObject({ alive: z.boolean() }),
  () => sql`select true as alive`,
)

/** Asks Postgres for an answer. @throws where there is none */
export const isAlive = async (db: Queries): Promise<boolean> =>
  (await db.one(aliveStatement({})))?.alive === true
