import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text as readAll } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { appIndexes, globalIndexes } from '../../codes/seal'
import { createApiKey } from '../../db/apps/api-keys'
import { retire } from '../../db/upkeep/retention'
import { attack } from '../harness/audit'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { dumpPostgres, dumpTemporal, findLeaks, type Place } from '../harness/leaks'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let operator: TestClient
let appAdmin: TestClient

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  operator = clientOf(system, system.operatorKey)
  const { key } = await createApiKey(system.db, {
    appId: 'app',
    environment: 'production',
    scopes: ['admin'],
  })
  appAdmin = clientOf(system, key)
})
afterAll(() => system.stop())

/** Everything that would lead back to a number: itself, with and without +, and each of its digests. */
function traces(phone: string): string[] {
  const { keyring } = system
  const digests = ['app', 'other'].flatMap((appId) =>
    appIndexes(keyring, { appId, kind: 'phone', value: phone }).map(({ index }) => index),
  )
  const all = [...digests, ...globalIndexes(keyring, phone)]
  return [phone.slice(1), ...all.map((digest) => digest.toString('hex'))]
}

const dump = async (requestIds: string[] = []): Promise<Place[]> => [
  ...(await dumpPostgres(system.databaseUrl)),
  ...(await dumpTemporal(requestIds)),
]
const codeFor = async (phone: string) =>
  (await until(async () => (await client.inbox(phone))[0], { what: 'a message' })).code
const erase = (phone: string, by = operator, app_id?: string) =>
  by.call<{ erased?: { recipients: number; requests: number } }>('POST', '/admin/erasures', {
    phone_number: phone,
    ...(app_id !== undefined && { app_id }),
  })
const auditRows = () =>
  system.db.many(sql`select id, chain, sequence, type, detail, at from audit_events order by id`)

describe('after a request has ended', () => {
  const phone = freshPhone()
  let id: string
  let messageId: string
  let before: unknown[]

  beforeAll(async () => {
    const send = {
      channels: ['sms', 'ussd'],
      message: 'Canary text {{code}}',
      metadata: { order: 'canary-17' },
      ip_address: '203.0.113.77',
      consent: { text_version: 'canary-wording-3', source: 'canary-form' },
    }
    const sent = await client.send(phone, send, { 'idempotency-key': 'canary-key' })
    id = sent.body.request_id
    await client.call('PUT', '/preferences', { phone_number: phone, channel: 'voice' })
    const code = await codeFor(phone)
    await until(async () => (await client.status(id)).delivered_at)
    await client.call('POST', `/otp/${id}/next`)
    await until(async () => (await client.inbox(phone)).length === 2)
    await client.verify({ phone_number: phone, code: code === '000000' ? '000001' : '000000' })
    await client.verify({ phone_number: phone, code })
    await untilState(client, id, 'verified')
    await client.sent(phone, { purpose: 'other', channels: ['sms'] })
    const attempt = await system.db.one<{ messageId: string }>(
      sql`select provider_message_id as "messageId" from attempts where request_id = ${id} limit 1`,
    )
    messageId = attempt?.messageId ?? ''
  })

  test('the scanner finds what is there before it', async () => {
    const places = findLeaks(await dump([id]), [...traces(phone), messageId, '203.0.113.77'])
    expect(places).toEqual(
      expect.arrayContaining([
        'public.recipients.index',
        'public.ussd_windows.global_index',
        'public.attempts.provider_message_id',
        'public.request_contexts.ip',
      ]),
    )
    before = await auditRows()
  })

  test('nothing leads back to the number, and the trail of before is as it was', async () => {
    expect((await erase(phone)).body).toEqual({ erased: { recipients: 1, requests: 2 } })
    const canaries = ['canary', '203.0.113.77', messageId]
    expect(findLeaks(await dump([id]), [...traces(phone), ...canaries])).toEqual([])
    const left = await system.db.one(sql`select
      (select count(*)::int from recipients where ciphertext is not null) as recipients,
      (select count(*)::int from preferences) as preferences,
      -- That of the end user's network counts others too, and goes within the day.
      (select count(*)::int from send_windows where name not like 'ip|%') as windows,
      (select count(*)::int from check_budgets) as budgets,
      (select count(*)::int from request_contexts) as contexts,
      (select count(*)::int from idempotency_keys) as idempotency`)
    expect(left).toEqual({
      recipients: 0,
      preferences: 0,
      windows: 0,
      budgets: 0,
      contexts: 0,
      idempotency: 0,
    })
    expect((await auditRows()).slice(0, before.length)).toEqual(before)
  })

  test('its trail says that it happened, and by whom, without a number', async () => {
    const rows = await system.db.many<{ chain: string; actor: string; detail: unknown }>(
      sql`select chain, actor, detail from audit_events where type = 'erased' and request_id is null order by chain`,
    )
    expect(rows).toMatchObject([
      { chain: 'admin', detail: { recipients: 1, requests: 2 } },
      { chain: 'app:app', detail: { recipients: 1, requests: 2 } },
    ])
    expect(rows[0]?.actor).toMatch(/^key:/)
    const { events } = await client.status(id)
    expect(events.at(-1)).toMatchObject({ type: 'erased' })
  })

  test('the request still answers; a search by the number finds nothing', async () => {
    expect(await client.status(id)).toMatchObject({ state: 'verified', request_id: id })
    const found = await client.call('POST', '/otp/search', { phone_number: phone })
    expect(found.body).toMatchObject({ requests: [] })
    const again = await erase(phone)
    expect(again.body).toEqual({ erased: { recipients: 0, requests: 0 } })
  })

  test('the number is new to a send that comes after it', async () => {
    const fresh = await client.sent(phone, { channels: ['sms'] })
    const code = (
      await until(async () =>
        (await client.inbox(phone)).find((entry) => entry.request_id === fresh),
      )
    ).code
    expect((await client.verify({ phone_number: phone, code })).body).toMatchObject({
      status: 'verified',
    })
    const { count } = (await system.db.one<{ count: number }>(
      sql`select count(*)::int from recipients where ciphertext is not null`,
    )) ?? { count: 0 }
    expect(count).toBe(1)
  })
})

