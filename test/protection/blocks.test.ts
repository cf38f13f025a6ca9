import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { Environment } from '../../core/requests/state'
import { settleSends } from '../../db/protection/decisions'
import { createApiKey } from '../../db/apps/api-keys'
import { createApp } from '../../db/apps/apps'
import { openRequest } from '../../db/requests/sends'
import { clientOf, type TestClient } from '../harness/client'
import { sendInput } from '../harness/seed'
import { startSystem, type System } from '../harness/system'

let system: System
let operator: TestClient

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  operator = clientOf(system, system.operatorKey)
})
afterAll(() => system.stop())

let lastApp = 0
/** An app of its own, whose sends meet no other test's. */
async function freshApp() {
  const app = `blocked-${++lastApp}`
  await createApp(system.db, { id: app, name: app })
  const keyFor = async (environment: Environment, scopes: string[]) =>
    clientOf(system, (await createApiKey(system.db, { appId: app, environment, scopes })).key)
  /** As a live key's, in mode block. */
  const send = (number: string) =>
    openRequest(
      system.db,
      system.keyring,
      sendInput({
        appId: app,
        environment: 'production',
        recipient: { kind: 'phone', value: number },
        protection: { ...sendInput().protection, mode: 'block' },
      }),
    )
  const attack = async (prefix: string) => {
    const outcomes: string[] = []
    for (let index = 0; index < 9; index++)
      outcomes.push(
        (await send(`${prefix}${String((index * 1_733) % 10_000).padStart(4, '0')}`)).outcome,
      )
    return outcomes
  }
  return { app, keyFor, send, attack }
}
interface Listed {
  blocks: { block_id: string; scope: string; label: string | null; standing: boolean }[]
  next_cursor: string | null
}
const list = async (by: TestClient, query = '') =>
  (await by.call<Listed>('GET', `/admin/blocks${query}`)).body
const shown = ({ status, body }: { status: number; body: { error_code?: unknown } }) =>
  [status, body.error_code].filter(Boolean).join(' ')
const trail = (app: string, type: string) =>
  system.db.many<{ actor: string; detail: object }>(sql`select actor, detail from audit_events
    where app_id = ${app} and type::text = ${type} order by id`)

describe('a block that a rule raised', () => {
  test('is listed with why and how long, and can be lifted; then the place has a clean slate', async () => {
    const { app, keyFor, send, attack } = await freshApp()
    const admin = await keyFor('production', ['admin'])
    const outcomes = await attack('+23324123')
    expect(outcomes.at(-1)).toBe('protected')
    const { blocks } = await list(admin, '?standing=true')
    expect(blocks).toEqual([
      expect.objectContaining({
        app_id: app,
        environment: 'production',
        scope: 'block',
        label: '+23324123',
        asks: 'block',
        level: 1,
        standing: true,
        lifted_at: null,
      }),
    ])
    const id = blocks[0]?.block_id ?? ''
    const lifted = await admin.call('POST', `/admin/blocks/${id}/lift`)
    expect(lifted.body).toMatchObject({
      block_id: id,
      standing: false,
      lifted_at: expect.any(String),
    })
    expect(await trail(app, 'block_lifted')).toEqual([
      {
        actor: expect.stringMatching(/^key:/),
        detail: expect.objectContaining({ block_id: id, label: '+23324123' }),
      },
    ])
    expect((await send('+233241235555')).outcome).toBe('created')
    // The messages of before had their time, and say nothing about the place any more.
    await system.db.many(sql`update send_decisions set matures_at = now() where app_id = ${app}`)
    await settleSends(system.db, 100)
    const standing = await system.db.one(sql`select failed from send_standings
      where name = ${`production|${app}|block|+23324123`}`)
    expect(standing).toEqual({ failed: 1 })
    expect((await list(admin, '?standing=true')).blocks).toEqual([])
    expect((await list(admin, '?standing=false')).blocks).toHaveLength(1)
    // A second time it is as it is, and nothing is written down.
    expect((await admin.call('POST', `/admin/blocks/${id}/lift`)).status).toBe(200)
    expect(await trail(app, 'block_lifted')).toHaveLength(1)
  })

  test('is not somebody else’s to see or to lift', async () => {
    const { keyFor, attack } = await freshApp()
    await attack('+23324123')
    const own = await keyFor('production', ['admin'])
    const testKey = await keyFor('staging', ['admin'])
    const other = await (await freshApp()).keyFor('production', ['admin'])
    const id = (await list(own)).blocks[0]?.block_id
    expect((await list(other)).blocks).toEqual([])
    expect(shown(await other.call('POST', `/admin/blocks/${id}/lift`))).toBe('404 NOT_FOUND')
    expect(shown(await testKey.call('POST', `/admin/blocks/${id}/lift`))).toBe('403 FORBIDDEN')
    expect(shown(await own.call('POST', '/admin/blocks/blk_x/lift'))).toBe('404 NOT_FOUND')
    expect(shown(await other.call('GET', '/admin/blocks?app_id=app'))).toBe('404 NOT_FOUND')
    expect((await operator.call('POST', `/admin/blocks/${id}/lift`)).status).toBe(200)
  })
})

