import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { requestsOnly } from '../harness/requests'

let all: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  all = await requestsOnly()
})
afterAll(() => all.close())

/** Whole, or of all rows where the column is not null: a look for one value can use that, too. */
const leadingIndexes = sql`
  select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1] and i.indisvalid
    and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname))`

test('whatever names a row of another table is found by an index: who removes that row looks for it', async () => {
  const keys = await all.db.many<{ name: string; indexed: boolean }>(sql`
    select format('%s.%s', c.conrelid::regclass, a.attname) as name, exists (${leadingIndexes}) as indexed
    from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.contype = 'f' and c.connamespace = 'public'::regnamespace
      -- An app is never removed: the service may not, and nothing else does.
      and c.confrelid <> 'apps'::regclass
    order by 1`)
  expect(keys.length).toBeGreaterThan(8)
  expect(keys.map(({ name }) => name)).toContain('audit_events.request_id')
  expect(keys.filter(({ indexed }) => !indexed)).toEqual([])
})