describe('during a live request', () => {
  test('a send in flight: one message at most, and nothing is written down about it', async () => {
    const phone = freshPhone()
    await client.script(phone, { latency_ms: 800 })
    const id = await client.sent(phone)
    await until(async () => (await client.status(id)).steps[0]?.attempts[0])
    expect((await erase(phone)).body).toEqual({ erased: { recipients: 1, requests: 1 } })
    expect(await client.status(id)).toMatchObject({ state: 'cancelled', reason: 'erased' })
    const attempt = async () => (await client.status(id)).steps[0]?.attempts[0]
    await until(async () => (await attempt())?.wasted, { what: 'the answer of the provider' })
    // The receipt of what was erased leaves nothing that could be waited for.
    await pause(1_000)
    const inbox = await client.inbox(phone)
    expect(inbox.length).toBeLessThanOrEqual(1)
    const { body } = await client.verify({ request_id: id, code: inbox[0]?.code ?? '123456' })
    expect(body).toMatchObject({ status: 'rejected', error_code: 'NO_ACTIVE_REQUEST' })
    const secrets = [...traces(phone), ...(inbox[0] ? [inbox[0].id] : [])]
    expect(findLeaks(await dump([id]), secrets)).toEqual([])
  })

  test('the next channel is not called any more, and the run ends', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone, { channels: ['sms', 'voice'] })
    await codeFor(phone)
    await erase(phone)
    expect((await client.call('POST', `/otp/${id}/next`)).status).toBe(409)
    expect((await client.call('POST', `/otp/${id}/resend`)).status).toBe(409)
    expect(await client.inbox(phone)).toHaveLength(1)
    const told = sql`select signal_due_at is null as told from otp_requests where id = ${id}`
    await until(async () => (await system.db.one<{ told: boolean }>(told))?.told)
  })

  test('sends, checks, resends, preferences and erasures at once: no 5xx, and nothing is left after the last', async () => {
    const phone = freshPhone()
    const statuses: number[] = []
    const ids: string[] = []
    const track = async (call: Promise<{ status: number; body: object }>) => {
      const { status, body } = await call
      statuses.push(status)
      if ('request_id' in body && typeof body.request_id === 'string') ids.push(body.request_id)
    }
    for (let round = 0; round < 12; round++) {
      const id = ids.at(-1)
      await Promise.all([
        ...Array.from({ length: 4 }, (_, n) =>
          track(client.send(phone, { purpose: `p${n % 2}`, channels: ['sms'] })),
        ),
        track(client.verify({ phone_number: phone, purpose: 'p0', code: '000000' })),
        track(client.verify({ phone_number: phone, purpose: 'p1', code: '000000' })),
        track(client.call('PUT', '/preferences', { phone_number: phone, channel: 'sms' })),
        track(client.call('POST', '/consent/withdraw', { phone_number: phone })),
        ...(id ? [track(client.call('POST', `/otp/${id}/resend`))] : []),
        pause(round % 4).then(() => track(erase(phone))),
        pause(round % 3).then(() => track(erase(phone, appAdmin))),
      ])
    }
    expect(statuses.filter((status) => status >= 500)).toEqual([])
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(24)
    await erase(phone)
    const unique = [...new Set(ids)]
    expect(unique.length).toBeGreaterThan(1)
    expect(findLeaks(await dump(), traces(phone))).toEqual([])
    const stray = await system.db.many(sql`
      select 'request' as what from otp_requests q join recipients r on r.id = q.recipient_id
        where r.erased_at is not null and q.state = 'pending'
      union all select 'window' from send_windows w join recipients r on r.id = w.recipient_id where r.erased_at is not null
      union all select 'budget' from check_budgets b join recipients r on r.id = b.recipient_id
        where r.erased_at is not null and (b.consecutive > 0 or cardinality(b.wrong) > 0)
      union all select 'preference' from preferences p join recipients r on r.id = p.recipient_id where r.erased_at is not null
      union all select 'opt-out' from opt_outs o join recipients r on r.id = o.recipient_id where r.erased_at is not null`)
    expect(stray).toEqual([])
  }, 60_000)
})

