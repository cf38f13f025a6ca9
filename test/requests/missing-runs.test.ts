import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import { sql } from 'drizzle-orm'
import type { Past } from '../../core/requests/otp-request'
import { type Step, stepDefaults } from '../../core/requests/plan'
import { findAttemptsForReceipt, recordReceipt } from '../../db/delivery/receipts'
import { begunBefore } from '../../workflows/resuming'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let connection: Connection
let temporal: Client

beforeAll(async () => {
  system = await startSystem({
    steps: { sms: { timeoutMs: 8_000 }, voice: { timeoutMs: 30_000 } },
  })
  client = clientOf(system)
  connection = await Connection.connect(system.temporal.connection)
  temporal = new Client({ connection })
})
afterAll(async () => {
  await connection.close()
  await system.stop()
})

const handleOf = (id: string) => temporal.workflow.getHandle(id)
const terminate = (id: string) => handleOf(id).terminate('by a test')
const statusOf = async (id: string) => (await handleOf(id).describe()).status.name

const restartsOf = async (id: string) =>
  (
    await system.db.one<{ restarts: number }>(
      sql`select restarts from otp_requests where id = ${id}`,
    )
  )?.restarts

const channelsIn = async (phone: string) =>
  (await client.inbox(phone)).map(({ channel }) => channel).toReversed()

const hasCome = (phone: string, channels: string[], within = 20_000) =>
  until(async () => (await client.inbox(phone)).length >= channels.length, {
    within,
    what: channels.join(),
  }).then(async () => expect(await channelsIn(phone)).toEqual(channels))

/** A request whose SMS is out and silent. */
async function silentSms(given: Record<string, unknown> = {}) {
  const phone = freshPhone()
  await client.script(phone, { receipt: 'none' })
  const id = await client.sent(phone, { channels: ['sms', 'voice', 'whatsapp'], ...given })
  await hasCome(phone, ['sms'])
  await until(async () => (await client.status(id)).steps[0]?.attempts[0]?.status === 'accepted')
  return { phone, id }
}

/** What makes a run go missing. */
const losses: Record<string, (id: string) => Promise<unknown>> = {
  terminated: terminate,
  'deleted, as after an older backup': async (id) => {
    await connection.workflowService.deleteWorkflowExecution({
      namespace: system.temporal.namespace,
      workflowExecution: { workflowId: id },
    })
    const isGone = () =>
      statusOf(id).then(
        () => false,
        () => true,
      )
    await until(isGone, { what: 'the deletion' })
  },
  'ended by itself, though Postgres says pending': async (id) => {
    await terminate(id)
    const { taskQueue } = system.temporal
    await temporal.workflow.execute('providerHealth', { workflowId: id, taskQueue })
  },
}

describe.each(Object.entries(losses))('a run that was %s', (_, lose) => {
  test('is started again by "next channel", which is made', async () => {
    const { phone, id } = await silentSms()
    await lose(id)
    const { body } = await client.call('POST', `/otp/${id}/next`)
    expect(body).toMatchObject({ status: 'moving', channel: 'voice' })
    await hasCome(phone, ['sms', 'voice'])
    expect(await statusOf(id)).toBe('RUNNING')
  })

  test('is started again by a resend, which is sent once', async () => {
    const { phone, id } = await silentSms({ channels: ['sms'] })
    await lose(id)
    const { body } = await client.call('POST', `/otp/${id}/resend`, { channel: 'voice' })
    expect(body).toMatchObject({ status: 'sent' })
    await hasCome(phone, ['sms', 'voice'])
    await terminate(id)
    await system.engine.lookAgain({ requestId: id, dueAt: new Date() })
    await until(async () => (await restartsOf(id)) === 2, { what: 'another restart' })
    const { code } = (await client.inbox(phone))[0] ?? {}
    await client.verify({ request_id: id, code })
    expect(await handleOf(id).result()).toBe('verified')
    expect(await channelsIn(phone)).toEqual(['sms', 'voice'])
  })

  test('is started again by a repeated send', async () => {
    const { phone, id } = await silentSms()
    await lose(id)
    const { body } = await client.send(phone, { channel: 'voice' })
    expect(body).toMatchObject({ request_id: id, resend: 'sent' })
    await hasCome(phone, ['sms', 'voice'])
  })

  test('is started again when its step’s time is over, and goes on with the next one', async () => {
    const { phone, id } = await silentSms()
    const sentAt = Date.now()
    await lose(id)
    await hasCome(phone, ['sms', 'voice'], 30_000)
    expect(Date.now() - sentAt).toBeGreaterThan(7_000)
    expect(await restartsOf(id)).toBe(1)
  }, 40_000)
})

test('a receipt of failure starts a run that is gone, and the next channel comes at once', async () => {
  const { phone, id } = await silentSms()
  await terminate(id)
  const [attempt] = await findAttemptsForReceipt(system.db, { requestId: id })
  if (!attempt) throw new Error('no attempt')
  const { wake } = await recordReceipt(system.db, {
    attempt,
    receipt: { status: 'failed.permanent', rawStatus: 'failed', eventKey: id },
    actor: 'provider:sandbox-a',
  })
  if (!wake) throw new Error('nothing to signal')
  await system.engine.wake(wake)
  await hasCome(phone, ['sms', 'voice'], 5_000)
})

