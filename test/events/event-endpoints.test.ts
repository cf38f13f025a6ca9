import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { eventEndpointRoutes } from '../../api/routes/admin/event-endpoints'
import { idOfKey } from '../../codes/api-key'
import type { Environment } from '../../core/requests/state'
import { createApiKey, findApiKey } from '../../db/apps/api-keys'
import { maxEndpoints } from '../../db/events/endpoints'
import { apiDepsOf } from '../harness/api-deps'
import { type Answer, clientOf, freshPhone, type TestClient } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let operator: TestClient
let admin: TestClient
let liveAdmin: TestClient
let otherAdmin: TestClient

beforeAll(async () => {
  system = await startSystem()
  const adminOf = async (appId: string, environment: Environment) => {
    const { key } = await createApiKey(system.db, { appId, environment, scopes: ['admin'] })
    return clientOf(system, key)
  }
  operator = clientOf(system, system.operatorKey)
  admin = await adminOf('app', 'staging')
  liveAdmin = await adminOf('app', 'production')
  otherAdmin = await adminOf('other', 'staging')
})
afterAll(() => system.stop())

const path = '/admin/event-endpoints'
// Reserved: nobody listens there who would be called.
const url = 'http://127.0.0.1:1024/webhooks/otp-status'

interface Made {
  endpoint_id: string
  secret: string
}
const create = async (by: TestClient = admin, given: Record<string, unknown> = {}) => {
  const { status, body } = await by.call<Made>('POST', path, {
    environment: 'staging',
    url,
    ...given,
  })
  if (status !== 200) throw new Error(JSON.stringify(body))
  return body
}
const code = async (answer: Promise<Answer>) => {
  const { status, body } = await answer
  return [status, body.error_code]
}
const lastAudit = () =>
  system.db.one(sql`select app_id as app, type::text, actor, detail from audit_events
    where app_id is not null and request_id is null order by id desc limit 1`)

