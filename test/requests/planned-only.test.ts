import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import { putListEntry } from '../../db/protection/lists'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

// What a run sends is what its request's row allows, by accounts that reach people: the Twilio that the sandbox plays.

let system: System
let client: TestClient
let connection: Connection
let temporal: Client
const timeoutMs = 1_500

beforeAll(async () => {
  const steps = { sms: { timeoutMs }, voice: { timeoutMs }, whatsapp: { timeoutMs } }
  system = await startSystem({ fakes: ['twilio'], channels: ['sms', 'voice', 'whatsapp'], steps })
  client = clientOf(system, system.liveKey)
  connection = await Connection.connect(system.temporal.connection)
  temporal = new Client({ connection })
})
afterAll(async () => {
  await connection?.close()
  await system?.stop()
})

/** A number at which no message arrives. */
async function silent(): Promise<string> {
  const phone = freshPhone()
  await client.script(phone, { receipt: 'none' })
  return phone
}
const messagesTo = async (phone: string) => (await client.inbox(phone)).length
const skipsOf = async (id: string) =>
  (await client.status(id)).events
    .filter(({ type }) => type === 'step_skipped')
    .map(({ detail }) => [detail.channel, detail.reason])
const planEnded = (id: string) =>
  until(async () => (await client.status(id)).events.some(({ type }) => type === 'plan_ended'), {
    what: 'the end of the plan',
  })

describe('whoever reaches Temporal', () => {
  const step = {
    ...{ channel: 'sms', providers: ['sandbox-a'], timeoutMs: 30_000 },
    ...{ success: 'delivered', onDoubt: 'resend' },
  }

  test('has nothing sent by a signal with a step of their own', async () => {
    const phone = await silent()
    const id = await client.sent(phone)
    await until(async () => (await messagesTo(phone)) === 1)
    for (const seq of [1, 50, 51])
      await temporal.workflow.getHandle(id).signal('resend', { seq, step })
    await planEnded(id)
    const attempts = (await client.status(id)).steps.flatMap(({ attempts }) => attempts)
    expect(attempts.map(({ channel, provider }) => [channel, provider])).toEqual([
      ['sms', 'twilio'],
      ['voice', 'twilio'],
      ['whatsapp', 'twilio'],
    ])
    expect(await messagesTo(phone)).toBe(3)
  })

  const startRun = async (
    workflowId: string,
    requestId: string,
    steps: readonly (typeof step)[],
  ) => {
    const { expires_at: expiresAt } = await client.status(requestId)
    return temporal.workflow.start('otpRequest', {
      taskQueue: system.temporal.taskQueue,
      workflowId,
      args: [{ requestId, steps, expiresAt: Date.parse(expiresAt) }],
    })
  }
  const ownSteps: [string, (typeof step)[]][] = [
    ['by a test account', [step, step, step, step]],
    [
      'by accounts of the plan, step after step',
      [1, 2, 3, 4].map(() => ({ ...step, providers: ['twilio'] })),
    ],
  ]

  test.each(ownSteps)(
    'has nothing more sent by a run in the place of the real one: %s',
    async (_, steps) => {
      const phone = freshPhone()
      const id = await client.sent(phone)
      await until(async () => (await client.status(id)).steps[0]?.status === 'succeeded')
      await temporal.workflow.getHandle(id).terminate()
      const run = await startRun(id, id, steps)
      // It gets no further than to wait for the end; all that it may ask for it has asked for by then.
      await until(
        async () => {
          const { events } = await run.fetchHistory()
          return (events ?? []).some((event) => event.timerStartedEventAttributes)
        },
        { what: 'a timer of the other run' },
      )
      expect(await messagesTo(phone)).toBe(1)
      await run.terminate()
    },
  )

  test.each([
    ['that ends at once', []],
    ['whose step has no account', [{ ...step, providers: [] }]],
    [
      'that hurries through the plan',
      [1, 2].map(() => ({ ...step, providers: ['twilio'], timeoutMs: 1 })),
    ],
    ...ownSteps,
  ])('does nothing to a request by a run of another id %s', async (_, steps) => {
    const phone = await silent()
    const id = await client.sent(phone)
    const run = await startRun(`other-${id}`, id, steps)
    await expect(run.result()).rejects.toMatchObject({ cause: { type: 'InvalidInput' } })
    await planEnded(id)
    expect((await client.status(id)).state).toBe('pending')
    expect(await messagesTo(phone)).toBe(3)
  })
})

test('a number that is listed meanwhile gets no further channel, and the plan comes to its end', async () => {
  const phone = await silent()
  const id = await client.sent(phone)
  await until(async () => (await messagesTo(phone)) === 1)
  await putListEntry(system.db, system.keyring, {
    ...{ appId: null, kind: 'phone_number', value: phone, length: 0 },
    ...{ verdict: 'block', actor: 'test' },
  })
  await planEnded(id)
  expect(await messagesTo(phone)).toBe(1)
  expect(await skipsOf(id)).toEqual([
    ['voice', 'blocked'],
    ['whatsapp', 'blocked'],
  ])
  const { steps, state } = await client.status(id)
  expect([state, ...steps.map(({ status }) => status)]).toEqual([
    ...['pending', 'timed_out', 'skipped', 'skipped'],
  ])
})

test('the cap of messages holds for the channels that follow by themselves, over requests', async () => {
  const { protection } = system.policy
  system.policy.protection = { ...protection, messageCap: [{ max: 1, seconds: 3_600 }] }
  const phone = await silent()
  const purposes = ['login', 'payment']
  const ids = await Promise.all(purposes.map((purpose) => client.sent(phone, { purpose })))
  await Promise.all(ids.map(planEnded))
  // As many as are kept for the app.
  expect(await messagesTo(phone)).toBe(3)
  const skips = (await Promise.all(ids.map(skipsOf))).flat()
  expect(skips.map(([, reason]) => reason)).toEqual(Array<string>(3).fill('message_cap'))
  const refused = await client.send(phone, { purpose: 'third' })
  expect(refused).toMatchObject({ status: 429, body: { error_code: 'RATE_LIMITED' } })
  expect(JSON.stringify(refused.body)).toContain('Too many messages to this recipient.')
  expect(JSON.stringify(refused.body)).not.toContain('apps')
  system.policy.protection = protection
})
