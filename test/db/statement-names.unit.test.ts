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

/** Files that send text without a name: how often, and why. */
const unnamed: Record<string, [times: number, why: string]> = {
  'db/alerts/alerts.ts': [1, 'a list with filters'],
  'db/apps/api-keys.ts': [1, 'a list with filters'],
  'db/audit/roots.ts': [3, 'a cursor, which cannot be prepared'],
  'db/audit/verify.ts': [1, 'the settings of a transaction'],
  'db/events/log.ts': [1, 'a list with filters'],
  'db/protection/blocks-by-hand.ts': [1, 'a list with filters'],
  'db/protection/decision-log.ts': [2, 'a list with filters'],
  'db/requests/search.ts': [2, 'a search'],
}

test('whatever is sent to Postgres is a statement with a name, but for these', () => {
  const sends = /\.(?:many|one)(?:<[^(]*>)?\(\s*sql`/g
  const found = sources
    .map((file) => [file, readFileSync(file, 'utf8').match(sends)?.length ?? 0] as const)
    .filter(([, times]) => times > 0)
  const allowed = Object.entries(unnamed).map(([file, [times]]) => [file, times])
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(allowed))
})
