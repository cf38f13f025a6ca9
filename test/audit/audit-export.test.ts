import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { sql } from 'drizzle-orm'
import { chainHash, chainStart } from '../../codes/audit-chain'
import { createApiKey } from '../../db/apps/api-keys'
import type { ExportedRow } from '../../db/audit/export'
import { attack, auditTools } from '../harness/audit'
import { clientOf, freshPhone } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let audit: ReturnType<typeof auditTools>
let appAdmin: string
let appRequest: string
let otherRequest: string

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  audit = auditTools(system)
  const made = await createApiKey(system.db, {
    appId: 'app',
    environment: 'production',
    scopes: ['admin'],
  })
  appAdmin = made.key
  appRequest = await clientOf(system).sent(freshPhone())
  otherRequest = await clientOf(system, system.otherKey).sent(freshPhone())
  await audit.seal()
})
afterAll(() => system.stop())

async function get(query: string, key: string) {
  const response = await fetch(`${system.url}/admin/audit${query}`, {
    headers: { authorization: `Bearer ${key}` },
  })
  const text = await response.text()
  const isRows = response.headers.get('content-type')?.startsWith('application/x-ndjson')
  return {
    status: response.status,
    rows: isRows ? rowsOf(text) : [],
    problem: isRows ? undefined : (JSON.parse(text) as { error_code: string }),
  }
}

const rowsOf = (text: string): ExportedRow[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as ExportedRow)

const appsOf = (rows: ExportedRow[]) => new Set(rows.map(({ app_id }) => app_id))

describe('GET /admin/audit', () => {
  test('gives an operator every sealed row in order, with a hash that can be made again from the line', async () => {
    const { rows } = await get('', system.operatorKey)
    expect(appsOf(rows)).toEqual(new Set(['app', 'other', null]))
    expect(rows.map(({ number }) => Number(number))).toEqual(rows.map((_, index) => index + 1))
    expect(new Set(rows.map(({ request_id }) => request_id))).toEqual(
      new Set([appRequest, otherRequest, null]),
    )
    const { key } = system.keyring.active('audit')
    const heads = new Map<string, Buffer>()
    for (const row of rows) {
      const { number, id: eventId, chain, sequence, hash, at } = row
      const content = {
        ...row,
        requestId: row.request_id,
        appId: row.app_id,
        runId: row.run_id,
        attemptId: row.attempt_id,
        at: `${Date.parse(`${at.slice(0, 19)}Z`) / 1_000}${at.slice(20, 26)}`,
      }
      const position = { number, eventId, chain, sequence }
      const made = chainHash(key, heads.get(chain) ?? chainStart, position, content)
      expect(made.toString('hex')).toBe(hash)
      heads.set(chain, made)
    }
  })

  test('gives an app’s key its own rows only, whatever it asks for', async () => {
    const { rows } = await get('', appAdmin)
    expect(appsOf(rows)).toEqual(new Set(['app']))
    expect((await get('?app_id=app', appAdmin)).rows).toHaveLength(rows.length)
    expect(await get('?app_id=other', appAdmin)).toMatchObject({
      status: 404,
      problem: { error_code: 'NOT_FOUND' },
    })
    const asked = await get('?app_id=app', system.operatorKey)
    const unnumbered = (all: ExportedRow[]) => all.map(({ number: _n, id: _i, ...row }) => row)
    expect(unnumbered(asked.rows)).toEqual(unnumbered(rows))
  })

  test('tells an app nothing of how many rows others have', async () => {
    const { rows } = await get('', appAdmin)
    const { rows: plain } = await get('?app_id=app', system.operatorKey)
    const shown = rows.flatMap(({ number, id }) => [number, id])
    for (const number of shown) expect(number).toMatch(/^\d{30,39}$/)
    expect(new Set(shown).size).toBe(2 * rows.length)
    // The same once more, and where an export goes on.
    expect((await get('', appAdmin)).rows.slice(0, rows.length)).toEqual(rows)
    await audit.seal()
    const after = (number?: string) => get(`?after=${number}`, appAdmin)
    expect((await after(rows[0]?.number)).rows.slice(0, rows.length - 1)).toEqual(rows.slice(1))
    // One that was kept from before numbers were hidden goes on as well.
    expect((await after(plain[0]?.number)).rows.slice(0, rows.length - 1)).toEqual(rows.slice(1))
    // Nobody finds out by trying whether a number is another app's row, or none yet.
    const { rows: all } = await get('', system.operatorKey)
    const foreign = all.find(({ app_id }) => app_id === 'other')?.number
    for (const number of [foreign, '0', '999999999', rows[0]?.id, '9'.repeat(39), '9'.repeat(18)])
      expect(await after(number)).toMatchObject({
        status: 400,
        problem: { error_code: 'INVALID_REQUEST' },
      })
    expect((await get(`?after=${rows[0]?.number}`, system.operatorKey)).status).toBe(400)
  })

  test('goes on after the last row, and holds to times', async () => {
    const { rows } = await get('', system.operatorKey)
    const [first, second] = rows
    expect((await get(`?after=${first?.number}`, system.operatorKey)).rows).toEqual(rows.slice(1))
    expect((await get(`?after=${rows.at(-1)?.number}`, system.operatorKey)).rows).toEqual([])
    const to = await get(`?to=${second?.at}`, system.operatorKey)
    const from = await get(`?from=${second?.at}`, system.operatorKey)
    expect(to.rows.length + from.rows.length).toBe(rows.length)
    // What a root of long ago covers is not even looked at.
    await audit.root()
    await attack(system.adminUrl, [`update audit_roots set at = at - interval '1 day'`])
    const soon = new Date(Date.now() - 3_600_000).toISOString()
    expect((await get(`?from=${soon}`, system.operatorKey)).rows).toEqual([])
    await attack(system.adminUrl, [`update audit_roots set at = at + interval '1 day'`])
  })

  test('is itself on record', async () => {
    await get('?app_id=other&after=3', system.operatorKey)
    const row = await system.db.one(sql`select type, actor, detail from audit_events
      where chain = 'app:other' order by sequence desc limit 1`)
    expect(row).toEqual({
      type: 'audit_exported',
      actor: expect.stringMatching(/^key:/),
      detail: { after: '3' },
    })
  })

  test.each([
    ['?after=x', 400],
    ['?after=-1', 400],
    ['?after=99999999999999999999', 400],
    ['?from=yesterday', 400],
    ['?to=2026-13-01T00:00:00Z', 400],
    ['?from=0000-01-01T00:00:00Z', 200],
    ['?to=9999-12-31T23:59:59%2B23:59', 200],
    ['?app_id=Nobody', 400],
    ['?app_id=nobody', 404],
    ['?app_id=app&app_id=other', 400],
    ['?unknown=1', 400],
  ])('%s answers %d', async (query, status) => {
    expect((await get(query, system.operatorKey)).status).toBe(status)
  })
})