describe('an endpoint', () => {
  test('shows its secret once; at rest it is sealed', async () => {
    const { endpoint_id, secret, ...rest } = await create(admin, {
      types: ['delivered', 'failed'],
      description: 'the shop',
    })
    expect(Buffer.from(secret.slice('whsec_'.length), 'base64')).toHaveLength(32)
    const { body } = await admin.call('GET', `${path}/${endpoint_id}`)
    expect(body).toEqual({ endpoint_id, ...rest })
    expect(body).toMatchObject({
      app_id: 'app',
      environment: 'staging',
      url,
      types: ['delivered', 'failed'],
      description: 'the shop',
      disabled: null,
      failing_since: null,
    })
    const row = await system.db.one<{ text: string }>(
      sql`select event_endpoints::text as text from event_endpoints where id = ${endpoint_id}`,
    )
    const bytes = Buffer.from(secret.slice('whsec_'.length), 'base64')
    for (const form of [
      secret,
      secret.slice(6),
      bytes.toString('hex'),
      Buffer.from(secret).toString('hex'),
    ])
      expect(row?.text).not.toContain(form)
    expect(await lastAudit()).toMatchObject({
      app: 'app',
      type: 'endpoint_created',
      actor: expect.stringMatching(/^key:/),
      detail: { endpoint_id, environment: 'staging' },
    })
  })

  test('is changed, disabled, enabled and deleted, and all of it is written down', async () => {
    const { endpoint_id } = await create()
    const own = `${path}/${endpoint_id}`
    const changed = await admin.call('PATCH', own, {
      types: null,
      description: 'new',
      disabled: true,
    })
    expect(changed.body).toMatchObject({ types: null, description: 'new', disabled: 'requested' })
    expect(await lastAudit()).toMatchObject({
      type: 'endpoint_changed',
      detail: { endpoint_id, changed: 'types description disabled' },
    })
    expect(await code(admin.call('POST', `${own}/test`))).toEqual([400, 'INVALID_ENDPOINT'])
    expect(
      await code(admin.call('POST', `${own}/deliveries/replay`, { since: '2026-01-01T00:00:00Z' })),
    ).toEqual([400, 'INVALID_ENDPOINT'])
    expect((await admin.call('PATCH', own, { disabled: false })).body).toMatchObject({
      disabled: null,
    })
    expect((await admin.call('PATCH', own, {})).status).toBe(200)
    expect((await admin.call('POST', `${own}/rotate-secret`)).status).toBe(200)
    expect(await lastAudit()).toMatchObject({ detail: { endpoint_id, changed: 'secret' } })
    expect((await admin.call('DELETE', own)).body).toEqual({ deleted: true })
    expect(await lastAudit()).toMatchObject({ type: 'endpoint_deleted', detail: { endpoint_id } })
    for (const [method, place, body] of [
      ['GET', own, undefined],
      ['PATCH', own, {}],
      ['DELETE', own, undefined],
      ['GET', `${own}/deliveries`, undefined],
      ['POST', `${own}/rotate-secret`, undefined],
    ] as const)
      expect(await code(admin.call(method, place, body))).toEqual([404, 'NOT_FOUND'])
    const { endpoints } = (await admin.call<{ endpoints: Made[] }>('GET', path)).body
    expect(endpoints.map((endpoint) => endpoint.endpoint_id)).not.toContain(endpoint_id)
    const row = await system.db.one(sql`select url, previous_secret_ciphertext as previous
      from event_endpoints where id = ${endpoint_id}`)
    expect(row).toEqual({ url: '', previous: null })
  })

  test.each([
    ['http://10.0.0.1/hook', /public internet/],
    ['http://169.254.169.254/latest/meta-data', /public internet/],
    ['http://[::ffff:a9fe:a9fe]/', /public internet/],
    ['http://0x0a000001/', /public internet/],
    ['ftp://127.0.0.1/', /https/],
    ['http://user:password@127.0.0.1/', /password/],
    ['http://127.0.0.1:25/', /port/],
  ])('at %s is refused with a sentence', async (where, sentence) => {
    const { status, body } = await admin.call('POST', path, { environment: 'staging', url: where })
    expect([status, body.error_code]).toEqual([400, 'INVALID_ENDPOINT'])
    expect(body.message).toMatch(sentence)
    const { endpoint_id } = await create()
    expect(await code(admin.call('PATCH', `${path}/${endpoint_id}`, { url: where }))).toEqual([
      400,
      'INVALID_ENDPOINT',
    ])
    await admin.call('DELETE', `${path}/${endpoint_id}`)
  })

  test('is kept as it is called', async () => {
    const odd = 'HTTP://127.1:1024/a\tb\u0000c?\ud800'
    const made = await admin.call('POST', path, { environment: 'staging', url: odd })
    expect(made.body.url).toBe('http://127.0.0.1:1024/ab%00c?%EF%BF%BD')
  })

  test('a name that leads to this machine is refused in production, and http there', async () => {
    const [create] = eventEndpointRoutes(apiDepsOf(system, { isProduction: true }))
    const key = await findApiKey(system.db, idOfKey(system.operatorKey) ?? '')
    for (const where of ['https://localhost:3000/', 'http://shop.example/', 'https://127.0.0.1/']) {
      const call = create?.handle({
        body: { app_id: 'app', environment: 'production', url: where },
        query: {},
        params: {},
        search: '',
        raw: Buffer.alloc(0),
        headers: {},
        key,
        client: { address: '127.0.0.1', network: '127.0.0.1' },
        signal: new AbortController().signal,
      })
      await expect(call).rejects.toMatchObject({ code: 'INVALID_ENDPOINT' })
    }
  })

  test.each([
    [{ url: 'not a url' }],
    [{ url: `https://shop.example/${'long'.repeat(150)}` }],
    [{ types: [] }],
    [{ types: ['test'] }],
    [{ types: ['sent', 'sent'] }],
    [{ environment: 'live' }],
    [{ description: 'a\u0000b' }],
    [{ secret: 'whsec_mine' }],
  ])('what is no endpoint: %#', async (given) => {
    const body = { environment: 'staging', url, ...given }
    expect(await code(admin.call('POST', path, body))).toEqual([400, 'INVALID_REQUEST'])
  })

  test(`an app has ${maxEndpoints} of them at most, also when they come at once`, async () => {
    const createOne = async () => {
      for (;;) {
        const answer = await otherAdmin.call('POST', path, { environment: 'development', url })
        // Those that waited for too long are told to come again.
        if (answer.body.error_code !== 'OVERLOADED') return answer
      }
    }
    const answers = await Promise.all(Array.from({ length: maxEndpoints + 5 }, createOne))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(maxEndpoints)
    for (const { status, body } of answers)
      if (status !== 200) expect(body.error_code).toBe('INVALID_ENDPOINT')
    const rows = await system.db.one(sql`select count(*)::int as n from audit_events
      where app_id = 'other' and type::text = 'endpoint_created'`)
    expect(rows).toEqual({ n: maxEndpoints })
  })
})

