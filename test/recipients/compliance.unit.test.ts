import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { getTableName, is } from 'drizzle-orm'
import { PgTable } from 'drizzle-orm/pg-core'
import { loadPolicy } from '../../config/policy'
import { shortestRetention } from '../../core/recipients/retention'
import * as schema from '../../db/schema'

const page = readFileSync(join(__dirname, '..', '..', 'docs', 'compliance.md'), 'utf8')
const rows = (/## What is where[^]*?(?=\n## )/.exec(page)?.[0] ?? '')
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .map((line) => line.split('|').map((cell) => cell.trim()))

test('the page says how long the shipped policy keeps each part', () => {
  const said = rows.flatMap((cells) => {
    const [, part] = /^`(\w+)`$/.exec(cells.at(-3) ?? '') ?? []
    return part === undefined || part === 'retention' ? [] : [[part, Number(cells.at(-2))]]
  })
  const shipped = loadPolicy(undefined)
  if (!shipped.success) throw new Error(shipped.faults.join('\n'))
  expect(Object.fromEntries(said)).toEqual(shipped.policy.retention)
})

test('the page names every table, and none that there is not', () => {
  const tables = Object.values(schema).filter((part) => is(part, PgTable))
  const inTables = rows.flatMap((cells) => [...(cells[2] ?? '').matchAll(/`(\w+)`/g)])
  const named = new Set(inTables.map(([, name]) => name))
  expect(named).toEqual(new Set(tables.map((table) => getTableName(table))))
})

test('the least that a policy may say is what the page says', () => {
  const { recipients, contexts, messages, events, requests, audit } = shortestRetention
  expect([recipients, contexts, messages, events, requests, audit]).toEqual([1, 1, 1, 7, 90, 90])
  const text = page.replace(/\s+/g, ' ')
  expect(text).toContain(
    `${recipients} day for \`recipients\`, \`contexts\` and \`messages\`, ${events} for \`events\`, ${requests} for \`requests\` and \`audit\``,
  )
})
