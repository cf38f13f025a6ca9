import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client, Connection } from '@temporalio/client'
import { historyToJSON } from '@temporalio/common/lib/proto-utils'
import { checkCode } from '../../db/verify/checks'
import { clientOf, freshPhone, type TestClient, until } from './client'
import { eventListenersOf } from './event-listeners'
import { startSharedServices } from './shared-services'
import { startSystem, type System } from './system'

/**
 * Plays every outcome against the real service and keeps the histories of its runs, for the replay test.
 * Run by hand when the workflow has changed on purpose: `npm run histories -- <folder>`. What the folder has is kept and
 * only what it lacks is played: runs of a released version may be alive when the next one is deployed.
 */
const folder = join('test', 'histories', process.argv[2] ?? '')
const fileOf = (name: string) => join(folder, `${name}.json`)

type Scenario = (client: TestClient, system: System, temporal: Client) => Promise<string>

const firstCode = async (client: TestClient, phone: string) =>
  (await until(async () => (await client.inbox(phone))[0], { what: 'a message' })).code
const isBeingSent = (client: TestClient, id: string) =>
  until(async () => (await client.status(id)).steps[0]?.attempts[0], { what: 'the call' })
const wrongCode = (code: string) => (code === '000000' ? '000001' : '000000')

/** A number scripted so, and a request sent to it. */
async function sentTo(client: TestClient, scenario: unknown, given: Record<string, unknown> = {}) {
  const phone = freshPhone()
  if (scenario) await client.script(phone, scenario)
  const id = await client.sent(phone, given)
  return { phone, id }
}

