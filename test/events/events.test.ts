import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { Webhook } from 'standardwebhooks'
import { freePort } from '../../cli/ports'
import { recordPlanEnded } from '../../db/requests/progress'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { type EventListeners, eventListenersOf } from '../harness/event-listeners'
import { dumpPostgres, dumpTemporal, eventCount, findLeaks } from '../harness/leaks'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let listeners: EventListeners

beforeAll(async () => {
  system = await startSystem({ eventDelaysMs: [100, 200, 300] })
  client = clientOf(system)
  listeners = eventListenersOf(system)
})
afterAll(() => system.stop())
afterEach(() => listeners.clear())

const codeFor = async (phone: string) =>
  (await until(async () => (await client.inbox(phone))[0], { what: 'a message' })).code

const isDelivered = (id: string) => until(async () => (await client.status(id)).delivered_at)

/** The request's time is over; the sweeper finds it so. */
const runOut = (id: string) =>
  system.db.many(sql`update otp_requests set expires_at = now() where id = ${id}`)

describe('what an app is told', () => {
  test('a whole life, signed, flat, each type once, without another event in the run', async () => {
    const receiver = await listeners.receiverOf()
    const { secret } = await listeners.register(receiver.url)
    const phone = freshPhone()
    const id = await client.sent(phone, { metadata: { order: 'A-17' } })
    const code = await codeFor(phone)
    await isDelivered(id)
    await client.verify({ request_id: id, code })
    await listeners.told(receiver, id, 'verified')
    await until(async () => receiver.of(id).length === 4)

    const inOrder = receiver
      .of(id)
      .toSorted((a, b) => Number(a.body.sequence) - Number(b.body.sequence))
    expect(inOrder.map(({ body }) => body.type)).toEqual([
      'created',
      'sent',
      'delivered',
      'verified',
    ])
    for (const { raw, headers, body } of inOrder) {
      const verified = new Webhook(secret).verify(raw, headers as Record<string, string>)
      expect(verified).toEqual(body)
      expect(body).toMatchObject({
        request_id: id,
        status: body.type,
        phone_number: phone,
        channel: 'sms',
        app_id: 'app',
        environment: 'staging',
        purpose: 'default',
        metadata: { order: 'A-17' },
      })
      expect(new Date(String(body.timestamp)).toISOString()).toBe(body.timestamp)
      for (const value of Object.values(body)) {
        if (value !== body.metadata) expect(typeof value).not.toBe('object')
      }
    }
    expect(new Set(inOrder.map(({ headers }) => headers['webhook-id'])).size).toBe(4)
    await until(async () => (await eventCount(id)) > 15)
    expect(await eventCount(id)).toBeLessThanOrEqual(26)
  })

  test('the end of the plan with what to do, then expired with the reason', async () => {
    const receiver = await listeners.receiverOf()
    await listeners.register(receiver.url, { types: ['plan_ended', 'expired'] })
    await client.script('+233555000002', { receipt: 'none' })
    const id = await client.sent('+233555000002', { channels: ['sms'] })
    // Without a claim it would end as failed instead.
    await codeFor('+233555000002')
    await recordPlanEnded(system.db, id, 'run')
    expect((await listeners.told(receiver, id, 'plan_ended')).body).toMatchObject({
      error_code: 'ALL_CHANNELS_FAILED',
      action: 'contact_support',
    })
    await runOut(id)
    expect((await listeners.told(receiver, id, 'expired')).body).toMatchObject({
      status: 'expired',
      reason: 'no_step_succeeded',
    })
    expect(receiver.of(id)).toHaveLength(2)
  })

  test('an e-mail request has no phone number; USSD says: dial', async () => {
    const receiver = await listeners.receiverOf()
    await listeners.register(receiver.url, { types: ['action_required', 'created'] })
    const { body } = await client.call<{ request_id: string }>('POST', '/otp/send', {
      email: 'ama@example.com',
    })
    expect((await listeners.told(receiver, body.request_id, 'created')).body).toMatchObject({
      phone_number: null,
      email: 'ama@example.com',
    })
    const id = await client.sent(freshPhone(), { channels: ['ussd'] })
    expect((await listeners.told(receiver, id, 'action_required')).body).toMatchObject({
      action: 'dial',
      instruction: '*920*1#',
      channel: 'ussd',
    })
  })

  test('after erasure a number is told no more; nothing of it is at rest anywhere', async () => {
    const receiver = await listeners.receiverOf(() => ({ status: 500 }))
    await listeners.register(receiver.url, { types: ['created'] })
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms'] })
    const { headers } = await listeners.told(receiver, id, 'created')
    await isDelivered(id)
    const [delivery] = await system.db.many<{ id: string }>(
      sql`select d.id from event_deliveries d join events v on v.id = d.event_id where v.request_id = ${id}`,
    )
    await until(async () => receiver.of(id).length === 4)
    const places = [
      ...(await dumpPostgres(system.databaseUrl)),
      ...(await dumpTemporal([`event-${delivery?.id}-0`])),
    ]
    expect(findLeaks(places, [phone.slice(1)])).toEqual([])
    await system.db
      .many(sql`update recipients set ciphertext = null, erased_at = now(), index = sha256(index)
      where id = (select recipient_id from otp_requests where id = ${id})`)
    receiver.answer(() => ({}))
    await listeners.operator.call(
      'POST',
      `/admin/events/${String(headers['webhook-id'])}/replay`,
      {},
    )
    await until(async () => receiver.of(id).length === 5)
    expect(receiver.of(id).map(({ body }) => body.phone_number)).toEqual([
      phone,
      phone,
      phone,
      phone,
      null,
    ])
  })

  test('the largest metadata fit into the largest body', async () => {
    const receiver = await listeners.receiverOf()
    await listeners.register(receiver.url, { types: ['created'] })
    const metadata = Object.fromEntries(
      Array.from({ length: 10 }, (_, n) => [`${'k'.repeat(39)}${n}`, '€'.repeat(450)]),
    )
    const id = await client.sent(freshPhone(), { metadata })
    const { raw, body } = await listeners.told(receiver, id, 'created')
    expect(body.metadata).toEqual(metadata)
    expect(Buffer.byteLength(raw)).toBeLessThan(20_000)
  })
})

