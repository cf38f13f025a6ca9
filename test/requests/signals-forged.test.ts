import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import fc from '../harness/properties'
import {
  clientOf,
  freshDigits,
  freshPhone,
  type TestClient,
  until,
  untilState,
} from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let connection: Connection
let temporal: Client

beforeAll(async () => {
  system = await startSystem({
    steps: {
      sms: { timeoutMs: 20_000 },
      voice: { timeoutMs: 20_000 },
      whatsapp: { timeoutMs: 20_000 },
    },
  })
  client = clientOf(system)
  connection = await Connection.connect(system.temporal.connection)
  temporal = new Client({ connection })
})
afterAll(async () => {
  await connection.close()
  await system.stop()
})

const names = ['receipt', 'verified', 'cancelled', 'locked', 'next', 'resend', 'lookAgain'] as const

/** Whoever reaches Temporal can do this. */
const signal = (id: string, name: string, ...args: unknown[]) =>
  temporal.workflow.getHandle(id).signal(name, ...args)

/** The same with bytes that no converter reads. */
const signalRaw = (id: string, signalName: string, encoding: string, data: string) =>
  connection.workflowService.signalWorkflowExecution({
    namespace: system.temporal.namespace,
    workflowExecution: { workflowId: id },
    signalName,
    input: {
      payloads: [{ metadata: { encoding: Buffer.from(encoding) }, data: Buffer.from(data) }],
    },
  })

async function eventsOf(id: string) {
  const { events } = await temporal.workflow.getHandle(id).fetchHistory()
  return events ?? []
}

/** Waits until the run has handled every signal that it got, which it cannot while its task fails. */
const hasTakenAll = (id: string, count: number) =>
  until(
    async () => {
      const events = await eventsOf(id)
      const last = events.findLastIndex((event) => event.workflowExecutionSignaledEventAttributes)
      const handled = events.findLastIndex((event) => event.workflowTaskCompletedEventAttributes)
      const came = events.filter((event) => event.workflowExecutionSignaledEventAttributes).length
      return came >= count && handled > last
    },
    { what: 'the end of the last signal’s workflow task' },
  )

/** What Temporal calls a task that is made again because a signal came while it ended the run. */
const unhandledCommand = 1
/** Why tasks of the run failed, other than by chance. */
const failedTasks = async (id: string) =>
  (await eventsOf(id)).flatMap(({ workflowTaskFailedEventAttributes: failed }) =>
    failed && failed.cause !== unhandledCommand
      ? [`${failed.cause}: ${failed.failure?.message}`]
      : [],
  )

const channelsIn = async (phone: string) =>
  (await client.inbox(phone)).map(({ channel }) => channel).toReversed()

/** A request whose SMS is out and silent. */
async function silentSms(given: Record<string, unknown> = {}) {
  const phone = freshPhone()
  await client.script(phone, { receipt: 'none' })
  const id = await client.sent(phone, { channels: ['sms', 'voice', 'whatsapp'], ...given })
  const { code } = await until(async () => (await client.inbox(phone))[0])
  return { phone, id, code }
}

const step = {
  channel: 'voice',
  providers: ['sandbox-a'],
  timeoutMs: 60_000,
  success: 'answered',
  onDoubt: 'resend',
}

/** Payloads that are not of their shape, or not true. */
const forged: Record<string, unknown[][]> = {
  'with no input': names.map((name) => [name]),
  'with null': names.map((name) => [name, null]),
  'with a string': names.map((name) => [name, 'x']),
  'with an empty object': names.map((name) => [name, {}]),
  'with an array': names.map((name) => [name, [1, 2]]),
  'with numbers out of range': [
    ['next', { step: -1 }],
    ['next', { step: 0.5 }],
    ['next', { step: 1e308 }],
    ['next', { step: '0' }],
    ['resend', { seq: -1, step }],
    ['resend', { seq: 1.5, step }],
    ['receipt', { attempt: -1, step: 99, status: 'delivered' }],
    ['receipt', { attempt: 1, step: 0.1, status: 'failed.permanent' }],
  ],
  'with words that are none': [
    ['receipt', { attempt: 1, step: 0, status: 'read' }],
    ['receipt', { attempt: 1, step: 0, status: 'constructor' }],
    ['receipt', { attempt: 1, step: 0, status: ['delivered'] }],
    ['resend', { seq: 1, step: { ...step, channel: 'fax' } }],
    ['resend', { seq: 1, step: { ...step, providers: 'sandbox-a' } }],
  ],
  'with commands, receipts and states that nobody recorded': [
    ['next', { step: 99 }],
    ['resend', { seq: 5, step }],
    ['resend', { seq: 9_007_199_254_740_991, step }],
    ['receipt', { attempt: 1, step: 0, status: 'delivered' }],
    ['receipt', { attempt: 1, step: 0, status: 'failed.permanent' }],
    ['receipt', { attempt: 99, step: 2, status: 'answered' }],
    ['verified'],
    ['cancelled'],
    ['locked'],
  ],
  'of names that are none': [['unheardOf', { a: 1 }], ['__temporal_own'], ['__stack_trace']],
}

