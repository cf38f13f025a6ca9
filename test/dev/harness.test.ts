import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Client } from 'pg'
import { temporalAnswers } from '../../cli/temporal'
import { freshDatabase, temporalAddress } from '../harness/database'

let database: Awaited<ReturnType<typeof freshDatabase>>
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.drop())

test('every test file gets a database of its own and the run’s Temporal server', async () => {
  const client = new Client({ connectionString: database.url })
  await client.connect()
  const { rows } = await client.query<{ name: string }>('select current_database() as name')
  await client.end()
  expect(rows[0]?.name).toMatch(/^test_/)
  expect(await temporalAnswers(temporalAddress(), 'default')).toBe(true)
})