describe('the handler in examples/', () => {
  let program: ChildProcess | undefined
  afterEach(async () => {
    const exited = program && once(program, 'exit')
    program?.kill()
    await exited
  })

  test('receives delivered, failed and expired, and refuses what is not signed', async () => {
    const url = `http://127.0.0.1:${await freePort()}/webhooks/otp-status`
    const { secret } = await listeners.register(url)
    const updates: Record<string, unknown>[] = []
    program = spawn(process.execPath, ['examples/events/receiver.mjs'], {
      env: { PATH: process.env.PATH, PORT: new URL(url).port, OTPILOT_EVENT_SECRET: secret },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    if (!program.stdout || !program.stderr) throw new Error('no output')
    createInterface(program.stdout).on(
      'line',
      (line) => void updates.push(JSON.parse(line) as Record<string, unknown>),
    )
    await once(program.stderr, 'data')

    const phone = freshPhone()
    const delivered = await client.sent(phone)
    await isDelivered(delivered)
    await runOut(delivered)
    const failed = await client.sent('+233555000003', { channels: ['sms'] })
    await untilState(client, failed, 'failed')
    const of = (id: string) => updates.filter(({ request_id }) => request_id === id)
    await until(async () => of(delivered).length === 2 && of(failed).length === 1)
    expect(of(delivered)).toEqual([
      { request_id: delivered, delivered: true, delivered_at: expect.any(String) },
      { request_id: delivered, expired: true, reason: 'lifetime_over' },
    ])
    expect(of(failed)).toEqual([
      {
        request_id: failed,
        delivered: false,
        failed_at: expect.any(String),
        phone_number: '+233555000003',
      },
    ])

    const count = updates.length
    const forged = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ request_id: delivered, status: 'failed' }),
    })
    expect(forged.status).toBe(401)
    expect(updates).toHaveLength(count)
  })
})
