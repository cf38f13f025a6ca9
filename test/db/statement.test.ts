import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { eq, gte, sql } from 'drizzle-orm'
import { integer, pgTable, text, timestamp } from 'drizzle-orm/pg-core'
import pino from 'pino'
import { z } from 'zod'
import { createDatabase, type Database, type StatementOptions } from '../../db'
import { errorForLog } from '../../db/error-for-log'
import { columns, type Named, NoRow, query, RowFault, statement } from '../../db/statement'
import { asSuperuser, type FreshDatabase, freshDatabase } from '../harness/database'
import { createPostgresProxy } from '../harness/postgres-proxy'

let fresh: FreshDatabase
const open: Database[] = []
/** One connection, so that what it has prepared can be read on it. */
const connect = (options: StatementOptions = {}, url = fresh.url): Database => {
  const db = createDatabase(url, { max: 1, ...options })
  open.push(db)
  return db
}

beforeAll(async () => {
  fresh = await freshDatabase()
  await asSuperuser(fresh.adminUrl, [
    `create table shelves (id text primary key, places int not null, made_at timestamptz default now())`,
    `insert into shelves values ('a', 3), ('b', 5)`,
    `grant select, insert, update on shelves to public`,
  ])
})
afterAll(async () => {
  await Promise.all(open.map((db) => db.close()))
  await fresh.drop()
})

const quoted = "it's"

const Shelf = z.strictObject({ id: z.string(), places: z.int() })

const findShelves = statement(
  'find_shelves',
  Shelf,
  ({ id, least }: Named<{ id: string; least: number | undefined }>) => sql`
    select id, places from shelves
    where id = ${id} and places >= coalesce(${least}::int, ${0}) and ${quoted} = 'it''s' or id = ${id} and ${null} is not null`,
)

const prepared = sql`select name, statement from pg_prepared_statements`

describe('a statement', () => {
  test('has a text that is built once, with its parameters in order and its constants in it', () => {
    expect(findShelves({ id: 'a', least: 2 })).toMatchObject({
      name: 'find_shelves',
      text: expect.stringMatching(
        /^select \/\* find_shelves \*\/ id[^]*>= coalesce\(\$2::int, 0\)/,
      ),
      values: ['a', 2, 'a'],
    })
    expect(findShelves({ id: 'a', least: 1 }).text).toBe(findShelves({ id: 'b', least: 2 }).text)
  })

  test('is marked with its name also where a comment of ours comes first', () => {
    const explained = statement(
      'explained',
      NoRow,
      ({ id }: Named<{ id: string }>) => sql`
      -- Why this is so.

      -- And more.
      update shelves set places = places where id = ${id}`,
    )
    expect(explained({ id: 'a' }).text).toBe(
      'update /* explained */ shelves set places = places where id = $1',
    )
  })

  test('takes each of its parameters and no other: neither compiles, and a surplus one is refused', () => {
    // @ts-expect-error: `least` is missing.
    findShelves({ id: 'a' })
    // @ts-expect-error: `least` is a number.
    findShelves({ id: 'a', least: '3' })
    // @ts-expect-error: it knows no color.
    expect(() => findShelves({ id: 'a', least: 3, color: 'red' })).toThrow('color')
    const given = { id: 'a', least: 3, color: 'red' }
    // @ts-expect-error: nor when it comes with an object that is spread.
    expect(() => findShelves({ ...given })).toThrow('find_shelves does not use color')
  })

  test('has a name of its own, and constants that can be written down', () => {
    const named = (name: string) => statement(name, NoRow, () => sql`select from shelves`)
    expect(() => named('find_shelves')).toThrow('find_shelves')
    expect(() => named('Find Shelves')).toThrow('Find Shelves')
    expect(() => named(`f${'o'.repeat(63)}`)).toThrow('fooo')
    expect(() =>
      statement(
        'list_shelves',
        NoRow,
        () => sql`select from shelves where id = any(${sql.param(['a'])})`,
      ),
    ).toThrow('list_shelves')
  })
})

describe('on the wire', () => {
  test('is prepared under its name, once on each connection', async () => {
    const db = connect()
    for (const id of ['a', 'b', 'none']) {
      const rows = await db.many(findShelves({ id, least: undefined }))
      expect(rows.map((row) => row.places)).toEqual({ a: [3], b: [5] }[id] ?? [])
    }
    expect(await db.many(prepared)).toEqual([
      { name: 'find_shelves', statement: findShelves({ id: '', least: 0 }).text },
    ])
  })

  test('in a transaction too', async () => {
    const db = connect()
    const row = await db.transaction((tx) => tx.one(findShelves({ id: 'b', least: 1 })))
    expect(row).toEqual({ id: 'b', places: 5 })
    expect(await db.many(prepared)).toHaveLength(1)
  })

  test('has no name where names are off', async () => {
    const db = connect({ named: false })
    expect(await db.one(findShelves({ id: 'a', least: 1 }))).toEqual({ id: 'a', places: 3 })
    expect(await db.transaction((tx) => tx.one(findShelves({ id: 'a', least: 9 })))).toBeUndefined()
    expect(await db.many(prepared)).toEqual([])
  })

  test('is known to the proxy of the fault tests by its text, also when only its name is sent', async () => {
    const proxy = await createPostgresProxy(fresh.url)
    const db = connect({}, proxy.url)
    await db.many(findShelves({ id: 'a', least: 1 }))
    const struck = proxy.arm({
      match: /from shelves[^]*\0b\0|from shelves[^]*b/,
      moment: 'before',
      spring: () => undefined,
    })
    await expect(db.many(findShelves({ id: 'b', least: 1 }))).rejects.toThrow()
    await struck
    await db.close()
    open.splice(open.indexOf(db), 1)
    await proxy.close()
  })
})

