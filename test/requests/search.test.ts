import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createDatabase, type Database } from '../../db'
import { listDecisions } from '../../db/protection/decision-log'
import { makeIndexes } from '../../db/setup/indexes'
import { migrate } from '../../db/setup/migrate'
import { type SearchFilter, searchRequests } from '../../db/requests/search'
import { asSuperuser } from '../harness/database'
import { requestsOnly } from '../harness/requests'
import pg from 'pg'

const rows = 50_000
let requests: Awaited<ReturnType<typeof requestsOnly>>
/** One connection, whose own reads can be counted. */
let db: Database

beforeAll(async () => {
  requests = await requestsOnly()
  const { requestId } = await requests.openUnstarted()
  // Half of it of another environment; what is asked for is rare, and old.
  await asSuperuser(requests.adminUrl, [
    'set session_replication_role = replica',
    `insert into otp_requests (id, app_id, recipient_id, purpose, environment, state, reason, locale, brand, plan, code_kid,
        code_length, max_checks, created_at, expires_at, ended_at, workflow_started_at)
      select 'otp_' || translate(rpad(n::text, 26, 'a'), '0189', 'bcde'), 'app', r.recipient_id,
        case when n < 4 then 'rare' when n % 5 = 0 then 'login' else 'default' end,
        (case when n % 2 = 0 then 'production' else 'staging' end)::key_environment,
        (case when n < 40 then 'failed' when n % 7 = 0 then 'expired' else 'verified' end)::request_state,
        (case when n < 40 then 'no_channel_accepted' when n % 7 = 0 then 'lifetime_over' else 'code_matched' end)::request_reason,
        'en', 'Acme', r.plan, r.code_kid, 6, 5, now() - (${rows} - n) * interval '1 minute', now() - interval '1 second',
        now() - interval '1 second', now()
      from generate_series(1, ${rows}) n cross join (select * from otp_requests where id = '${requestId}') r`,
    `insert into attempts (id, request_id, number, step, send_no, try_no, channel, provider, success, callback_digest, run_id)
      select 'att_' || id, id, 1, 0, 1, 1, case when created_at < now() - interval '${rows - 20} minutes' then 'voice' else 'sms' end::channel,
        'sandbox-a', 'delivered', convert_to(id, 'UTF8'), 'run' from otp_requests where id <> '${requestId}'`,
    `insert into send_decisions (request_id, app_id, environment, at, verdict, mode)
      select id, app_id, environment, created_at, case when purpose = 'rare' then 'blocked' else 'allowed' end, 'block'
      from otp_requests order by created_at`,
    'analyze otp_requests, attempts, send_decisions',
  ])
  db = createDatabase(requests.url, { max: 1 })
}, 120_000)
afterAll(async () => {
  await db.close()
  await requests.close()
})

/** Sequential scans, and rows that were read by any index, of a table, so far. */
async function readsOf(table: string) {
  await db.many(sql`select pg_stat_force_next_flush()`)
  const row = await db.one<{ scans: string; rows: string }>(sql`
    select seq_scan as scans, idx_tup_fetch as rows from pg_stat_user_tables where relname = ${table}`)
  return { scans: Number(row?.scans), rows: Number(row?.rows) }
}

/** What reading cost. */
async function costOf<T>(table: string, work: () => Promise<T>) {
  const before = await readsOf(table)
  const result = await work()
  const after = await readsOf(table)
  return { result, scans: after.scans - before.scans, rows: after.rows - before.rows }
}

const search = (filter: Partial<SearchFilter>) =>
  searchRequests(db, requests.keyring, {
    ...{ appId: 'app', environment: 'staging', limit: 20 },
    ...filter,
  })

/** Every request that a search finds, page by page. */
async function everyOne(filter: Partial<SearchFilter>, between = async () => undefined as unknown) {
  const ids: string[] = []
  const times: number[] = []
  let after: SearchFilter['after']
  do {
    const { rows, next } = await search({ ...filter, after })
    for (const { requestId, createdAt } of rows) {
      ids.push(requestId)
      times.push(createdAt.getTime())
    }
    after = next
    await between()
  } while (after)
  expect(new Set(ids).size).toBe(ids.length)
  expect(times).toEqual(times.toSorted((one, other) => other - one))
  return ids
}