describe('whose data', () => {
  test('an app’s key erases for its own app only; an operator may name one or mean all', async () => {
    const phone = freshPhone()
    const other = clientOf(system, system.otherKey)
    for (const by of [client, other]) await by.sent(phone, { channels: ['sms'] })
    expect((await erase(phone, appAdmin, 'other')).status).toBe(404)
    expect((await erase(phone, operator, 'nobody')).status).toBe(404)
    expect((await erase(phone, appAdmin)).body).toEqual({ erased: { recipients: 1, requests: 1 } })
    const search = (by: TestClient) => by.call('POST', '/otp/search', { phone_number: phone })
    expect((await search(client)).body).toMatchObject({ requests: [] })
    expect((await search(other)).body).toMatchObject({ requests: [{}] })
    expect((await erase(phone, operator, 'other')).body).toMatchObject({
      erased: { recipients: 1 },
    })
    expect((await search(other)).body).toMatchObject({ requests: [] })
  })

  test('an e-mail address, and input that is neither', async () => {
    const mail = { email: 'Canary@Example.com' }
    expect((await client.call('POST', '/otp/send', mail)).status).toBe(200)
    const erased = await operator.call('POST', '/admin/erasures', { email: 'canary@example.com' })
    expect(erased.body).toEqual({ erased: { recipients: 1, requests: 1 } })
    for (const body of [{}, { phone_number: 'x' }, { phone_number: '1', email: 'a@b.c' }])
      expect((await operator.call('POST', '/admin/erasures', body)).status).toBe(400)
    expect((await client.call('POST', '/admin/erasures', mail)).status).toBe(403)
  })

  test('the command reads the number from standard input, and says no number', async () => {
    const phone = freshPhone()
    await client.sent(phone, { channels: ['sms'] })
    const run = async (input: string, ...args: string[]) => {
      const child = spawn(
        process.execPath,
        ['--import', 'tsx', 'cli/otpilot.ts', 'erase', ...args],
        {
          env: {
            PATH: process.env.PATH,
            DATABASE_URL: system.databaseUrl,
            OTPILOT_KEYS_FILE: system.keysFile,
          },
          stdio: ['pipe', 'pipe', 'pipe'],
        },
      )
      const closed = once(child, 'close')
      child.stdin.end(input)
      const [out, errors] = await Promise.all([readAll(child.stdout), readAll(child.stderr)])
      const [code] = (await closed) as [number | null]
      return { out, errors, code }
    }
    expect(await run(`${phone}\n`, '--app', 'typo')).toEqual({
      out: '',
      errors: 'There is no app "typo".\n',
      code: 1,
    })
    expect(await run(`${phone}\n`, '--app', 'app')).toEqual({
      code: 0,
      out: '{"erased":{"recipients":1,"requests":1}}\n',
      errors: '',
    })
    expect((await run('')).errors).toContain('standard input')
    expect((await run('12')).errors).not.toContain('12')
    expect(findLeaks(await dump(), traces(phone))).toEqual([])
  }, 60_000)
})

test('what erasure leaves behind goes with the last request of it', async () => {
  await client.sent(freshPhone(), { channels: ['sms'] })
  await attack(system.adminUrl, [
    `update recipients set erased_at = erased_at - interval '366 days'`,
    `truncate attempts, receipts, request_contexts, events, audit_events cascade`,
    `delete from otp_requests q using recipients r where r.id = q.recipient_id and r.erased_at is not null and r.kind = 'phone'`,
  ])
  for await (const _ of retire(system.db, system.policy.retention)) continue
  const left = await system.db.many(
    sql`select kind, erased_at is null as known from recipients group by 1, 2 order by 1, 2`,
  )
  // The request of the address that was erased is still there, so its row is too.
  expect(left).toEqual([
    { kind: 'phone', known: true },
    { kind: 'email', known: false },
  ])
})