describe('a signal that somebody made up', () => {
  test.each(Object.entries(forged))(
    '%s leaves the run as it was, and real commands work',
    async (_, signals) => {
      const { phone, id, code } = await silentSms()
      for (const [name, ...args] of signals) await signal(id, String(name), ...args)
      await hasTakenAll(id, signals.length)
      expect(await channelsIn(phone)).toEqual(['sms'])
      expect((await client.call('POST', `/otp/${id}/next`)).body).toMatchObject({
        status: 'moving',
        channel: 'voice',
      })
      await until(async () => (await client.inbox(phone)).length === 2, { what: 'the call' })
      expect(await channelsIn(phone)).toEqual(['sms', 'voice'])
      const { body } = await client.call('POST', `/otp/${id}/resend`, { channel: 'sms' })
      expect(body).toMatchObject({ status: 'sent' })
      await client.verify({ request_id: id, code })
      await untilState(client, id, 'verified')
      expect(await temporal.workflow.getHandle(id).result()).toBe('verified')
      expect(await failedTasks(id)).toEqual([])
    },
    60_000,
  )

  test.each([
    ['json/plain', '{"step":'],
    ['json/plain', ''],
    ['binary/encrypted', 'no key for it'],
    ['json/protobuf', '{}'],
    ['', '\u0000'],
  ])('in bytes that cannot be read (%j, %j) fails no task', async (encoding, data) => {
    const { phone, id, code } = await silentSms()
    for (const name of names) await signalRaw(id, name, encoding, data)
    await hasTakenAll(id, names.length)
    await client.call('POST', `/otp/${id}/next`)
    await until(async () => (await client.inbox(phone)).length === 2, { what: 'the call' })
    await client.verify({ request_id: id, code })
    expect(await temporal.workflow.getHandle(id).result()).toBe('verified')
    expect(await failedTasks(id)).toEqual([])
  })

  test('of any shape at all fails no task and ends nothing', async () => {
    const { phone, id, code } = await silentSms()
    const samples = fc.sample(
      fc.record({ name: fc.constantFrom(...names), carried: fc.jsonValue({ maxDepth: 2 }) }),
      { numRuns: 60 },
    )
    for (const { name, carried } of samples) await signal(id, name, carried)
    await hasTakenAll(id, samples.length)
    expect(await channelsIn(phone)).toEqual(['sms'])
    expect((await client.status(id)).state).toBe('pending')
    await client.verify({ request_id: id, code })
    expect(await temporal.workflow.getHandle(id).result()).toBe('verified')
    expect(await failedTasks(id)).toEqual([])
  })

  test('while a provider is called neither stops the call nor makes another', async () => {
    const phone = freshPhone()
    await client.script(phone, { latency_ms: 1_500, receipt: 'none' })
    const id = await client.sent(phone, { channels: ['sms', 'voice'] })
    for (const name of names) await signal(id, name, { step: 0, seq: 3, attempt: 1 })
    await hasTakenAll(id, names.length)
    await until(async () => (await client.status(id)).steps[0]?.attempts[0]?.status === 'accepted')
    expect(await channelsIn(phone)).toEqual(['sms'])
    await client.call('POST', `/otp/${id}/cancel`)
    expect(await temporal.workflow.getHandle(id).result()).toBe('cancelled')
  })

  test('does not end a step that is silent: its time does', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone, { channels: ['sms'] })
    await until(async () => (await client.inbox(phone))[0])
    await signal(id, 'receipt', { attempt: 1, step: 0, status: 'delivered' })
    const ended = async () => (await client.status(id)).error_code === 'ALL_CHANNELS_FAILED'
    await until(ended, { within: 30_000, what: 'the end of the plan' })
    expect((await client.status(id)).state).toBe('pending')
  }, 40_000)
})

describe('a run that somebody started with what is no input', () => {
  const bad: [string, unknown[]][] = [
    ['otpRequest', []],
    ['otpRequest', [null]],
    ['otpRequest', [{ requestId: 'otp_x', steps: 'sms', expiresAt: 1 }]],
    ['otpRequest', [{ requestId: 'otp_x', steps: [null], expiresAt: 1 }]],
    ['eventDelivery', []],
    ['eventDelivery', [{ deliveryId: 7, replays: 0, delaysMs: [1] }]],
    ['eventDelivery', [{ deliveryId: 'x', replays: 0, delaysMs: ['soon'] }]],
  ]
  test.each(bad)('%s of %j fails, once', async (workflowType, args) => {
    const workflowId = `forged-${freshDigits(6)}`
    const { taskQueue } = system.temporal
    const handle = await temporal.workflow.start(workflowType, { workflowId, taskQueue, args })
    await expect(handle.result()).rejects.toMatchObject({ cause: { type: 'InvalidInput' } })
    expect(await failedTasks(workflowId)).toEqual([])
  })
})
