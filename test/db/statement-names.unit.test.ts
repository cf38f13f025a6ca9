import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'

const folders = [
  'activities',
  'api',
  'cli',
  'codes',
  'db',
  'events',
  'sandbox',
  'temporal',
  'worker',
]

const sources = folders.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file)),
)

/** Why a file sends text that has no name. */
const unnamed: Record<string, string> = {
  'db/alerts/alerts.ts': 'a list with filters',
  'db/protection/blocks-by-hand.ts': 'a list with filters',
  'db/protection/decision-log.ts': 'a list with filters',
  'db/apps/api-keys.ts': 'a list with filters',
  'db/audit/roots.ts': 'a cursor, which cannot be prepared',
  'db/audit/verify.ts': 'the settings of a transaction',
  'db/events/log.ts': 'a list with filters',
  'db/requests/search.ts': 'a search',
}

test('whatever is sent to Postgres is a statement with a name, but for these', () => {
  const found = sources.filter((file) =>
    /\.(many|one)(<[^(]*>)?\(\s*sql`/.test(readFileSync(file, 'utf8')),
  )
  expect(found.sort()).toEqual(Object.keys(unnamed).sort())
})