describe('who may', () => {
  test('another app finds nothing', async () => {
    const { endpoint_id } = await create()
    for (const [method, place, body] of [
      ['GET', '', undefined],
      ['PATCH', '', { disabled: true }],
      ['DELETE', '', undefined],
      ['POST', '/rotate-secret', undefined],
      ['POST', '/test', undefined],
      ['GET', '/deliveries', undefined],
      ['POST', '/deliveries/replay', { since: '2026-01-01T00:00:00Z' }],
    ] as const)
      expect(await code(otherAdmin.call(method, `${path}/${endpoint_id}${place}`, body))).toEqual([
        404,
        'NOT_FOUND',
      ])
    expect(await code(otherAdmin.call('GET', `${path}?app_id=app`))).toEqual([404, 'NOT_FOUND'])
    expect(
      await code(admin.call('POST', path, { app_id: 'other', environment: 'staging', url })),
    ).toEqual([404, 'NOT_FOUND'])
    expect(await code(operator.call('GET', path))).toEqual([400, 'INVALID_REQUEST'])
    expect((await operator.call('GET', `${path}?app_id=app`)).status).toBe(200)
    expect(await code(admin.call('GET', `${path}/ep_%00`))).toEqual([404, 'NOT_FOUND'])
  })

  test('a test key hears nothing of real people; keys without the scope hear nothing at all', async () => {
    const live = await create(liveAdmin, { environment: 'production' })
    expect(await code(admin.call('POST', path, { environment: 'production', url }))).toEqual([
      403,
      'FORBIDDEN',
    ])
    for (const [method, place, body] of [
      ['PATCH', '', { url }],
      ['POST', '/rotate-secret', undefined],
      ['POST', '/test', undefined],
      ['DELETE', '', undefined],
    ] as const)
      expect(await code(admin.call(method, `${path}/${live.endpoint_id}${place}`, body))).toEqual([
        403,
        'FORBIDDEN',
      ])
    expect(await code(clientOf(system).call('GET', path))).toEqual([403, 'FORBIDDEN'])
  })

  test('an event is replayed by its own app only', async () => {
    const { endpoint_id } = await create()
    await clientOf(system).send(freshPhone())
    const { body } = await admin.call<{ deliveries: { event_id: string }[] }>(
      'GET',
      `${path}/${endpoint_id}/deliveries`,
    )
    const [{ event_id } = { event_id: '' }] = body.deliveries
    const replay = `/admin/events/${event_id}/replay`
    expect(await code(otherAdmin.call('POST', replay, {}))).toEqual([404, 'NOT_FOUND'])
    expect(await code(admin.call('POST', '/admin/events/evt_x/replay', {}))).toEqual([
      404,
      'NOT_FOUND',
    ])
    const replayed = await admin.call<{ deliveries: Made[] }>('POST', replay, { endpoint_id })
    expect(replayed.body.deliveries).toEqual([{ delivery_id: expect.any(String), endpoint_id }])
    expect(await lastAudit()).toMatchObject({ type: 'event_replayed', detail: { event_id } })
  })
})

test('the log of deliveries is read in pages, by state', async () => {
  const { endpoint_id } = await create()
  const own = `${path}/${endpoint_id}/deliveries`
  const ids: string[] = []
  for (let turn = 0; turn < 5; turn++) {
    const { body } = await admin.call<{ delivery_id: string }>(
      'POST',
      `${path}/${endpoint_id}/test`,
    )
    ids.unshift(body.delivery_id)
  }
  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: { deliveries: { delivery_id: string }[]; next_cursor: string | null } = (
      await admin.call<{ deliveries: { delivery_id: string }[]; next_cursor: string | null }>(
        'GET',
        `${own}?limit=2${cursor && `&cursor=${cursor}`}`,
      )
    ).body
    seen.push(...page.deliveries.map(({ delivery_id }) => delivery_id))
    cursor = page.next_cursor
  }
  expect(seen).toEqual(ids)
  const failed = await admin.call<{ deliveries: unknown[] }>('GET', `${own}?state=failed`)
  expect(failed.body.deliveries).toEqual([])
  for (const query of ['limit=0', 'state=lost', 'cursor=x', 'other=1'])
    expect(await code(admin.call('GET', `${own}?${query}`))).toEqual([400, 'INVALID_REQUEST'])
})