const scenarios: Record<string, Scenario> = {
  'delivered-verified': async (client) => {
    const { phone, id } = await sentTo(client, undefined)
    await until(async () => (await client.status(id)).delivered_at)
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'verified-before-its-receipt': async (client) => {
    const { phone, id } = await sentTo(client, { receipt: 'none' })
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'sms-silent-voice-answered-verified': async (client) => {
    const { phone, id } = await sentTo(client, { on: { channel: 'sms' }, receipt: 'none' })
    await until(async () => (await client.status(id)).delivered_at)
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'delivered-expired': async (client) =>
    (await sentTo(client, undefined, { expiry_seconds: 30 })).id,
  'all-silent-exhausted': async (client) =>
    (await sentTo(client, { receipt: 'none' }, { expiry_seconds: 45 })).id,
  'steps-skipped-exhausted': async (client) =>
    (
      await sentTo(
        client,
        { receipt: 'none' },
        { expiry_seconds: 30, channels: ['sms', 'voice', 'whatsapp', 'ussd'] },
      )
    ).id,
  'all-refused-failed': async (client) =>
    (await sentTo(client, { accept: { error_code: 'BLOCKED' } })).id,
  locked: async (client) => {
    const { phone, id } = await sentTo(client, undefined)
    const wrong = wrongCode(await firstCode(client, phone))
    for (let i = 0; i < 5; i++) await client.verify({ request_id: id, code: wrong })
    return id
  },
  'cancelled-while-waiting': async (client) => {
    const { phone, id } = await sentTo(client, { receipt: 'none' })
    await firstCode(client, phone)
    await client.call('POST', `/otp/${id}/cancel`)
    return id
  },
  'cancelled-while-sending': async (client) => {
    const { id } = await sentTo(client, { accept: { hang: true } })
    await isBeingSent(client, id)
    await client.call('POST', `/otp/${id}/cancel`)
    return id
  },
  'next-while-waiting': async (client) => {
    const { phone, id } = await sentTo(client, { receipt: 'none' })
    await firstCode(client, phone)
    await client.call('POST', `/otp/${id}/next`)
    await until(async () => (await client.inbox(phone)).length === 2)
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'next-while-sending': async (client) => {
    const { phone, id } = await sentTo(client, { on: { channel: 'sms' }, accept: { hang: true } })
    await isBeingSent(client, id)
    await client.call('POST', `/otp/${id}/next`)
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'resent-by-voice': async (client) => {
    const { phone, id } = await sentTo(client, undefined)
    await until(async () => (await client.status(id)).delivered_at)
    await client.call('POST', `/otp/${id}/resend`, { channel: 'voice' })
    await until(async () => (await client.inbox(phone)).length === 2)
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'provider-failover': async (client) => {
    const { phone, id } = await sentTo(client, {
      on: { provider: 'sandbox-a' },
      accept: { status: 503 },
    })
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'both-providers-down-then-retried': async (client) => {
    const { phone, id } = await sentTo(client, {
      on: { channel: 'sms' },
      accept: { status: 503, times: 2 },
    })
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'in-doubt-confirmed-by-receipt': async (client) => {
    const { phone, id } = await sentTo(client, { accept: { drop: true } }, { channels: ['sms'] })
    await until(async () => (await client.status(id)).delivered_at)
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'in-doubt-sent-again': async (client) => {
    const { phone, id } = await sentTo(client, {
      on: { provider: 'sandbox-a' },
      accept: { drop: true },
      receipt: 'none',
    })
    await until(async () => (await client.inbox(phone)).length === 2)
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  'failure-receipt-moves-on': async (client) => {
    const { phone, id } = await sentTo(client, { on: { channel: 'sms' }, receipt: 'failed' })
    await until(async () => (await client.inbox(phone)).length === 2)
    await client.verify({ request_id: id, code: await firstCode(client, phone) })
    return id
  },
  // No run of a request, but one that may be alive all the same.
  retention: async (_, system, temporal) => {
    const { workflowId } = await temporal.workflow.start('retention', {
      workflowId: 'otpilot-retention',
      taskQueue: system.temporal.taskQueue,
    })
    return workflowId
  },
  // A run of a failed delivery.
  'event-received-late': async (_, system) => {
    const listeners = eventListenersOf(system)
    let calls = 0
    const receiver = await listeners.receiverOf(() => ({ status: ++calls < 3 ? 503 : 200 }))
    const { endpoint_id } = await listeners.register(receiver.url, { types: ['alert'] })
    const { body } = await listeners.operator.call<{ delivery_id: string }>(
      'POST',
      `/admin/event-endpoints/${endpoint_id}/test`,
    )
    await until(async () => (await listeners.deliveriesOf(endpoint_id, '?state=delivered'))[0])
    await listeners.clear()
    return `event-${body.delivery_id}-0`
  },
  // Its first run is gone: the second one learns from Postgres what that one did.
  'terminated-resumed-verified': async (client, _, temporal) => {
    const { phone, id } = await sentTo(client, { receipt: 'none' })
    const code = await firstCode(client, phone)
    await until(async () => (await client.status(id)).steps[0]?.attempts[0]?.status === 'accepted')
    await temporal.workflow.getHandle(id).terminate('to have it resumed')
    await client.call('POST', `/otp/${id}/next`)
    await until(async () => (await client.inbox(phone)).length === 2)
    await client.verify({ request_id: id, code })
    return id
  },
  'signal-lost-found-by-the-sweeper': async (client, system) => {
    const { phone, id } = await sentTo(client, { receipt: 'none' })
    const code = await firstCode(client, phone)
    // What a crashed API leaves behind: the commit without its signal.
    await checkCode(system.db, system.keyring, {
      appId: 'app',
      environment: 'staging',
      by: { requestId: id },
      code,
      actor: 'script',
    })
    return id
  },
}

async function main(): Promise<void> {
  const stopServices = await startSharedServices()
  const stepTimes = { timeoutMs: 6_000 }
  const system = await startSystem({
    steps: { sms: stepTimes, voice: stepTimes, whatsapp: stepTimes, ussd: stepTimes },
    eventDelaysMs: [500, 1_000, 2_000],
  })
  const connection = await Connection.connect(system.temporal.connection)
  try {
    const client = clientOf(system)
    const temporal = new Client({ connection })
    mkdirSync(folder, { recursive: true })
    const missing = Object.entries(scenarios).filter(([name]) => !existsSync(fileOf(name)))
    await Promise.all(
      missing.map(async ([name, play]) => {
        const id = await play(client, system, temporal)
        const handle = temporal.workflow.getHandle(id)
        await handle.result()
        const history = await handle.fetchHistory()
        writeFileSync(fileOf(name), `${historyToJSON(history)}\n`)
        console.error(`${name}: ${history.events?.length} events`)
      }),
    )
  } finally {
    await connection.close()
    await system.stop()
    await stopServices()
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