describe('npx otpilot audit', () => {
  const otpilot = (...words: string[]) =>
    new Promise<{ code: number; out: string; err: string }>((done) =>
      execFile(
        process.execPath,
        ['--import', 'tsx', 'cli/otpilot.ts', 'audit', ...words],
        {
          cwd: resolve(__dirname, '..', '..'),
          maxBuffer: 64 * 1024 * 1024,
          env: {
            ...process.env,
            DATABASE_URL: system.databaseUrl,
            OTPILOT_KEYS_FILE: system.keysFile,
            OTPILOT_AUDIT_DIR: audit.folder,
          },
        },
        (error, out, err) => done({ code: error ? Number(error.code) : 0, out, err }),
      ),
    )

  beforeAll(() => audit.seal())

  test('verify says what is wrong, or that nothing is', async () => {
    const clean = await otpilot('verify')
    expect(clean).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\d+ rows in \d+ chains, 1 roots: nothing is wrong\.\n$/),
    })
    await attack(system.adminUrl, [
      `update audit_events set actor = 'nobody' where chain = '${appRequest}' and sequence = 1`,
    ])
    const [plain, json] = await Promise.all([otpilot('verify'), otpilot('verify', '--json')])
    expect(plain).toMatchObject({
      code: 1,
      out: expect.stringContaining(`edited: ${appRequest}: row 1 or its seal edited\n`),
    })
    expect(json.code).toBe(1)
    expect(
      json.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toEqual([
      expect.objectContaining({ kind: 'edited', chain: appRequest, sequence: 1 }),
      expect.objectContaining({ findings: 1, roots: 1 }),
    ])
  })

  test('export writes what the API gives, and public-key what checks roots', async () => {
    const { out, code } = await otpilot('export', '--app', 'other')
    expect(code).toBe(0)
    expect(rowsOf(out)).toEqual((await get('?app_id=other', system.operatorKey)).rows)
    const typo = await otpilot('export', '--app', 'typo')
    expect(typo).toEqual({ code: 1, out: '', err: 'There is no app "typo".\n' })
    const refused = await otpilot('export', '--from', 'yesterday')
    expect(refused).toMatchObject({ code: 1, err: 'from: must be a time as in RFC 3339\n' })
    const { kid } = system.keyring.active('audit')
    expect(JSON.parse((await otpilot('public-key')).out)).toEqual({
      [kid]: expect.stringMatching(/^-----BEGIN PUBLIC KEY-----/),
    })
  })
})

describe('a long export', () => {
  test('streams pages of thousands of rows', async () => {
    await attack(system.adminUrl, [
      `insert into audit_chains values ('admin', 5999) on conflict (chain) do update set sequence = 5999`,
      `insert into audit_events (sequence, type, actor, detail)
       select n, 'alert', 'bulk', '{}' from generate_series(1000, 5999) n`,
      `insert into audit_seals (number, event_id, chain, sequence, hash, kid)
       select (select max(number) from audit_seals) + row_number() over (order by id), id, chain, sequence, '', 'none'
       from audit_events where actor = 'bulk'`,
    ])
    const { rows } = await get('', system.operatorKey)
    expect(rows.filter(({ actor }) => actor === 'bulk')).toHaveLength(5_000)
  })
})
