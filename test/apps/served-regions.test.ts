import { createServer, type RequestListener, type Server } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createApi } from '../../api/app'
import { scopes } from '../../api/route'
import { createApiKey } from '../../db/apps/api-keys'
import { changeApp, createApp } from '../../db/apps/apps'
import type { ExportedRow } from '../../db/audit/export'
import { findOrAddRecipient } from '../../db/recipients/recipients'
import { apiDepsOf } from '../harness/api-deps'
import { auditTools } from '../harness/audit'
import { clientOf, freshPhone } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

let system: System
const servers: Server[] = []

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
})
afterAll(async () => {
  await Promise.all(servers.map(closeServer))
  await system.stop()
})

/** An API process that stands in a region, or in none: one of each, since each takes its share of a key's quota. */
const urlIn = async (region: string | undefined) => {
  const known = urls.get(region)
  if (known !== undefined) return known
  const server = createServer(createApi(apiDepsOf(system, { region })) as RequestListener)
  servers.push(server)
  const url = await listen(server)
  urls.set(region, url)
  return url
}
const urls = new Map<string | undefined, string>()

test('an app of a region is served by a process of that region alone', async () => {
  await createApp(system.db, { id: 'european', name: 'European', region: 'eu' })
  const owner = { appId: 'european', environment: 'staging' as const }
  const { key } = await createApiKey(system.db, { ...owner, scopes: [...scopes] })
  const codes = async (path: string, method: string, body?: object, by = key) => {
    const answers: unknown[] = []
    for (const region of ['eu', 'us', undefined]) {
      const client = clientOf({ ...system, url: await urlIn(region) }, by)
      const { status, body: answer } = await client.call(method, path, body)
      answers.push(answer.error_code ?? status)
    }
    return answers
  }
  expect(await codes('/otp/search', 'POST', {})).toEqual([200, 'WRONG_REGION', 'WRONG_REGION'])
  expect(await codes('/admin/keys', 'GET')).toEqual([200, 'WRONG_REGION', 'WRONG_REGION'])
  const recipient = { app_id: 'european', phone_number: freshPhone() }
  expect(await codes('/admin/recipients/unlock', 'POST', recipient, system.operatorKey)).toEqual([
    200,
    'WRONG_REGION',
    'WRONG_REGION',
  ])
  for (const path of ['blocks', 'decisions', 'keys', 'alerts', 'lists', 'budgets', 'test-numbers'])
    expect([
      path,
      await codes(`/admin/${path}?app_id=european`, 'GET', undefined, system.operatorKey),
    ]).toEqual([path, [200, 'WRONG_REGION', 'WRONG_REGION']])
  const wish = { app_id: 'european', environment: 'staging', scopes: ['send'] }
  expect(await codes('/admin/keys', 'POST', wish, system.operatorKey)).toEqual([
    ...[200, 'WRONG_REGION', 'WRONG_REGION'],
  ])
  const { id } = await createApiKey(system.db, { ...owner, scopes: ['send'] })
  for (const [method, path] of [
    ['GET', `/admin/keys/${id}`],
    ['POST', `/admin/keys/${id}/rotate`],
    ['DELETE', `/admin/keys/${id}`],
  ] as const)
    expect([path, (await codes(path, method, undefined, system.operatorKey)).slice(1)]).toEqual([
      path,
      ['WRONG_REGION', 'WRONG_REGION'],
    ])
  // Settings are no personal data: an operator mends a wrong region from anywhere.
  expect(await codes('/admin/apps/european', 'GET', undefined, system.operatorKey)).toEqual([
    200, 200, 200,
  ])
})

test('an app of a region is left out where an operator names none: of erasures and exports elsewhere', async () => {
  const number = freshPhone()
  const address = { kind: 'phone' as const, value: number }
  for (const appId of ['european', 'app'])
    await findOrAddRecipient(system.db, system.keyring, { appId, ...address })
  await auditTools(system).seal()
  const erasedIn = async (region: string | undefined) => {
    const client = clientOf({ ...system, url: await urlIn(region) }, system.operatorKey)
    const { body } = await client.call<{ erased: { recipients: number } }>(
      'POST',
      '/admin/erasures',
      { phone_number: number },
    )
    return body.erased.recipients
  }
  const exportedIn = async (region: string | undefined) => {
    const response = await fetch(`${await urlIn(region)}/admin/audit`, {
      headers: { authorization: `Bearer ${system.operatorKey}` },
    })
    const rows = (await response.text()).split('\n').slice(0, -1)
    return new Set(rows.map((row) => (JSON.parse(row) as ExportedRow).app_id))
  }
  for (const region of ['us', undefined]) {
    const apps = await exportedIn(region)
    expect([apps.has('european'), apps.has('app'), apps.has(null)]).toEqual([false, true, true])
  }
  expect((await exportedIn('eu')).has('european')).toBe(true)
  expect([await erasedIn('us'), await erasedIn(undefined), await erasedIn('eu')]).toEqual([1, 0, 1])
})

test('an app of a region is left out of what an operator lists elsewhere without naming one', async () => {
  await system.db.many(sql`
    insert into send_decisions (request_id, app_id, environment, at, verdict, mode)
    select 'otp_of_' || app, app, 'staging', now(), 'blocked', 'block' from unnest(array['european', 'app']) app`)
  await system.db.many(sql`
    insert into send_blocks (id, name, app_id, environment, scope, rule, asks, level, since, until)
    select 'blk_' || app, app, app, 'staging', 'app', 'by_hand', 'block', 1, now(), 'infinity'
    from unnest(array['european', 'app']) app`)
  await system.db.many(sql`
    insert into alerts (id, app_id, environment, rule, subject, severity, detail, opened_at, last_seen_at, reminded_at)
    select 'alr_' || app, app, 'staging', 'volume_spike', '', 'warning', '{}', now(), now(), now()
    from unnest(array['european', 'app']) app`)
  for (const region of ['eu', 'us', undefined]) {
    const client = clientOf({ ...system, url: await urlIn(region) }, system.operatorKey)
    for (const list of ['blocks', 'decisions', 'alerts', 'keys']) {
      const { body } = await client.call<Record<string, { app_id: string | null }[]>>(
        'GET',
        `/admin/${list}?limit=100`,
      )
      const apps = new Set(body[list]?.map(({ app_id }) => app_id))
      expect([region, list, apps.has('european'), apps.has('app')]).toEqual([
        ...[region, list, region === 'eu', true],
      ])
    }
  }
})

test('an app without one is served everywhere', async () => {
  await changeApp(system.db, 'other', { region: null })
  for (const region of ['eu', undefined]) {
    const client = clientOf({ ...system, url: await urlIn(region) }, system.otherKey)
    expect((await client.call('POST', '/otp/search', {})).status).toBe(200)
  }
})
