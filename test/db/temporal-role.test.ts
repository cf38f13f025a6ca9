import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Client } from 'pg'
import { makeTemporalRole } from '../../db/setup/temporal-role'
import { asSuperuser, freshDatabase, type FreshDatabase } from '../harness/database'

const id = randomBytes(4).toString('hex')
const names = { role: `temporal_${id}`, databases: [`history_${id}`, `visibility_${id}`] }
const [history = '', visibility = ''] = names.databases
const password = randomBytes(12).toString('hex')

let fresh: FreshDatabase
beforeAll(async () => {
  fresh = await freshDatabase()
})
afterAll(async () => {
  await asSuperuser(fresh.adminUrl, [
    ...names.databases.map((name) => `drop database if exists ${name} with (force)`),
    `drop role if exists ${names.role}`,
  ])
  await fresh.drop()
})

const urlOf = (database: string, role?: string): string => {
  const url = new URL(fresh.adminUrl)
  url.pathname = `/${database}`
  if (role) Object.assign(url, { username: role, password })
  return url.href
}

const ask = async (url: string, statement: string) => {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(statement)).rows
  } finally {
    await client.end()
  }
}

test('Temporal gets databases that it owns, those of before with their rows, and no way into ours', async () => {
  await asSuperuser(fresh.adminUrl, [`create database ${history}`])
  await asSuperuser(urlOf(history), [
    'create extension btree_gin',
    'create table executions (id bigserial primary key, state text)',
    `insert into executions (state) values ('running')`,
  ])
  await makeTemporalRole(fresh.adminUrl, password, names)
  await makeTemporalRole(fresh.adminUrl, password, names)

  const asTemporal = (database: string) => urlOf(database, names.role)
  // What its own tool does to an older database and to a new one.
  await ask(asTemporal(history), 'alter table executions add column shard int')
  expect(await ask(asTemporal(history), 'select * from executions')).toEqual([
    { id: '1', state: 'running', shard: null },
  ])
  await ask(asTemporal(visibility), 'create extension if not exists btree_gin')
  await ask(asTemporal(visibility), 'create table visibility (id text primary key)')

  const ours = new URL(fresh.adminUrl).pathname.slice(1)
  await expect(ask(asTemporal(ours), 'select 1')).rejects.toThrow(/permission denied for database/)
  await expect(ask(asTemporal(history), 'create database mine')).rejects.toThrow(/denied/)
  await expect(ask(asTemporal(history), 'create role mine')).rejects.toThrow(/denied/)
  // The service itself is not shut out.
  expect(await ask(fresh.url, 'select 1 as answer')).toEqual([{ answer: 1 }])
})
