import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api'
import { Client } from 'pg'
import * as schema from '../../db/schema'
import { migrate } from '../../db/setup/migrate'
import { dumpSchema } from '../../db/setup/schema-dump'
import { asSuperuser, freshDatabase, type FreshDatabase } from '../harness/database'

let migrated: FreshDatabase
let empty: FreshDatabase
beforeAll(async () => {
  migrated = await freshDatabase()
  empty = await freshDatabase()
  await asSuperuser(empty.adminUrl, ['drop schema public cascade', 'create schema public'])
})
afterAll(async () => {
  await migrated.drop()
  await empty.drop()
})

async function dumpOf({ adminUrl }: FreshDatabase): Promise<string> {
  const client = new Client({ connectionString: adminUrl })
  await client.connect()
  try {
    return await dumpSchema(client)
  } finally {
    await client.end()
  }
}

/** The lines of a dump that the TypeScript schema can say too, each behind its table or type, whatever their order. */
const declared = (dump: string): string[] =>
  dump
    .split(/\n\n(?=create |CREATE )/)
    .filter((part) => !/^CREATE (OR REPLACE FUNCTION|TRIGGER)/.test(part))
    .flatMap((part) => {
      const [head = '', ...lines] = part.trim().split('\n')
      return lines.length === 0 ? [head] : lines.map((line) => `${head} ${line.replace(/,$/, '')}`)
    })
    .sort()

test('db/schema.sql is what the migrations make ("npm run schema" writes it)', async () => {
  expect(await dumpOf(migrated)).toBe(readFileSync('db/schema.sql', 'utf8'))
})

test('the schema in TypeScript makes the same tables, types, constraints and indexes', async () => {
  const statements = await generateMigration(generateDrizzleJson({}), generateDrizzleJson(schema))
  await asSuperuser(empty.adminUrl, statements)
  expect(declared(await dumpOf(empty))).toEqual(declared(await dumpOf(migrated)))
})

test('drizzle-kit finds nothing to migrate', async () => {
  const { entries } = JSON.parse(readFileSync('migrations/meta/_journal.json', 'utf8')) as {
    entries: { idx: number }[]
  }
  const newest = String(entries.at(-1)?.idx).padStart(4, '0')
  const snapshot = JSON.parse(
    readFileSync(`migrations/meta/${newest}_snapshot.json`, 'utf8'),
  ) as ReturnType<typeof generateDrizzleJson>
  expect(await generateMigration(snapshot, generateDrizzleJson(schema))).toEqual([])
})

test('every function has a file, and every file a function', async () => {
  const names = [...(await dumpOf(migrated)).matchAll(/FUNCTION public\.(\w+)\(/g)]
  const files = readdirSync('db/functions').map((file) => file.replace(/\.sql$/, ''))
  expect(names.map(([, name]) => name)).toEqual(files.sort())
})

test('a function whose file has changed since is made anew, and no other', async () => {
  const dump = await dumpOf(migrated)
  await asSuperuser(migrated.adminUrl, [
    `create or replace function sum_of(hours numeric[]) returns numeric language sql immutable as 'select -1::numeric'`,
    `create or replace function hour_of(moment timestamptz) returns integer language sql stable as 'select -1'`,
    `update drizzle.functions set digest = 'of an older version' where name = 'sum_of'`,
  ])
  await migrate(migrated.adminUrl)
  const [hourOf] = /CREATE OR REPLACE FUNCTION public\.hour_of[^]*?;\n/.exec(dump) ?? []
  const after = await dumpOf(migrated)
  expect(after).not.toContain(hourOf)
  expect(after).toContain(/CREATE OR REPLACE FUNCTION public\.sum_of[^]*?;\n/.exec(dump)?.[0])
})