describe('a row that is not of its schema', () => {
  const countPlaces = statement(
    'count_places',
    z.strictObject({ places: z.int(), id: z.string() }),
    ({ id }: Named<{ id: string }>) => sql`
      select id, places::text || ' of +233241234567' as places, 1 as more from shelves where id = ${id}`,
  )

  test('names statement and column, and quotes no value', async () => {
    const fault = await connect()
      .one(countPlaces({ id: 'a' }))
      .catch((error: Error) => error)
    expect(fault).toBeInstanceOf(RowFault)
    expect((fault as Error).message).toMatch(/count_places.*places: .*expected/)
    expect((fault as Error).message).toContain('"more"')
    expect((fault as Error).message).not.toContain('233241234567')
  })

  test('is trusted where rows are', async () => {
    const row = await connect({ rowsChecked: false }).one(countPlaces({ id: 'a' }))
    expect(row).toEqual({ id: 'a', places: '3 of +233241234567', more: 1 })
  })

  test('of a statement without rows is one too many', async () => {
    const none = statement('no_shelves', NoRow, () => sql`select id from shelves limit 1`)
    await expect(connect().many(none({}))).rejects.toThrow('no_shelves')
  })
})

test('what fails is named in the log, in a transaction too, also behind another error', async () => {
  const lines: string[] = []
  const log = pino(
    { serializers: { err: errorForLog } },
    { write: (line: string) => void lines.push(line) },
  )
  const divide = statement(
    'divide_places',
    NoRow,
    ({ by }: Named<{ by: number }>) => sql`select places / ${by}::int from shelves`,
  )
  const db = connect()
  const runs = [
    () => db.many(divide({ by: 0 })),
    () => db.transaction((tx) => tx.one(divide({ by: 0 }))),
  ]
  for (const run of runs) {
    const error = await run().catch((fault: Error) => fault)
    log.warn({ err: error }, 'failed')
    log.warn({ err: new Error('outer', { cause: error }) }, 'failed')
  }
  expect(lines.map((line) => JSON.parse(line).err)).toEqual(
    Array.from({ length: 4 }, () =>
      expect.objectContaining({ statement: 'divide_places', code: '22012' }),
    ),
  )
})

test('a migration that changes the type of a column is survived by connections that prepared it', async () => {
  const db = createDatabase(fresh.url, { max: 3, rowsChecked: false })
  open.push(db)
  const find = statement(
    'find_made_at',
    z.strictObject({ madeAt: z.date() }),
    () => sql`select made_at as "madeAt" from shelves where id = 'a'`,
  )
  const onEach = () => Promise.all([1, 2, 3].map(() => db.transaction((tx) => tx.one(find({})))))
  await onEach()
  await asSuperuser(fresh.adminUrl, ['alter table shelves alter made_at type text'])
  expect(await db.one(find({}))).toMatchObject({ madeAt: expect.any(String) })
  await onEach()
  expect(await db.transaction((tx) => tx.one(find({})))).toMatchObject({
    madeAt: expect.any(String),
  })
})

describe('a typed query', () => {
  const racks = pgTable('racks', {
    id: text().primaryKey(),
    places: integer().notNull(),
    madeAt: timestamp('made_at', { withTimezone: true }).defaultNow(),
  })
  beforeAll(() =>
    asSuperuser(fresh.adminUrl, [
      `create table racks (id text primary key, places int not null, made_at timestamptz default now())`,
      `insert into racks values ('b', 5)`,
      `grant select, insert, update on racks to public`,
    ]),
  )
  const listRacks = query('list_large_racks', ({ least }: Named<{ least: number }>, db) =>
    db
      .select(columns({ id: racks.id, madeAt: racks.madeAt }))
      .from(racks)
      .where(gte(racks.places, least))
      .orderBy(racks.id),
  )
  const addRack = query('add_rack', ({ id }: Named<{ id: string }>, db) =>
    db
      .insert(racks)
      .values({ id, places: 7 })
      .returning(columns({ places: racks.places })),
  )
  const widenRack = query(
    'widen_rack',
    ({ id, places }: Named<{ id: string; places: number | null }>, db) =>
      db.update(racks).set({ places }).where(eq(racks.id, id)),
  )

  test('has rows of the types and names of the schema in TypeScript, and is prepared', async () => {
    const db = connect()
    const rows = await db.many(listRacks({ least: 5 }))
    const row: { id: string; madeAt: Date | null } | undefined = rows[0]
    expect(row).toEqual({ id: 'b', madeAt: expect.any(Date) })
    // @ts-expect-error: it selects no places.
    expect(row?.places).toBeUndefined()
    expect(await db.many(prepared)).toContainEqual(
      expect.objectContaining({ name: 'list_large_racks' }),
    )
  })

  test('writes what it is given, and reads back what it returns', async () => {
    const db = connect()
    expect(await db.one(addRack({ id: 'c' }))).toEqual({ places: 7 })
    expect(await db.many(widenRack({ id: 'c', places: 8 }))).toEqual([])
    await expect(db.many(widenRack({ id: 'c', places: null }))).rejects.toThrow('not-null')
    // @ts-expect-error: it sets `places`.
    await expect(db.many(widenRack({ id: 'c' }))).rejects.toThrow('not-null')
  })
})