test('a run that is gone while a step is silent sends nothing a second time, and keeps its clock', async () => {
  const { phone, id } = await silentSms({ channels: ['sms', 'voice'] })
  const isHalfOver = () =>
    system.db.one(sql`select from attempts
      where request_id = ${id} and claimed_at < now() - interval '4 seconds'`)
  await until(isHalfOver, { what: 'half of the step' })
  await terminate(id)
  await system.engine.lookAgain({ requestId: id, dueAt: new Date() })
  await hasCome(phone, ['sms', 'voice'], 15_000)
  // Eight seconds from the first claim, and some for a busy machine; from the restart it would be twelve.
  const gap = await system.db.one<{ seconds: number }>(sql`
    select extract(epoch from max(claimed_at) - min(claimed_at))::float8 as seconds
    from attempts where request_id = ${id}`)
  expect(gap?.seconds).toBeGreaterThan(7.9)
  expect(gap?.seconds).toBeLessThan(11.5)
  const { steps } = await client.status(id)
  expect(steps.map(({ attempts }) => attempts.length)).toEqual([1, 1])
})

test('a run that is gone before its first claim sends the one message', async () => {
  const phone = freshPhone()
  await system.stopWorker()
  const id = await client.sent(phone, { channels: ['sms'] })
  await terminate(id)
  await system.startWorker()
  await hasCome(phone, ['sms'], 30_000)
  const { code } = (await client.inbox(phone))[0] ?? {}
  await client.verify({ request_id: id, code })
  expect(await handleOf(id).result()).toBe('verified')
  expect(await channelsIn(phone)).toEqual(['sms'])
}, 40_000)

describe('a step that an earlier run had begun', () => {
  const step: Step = { ...stepDefaults.sms, channel: 'sms', providers: ['a', 'b', 'c'] }
  const call = { attempt: 1, step: 1, provider: 'a', success: 'delivered', ageMs: 5_000 } as const
  const past = { leaveStep: -1, resend: { seq: 0 }, currentStep: 1, lastSendNo: 2, servedSeq: 0 }
  const begun = (...calls: Past['calls']) =>
    begunBefore({ ...past, state: 'pending', attempts: [], unhealthy: [], calls }, step, 1)

  test('asks nobody again where somebody may have the message', () => {
    const open = { ...call, provider: 'b', taken: true, fault: null, ageMs: 4_000 }
    const before = Date.now()
    const found = begun({ ...call, taken: false, fault: 'unavailable' }, open)
    expect(found?.rest.providers).toEqual([])
    expect(found?.startedAt).toBeGreaterThanOrEqual(before - 5_000)
    expect(found?.startedAt).toBeLessThanOrEqual(Date.now() - 5_000)
  })

  test('asks those that have not refused it', () => {
    const found = begun({ ...call, taken: false, fault: 'unavailable' })
    expect(found).toMatchObject({ startedAt: undefined, rest: { providers: ['b', 'c'] } })
  })

  test('is over where the number was refused', () => {
    const found = begun({ ...call, taken: false, fault: 'invalid_number' })
    expect(found).toMatchObject({ startedAt: undefined, rest: { providers: [] } })
  })

  test('has not begun without a call', () => {
    expect(begun()).toBeUndefined()
    expect(begun({ ...call, step: 0, taken: true, fault: null })).toBeUndefined()
  })
})

test('a request that is over gets no run, whatever is signalled', async () => {
  const { phone, id } = await silentSms()
  const { code } = (await client.inbox(phone))[0] ?? {}
  await client.verify({ request_id: id, code })
  await untilState(client, id, 'verified')
  await handleOf(id).result()
  await system.engine.wake({ requestId: id, dueAt: new Date(), signal: 'next', step: 0 })
  await system.engine.lookAgain({ requestId: id, dueAt: new Date() })
  expect(await statusOf(id)).toBe('COMPLETED')
  expect(await restartsOf(id)).toBe(0)
})

test('a run that dies again and again is started again ever more seldom', async () => {
  const { id } = await silentSms({ channels: ['sms'] })
  const end = Date.now() + 12_000
  while (Date.now() < end) {
    await terminate(id).catch(() => undefined)
    await system.engine.lookAgain({ requestId: id, dueAt: new Date() })
  }
  // At once, then after 2 and 4 seconds; the next one would come after 8.
  expect(await restartsOf(id)).toBeLessThanOrEqual(4)
  expect(await restartsOf(id)).toBeGreaterThanOrEqual(2)
}, 30_000)

test('of many callers at once one starts the run again', async () => {
  const { phone, id } = await silentSms()
  await terminate(id)
  await client.call('POST', `/otp/${id}/next`)
  await Promise.all(
    Array.from({ length: 10 }, () =>
      system.engine.lookAgain({ requestId: id, dueAt: new Date(0) }),
    ),
  )
  await hasCome(phone, ['sms', 'voice'])
  expect(await restartsOf(id)).toBe(1)
})

test('a run ends by itself some minutes after its request at the latest', async () => {
  const { id } = await silentSms({ expiry_seconds: 120 })
  const { raw } = await handleOf(id).describe()
  const seconds = Number(raw.executionConfig?.workflowExecutionTimeout?.seconds)
  expect(seconds).toBeGreaterThan(120)
  expect(seconds).toBeLessThanOrEqual(120 + 15 * 60)
})