describe('a search reads by an index', () => {
  const day = 86_400_000
  const old = { createdTo: new Date(Date.now() - 30 * day) }
  test.each<[string, Partial<SearchFilter>, number, number]>([
    ['nothing', {}, 20, 200],
    ['a frequent state', { state: 'verified' }, 20, 200],
    ['a rare state', { state: 'failed' }, 20, 200],
    ['a state that none has', { state: 'locked' }, 0, 200],
    ['what is live', { state: 'pending' }, 1, 200],
    ['a purpose', { purpose: 'login' }, 20, 500],
    ['a purpose of few', { purpose: 'rare' }, 2, 200],
    ['a purpose of none', { purpose: 'x' }, 0, 200],
    ['a time', { ...old }, 20, 200],
    ['a time and a state', { ...old, state: 'expired' }, 20, 500],
    ['a time between', { ...old, createdFrom: new Date(Date.now() - 31 * day) }, 20, 200],
    ['a channel of many', { channel: 'sms' }, 20, 1_500],
    ['a channel of few', { channel: 'voice' }, 10, 60_000],
    ['a state and a purpose', { state: 'failed', purpose: 'rare' }, 2, 60_000],
    [
      'a state, a purpose and a channel',
      { state: 'failed', purpose: 'rare', channel: 'voice' },
      2,
      60_000,
    ],
    ['the usual purpose', { purpose: 'default' }, 20, 1_500],
  ])('by %s', async (_, filter, found, most) => {
    const { result, scans, rows: read } = await costOf('otp_requests', () => search(filter))
    expect([result.rows.length, scans]).toEqual([found, 0])
    expect(read).toBeLessThan(most)
  })

  test('of a recipient', async () => {
    const recipient = { kind: 'phone' as const, value: '+233249999999' }
    const { result, scans } = await costOf('otp_requests', () => search({ recipient }))
    expect([result.rows.length, scans]).toEqual([0, 0])
  })

  test('decisions too, by each of their filters', async () => {
    for (const [filter, found] of [
      [{}, 20],
      [{ verdict: 'blocked' }, 3],
      [{ verdict: 'challenge' }, 0],
      [{ environment: 'development' }, 0],
      [{ environment: 'staging', verdict: 'blocked' }, 2],
      [{ since: new Date(Date.now() - day) }, 20],
      [{ since: new Date(Date.now() + day) }, 0],
      [{ since: new Date(Date.now() - day), verdict: 'blocked' }, 0],
      [{ requestId: 'otp_x' }, 0],
    ] as const)
      for (const appId of ['app', undefined]) {
        const list = () => listDecisions(db, { ...filter, appId, limit: 20 })
        const { result, scans, rows: read } = await costOf('send_decisions', list)
        expect([filter, appId, result.length, scans]).toEqual([filter, appId, found, 0])
        expect([filter, read < 1_000]).toEqual([filter, true])
      }
  })
})

describe('pages', () => {
  test('hold everything once, newest first, whatever else is asked for', async () => {
    expect(await everyOne({ state: 'failed' })).toHaveLength(20)
    expect(await everyOne({ state: 'failed', purpose: 'default' })).toHaveLength(14)
    expect(await everyOne({ channel: 'voice', limit: 3 })).toHaveLength(10)
    expect(await everyOne({ purpose: 'login', limit: 500 })).toHaveLength(5_000)
  })

  test('repeat nothing while requests are made', async () => {
    const made: string[] = []
    const open = async () => void made.push((await requests.openUnstarted()).requestId)
    const ids = await everyOne({ state: 'failed', limit: 3 }, open)
    expect(ids).toHaveLength(20)
    const live = await everyOne({ state: 'pending', limit: 2 }, open)
    expect(live).not.toContain(made.at(-1))
    expect(live).toEqual(expect.arrayContaining(made.slice(0, 5)))
  })

  test('show what nobody has closed yet by the state that it is to have', async () => {
    const { requestId } = await requests.open()
    await requests.shiftTime(requestId, 400)
    const found = await everyOne({ state: 'exhausted' })
    expect(found).toEqual([requestId])
    expect(await everyOne({ state: 'pending', limit: 500 })).not.toContain(requestId)
    expect(await everyOne({ state: 'exhausted', purpose: 'default' })).toEqual(found)
    expect(await everyOne({ state: 'exhausted', purpose: 'login' })).toEqual([])
  })
})

test('indexes that an interrupted update left half made are made anew, by whoever comes first', async () => {
  await asSuperuser(requests.adminUrl, [
    'drop index otp_requests_state',
    `update pg_index set indisvalid = false where indexrelid = 'otp_requests_purpose'::regclass`,
  ])
  await Promise.all([migrate(requests.adminUrl), migrate(requests.adminUrl)])
  const client = new pg.Client({ connectionString: requests.adminUrl })
  await client.connect()
  await makeIndexes(client)
  const { rows: indexes } =
    await client.query(`select c.relname as name, i.indisvalid as valid from pg_index i
    join pg_class c on c.oid = i.indexrelid where c.relname in ('otp_requests_state', 'otp_requests_purpose') order by 1`)
  await client.end()
  expect(indexes).toEqual([
    { name: 'otp_requests_purpose', valid: true },
    { name: 'otp_requests_state', valid: true },
  ])
}, 60_000)
