import { createServer } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { changeApp } from '../../db/apps/apps'
import { createEngine } from '../../temporal'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'
import { ussdSession } from '../harness/ussd-session'

// An API that reaches Postgres and no Temporal, beside one that reaches both; no worker but where a test starts one.
let system: System
let cutOff: TestClient
let cutOffUrl: string
let engine: ReturnType<typeof createEngine>
const server = createServer()

beforeAll(async () => {
  system = await startSystem({ withWorker: false, steps: { sms: { timeoutMs: 3_000 } } })
  await changeApp(system.db, 'other', { queueWhenDown: true })
  engine = createEngine({
    // Nobody listens there.
    connection: { address: '127.0.0.1:1' },
    ...{ namespace: 'default', taskQueue: 'none' },
    ...{ db: system.db, log: pino({ level: 'silent' }) },
  })
  server.on('request', system.makeApi(engine))
  cutOffUrl = await listen(server)
  cutOff = clientOf({ ...system, url: cutOffUrl })
})
afterAll(async () => {
  await closeServer(server)
  await engine?.close()
  await system?.stop()
})

const dial = (phone: string) => ussdSession(cutOffUrl, system.sandboxSecret, phone)

const rowOf = (id: string) =>
  system.db.one<{
    state: string
    delivered: boolean
    due: boolean
  }>(sql`select state, delivered_at is not null as delivered, signal_due_at is not null as due
    from otp_requests where id = ${id}`)

test('a code is shown and checked while Temporal is away, and its run hears of it afterwards', async () => {
  const phone = freshPhone()
  const client = clientOf(system)
  await client.script(phone, { receipt: 'none' })
  const id = await client.sent(phone)
  const { status, body } = await dial(phone)
  expect({ status, code: body['code'] }).toEqual({
    status: 200,
    code: expect.stringMatching(/^\d{6}$/),
  })
  expect(await rowOf(id)).toEqual({ state: 'pending', delivered: true, due: true })
  await system.startWorker()
  // The sweeper tells it; the run goes on to no further channel.
  await until(async () => (await rowOf(id))?.due === false)
  const { steps } = await client.status(id)
  expect(steps.at(-1)).toMatchObject({ channel: 'ussd', status: 'succeeded' })
  await system.stopWorker()
  const checked = await cutOff.verify({ phone_number: phone, code: body['code'] })
  expect(checked.body.status).toBe('verified')
})

test('an accepted send that waits for Temporal says what to dial, and the code is there', async () => {
  const patient = clientOf({ ...system, url: cutOffUrl }, system.otherKey)
  const phone = freshPhone()
  const sent = await patient.send(phone)
  expect(sent).toMatchObject({ status: 202, body: { status: 'queued', instruction: '*920*1#' } })
  const { body } = await dial(phone)
  const checked = await patient.verify({ phone_number: phone, code: body['code'] })
  expect(checked.body.status).toBe('verified')
})

test('a send that was refused leaves nothing to dial for', async () => {
  const phone = freshPhone()
  expect((await cutOff.send(phone)).status).toBe(503)
  expect((await dial(phone)).body).toMatchObject({ code: null })
})