describe('a block by hand', () => {
  const production = { environment: 'production' }
  test.each([
    ['block', { prefix: '+23324123' }, '+233241239999', '+233241249999'],
    ['range', { prefix: '+233241' }, '+233241999999', '+233242999999'],
    ['cold', {}, '+233241239999', undefined],
    ['app', {}, '+233241239999', undefined],
    ['country', { country: 'GH' }, '+233241239999', undefined],
  ])('of a %s stops what is in it', async (scope, place, inside, outside) => {
    const { app, send } = await freshApp()
    const wish = { ...production, app_id: app, scope, ...place }
    const raised = await operator.call('POST', '/admin/blocks', wish)
    expect(raised.body).toMatchObject({ scope, rule: 'by_hand', until: null, standing: true })
    expect((await send(inside)).outcome).toBe('protected')
    if (outside) expect((await send(outside)).outcome).toBe('created')
    expect(await trail(app, 'block_raised')).toMatchObject([{ detail: { scope, rule: 'by_hand' } }])
    await operator.call('POST', `/admin/blocks/${String(raised.body.block_id)}/lift`)
    expect((await send(inside)).outcome).toBe('created')
  })

  test('stands for as long as is said, and a second one takes its place', async () => {
    const { app } = await freshApp()
    const wish = { ...production, app_id: app, scope: 'country', country: 'NG' }
    const first = await operator.call('POST', '/admin/blocks', { ...wish, seconds: 600 })
    const { since, until, block_id } = first.body
    expect(Date.parse(String(until)) - Date.parse(String(since))).toBe(600_000)
    const second = await operator.call('POST', '/admin/blocks', { ...wish, asks: 'challenge' })
    expect(second.body).toMatchObject({ block_id, until: null, asks: 'challenge' })
    expect((await list(operator, `?app_id=${app}`)).blocks).toHaveLength(1)
  })

  test.each([
    [{ scope: 'block' }],
    [{ scope: 'block', prefix: '0241' }],
    [{ scope: 'range', country: 'GH', prefix: '+233241' }],
    [{ scope: 'country', country: 'Ghana' }],
    [{ scope: 'app', prefix: '+233241' }],
    [{ scope: 'ip' }],
    [{ scope: 'app', seconds: 1 }],
    [{ scope: 'app', rule: 'mine' }],
  ])('what is none: %j', async (wish) => {
    const body = { app_id: 'app', ...production, ...wish }
    expect(shown(await operator.call('POST', '/admin/blocks', body))).toBe('400 INVALID_REQUEST')
  })

  test('by a test key only for test sends', async () => {
    const { keyFor } = await freshApp()
    const testKey = await keyFor('staging', ['admin'])
    const wish = { scope: 'app', environment: 'staging' }
    expect((await testKey.call('POST', '/admin/blocks', wish)).status).toBe(200)
    const live = { ...wish, ...production }
    expect(shown(await testKey.call('POST', '/admin/blocks', live))).toBe('403 FORBIDDEN')
  })

  test('many are read in pages', async () => {
    const { app } = await freshApp()
    for (const country of ['GH', 'NG', 'CI', 'KE', 'ZA'])
      await operator.call('POST', '/admin/blocks', {
        ...production,
        app_id: app,
        scope: 'country',
        country,
      })
    const seen: (string | null)[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page: Listed = await list(
        operator,
        `?app_id=${app}&limit=2${cursor && `&cursor=${cursor}`}`,
      )
      seen.push(...page.blocks.map(({ label }) => label))
      cursor = page.next_cursor
    }
    expect(seen).toEqual(['ZA', 'KE', 'CI', 'NG', 'GH'])
  })

  test('raised anew between two pages do not make a page begin from the front', async () => {
    const { app } = await freshApp()
    const raise = (country: string) =>
      operator.call('POST', '/admin/blocks', {
        ...production,
        ...{ app_id: app, scope: 'country', country },
      })
    for (const country of ['GH', 'NG', 'CI', 'KE', 'ZA']) await raise(country)
    const first = await list(operator, `?app_id=${app}&limit=2`)
    await raise('KE')
    const rest = await list(operator, `?app_id=${app}&limit=9&cursor=${first.next_cursor}`)
    expect([...first.blocks, ...rest.blocks].map(({ label }) => label)).toEqual([
      ...['ZA', 'KE', 'CI', 'NG', 'GH'],
    ])
  })
})

test('the commands list, raise and lift', async () => {
  const { app, send } = await freshApp()
  const run = async (...args: string[]) => {
    const command = ['--import', 'tsx', 'cli/otpilot.ts', 'blocks', ...args]
    const env = { PATH: process.env.PATH, DATABASE_URL: system.databaseUrl }
    const { stdout, stderr } = await promisify(execFile)(process.execPath, command, { env })
    return { stdout, stderr }
  }
  const place = ['--environment', 'production', '--scope', 'country', '--country', 'GH']
  const raised = await run('raise', '--app', app, ...place, '--seconds', '600')
  const id = raised.stdout.trim()
  expect(raised.stderr).toContain(`country GH of the app ${app} (production)`)
  expect((await send('+233241239999')).outcome).toBe('protected')
  const listed = await run('list', '--app', app)
  expect(listed.stdout).toMatch(new RegExp(`${id} .*by_hand`))
  expect((await run('lift', id)).stderr).toContain(`Lifted the block ${id}`)
  expect((await send('+233241239999')).outcome).toBe('created')
  await expect(run('lift', 'blk_x')).rejects.toMatchObject({
    stderr: expect.stringContaining('There is no such block'),
  })
}, 120_000)
