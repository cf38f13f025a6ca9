import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { sql } from 'drizzle-orm'
import { namedStep, planFor } from '../api/plan-for'
import { takeUnstarted } from '../db/starts'
import { AccountConfig, createProviders } from '../providers'
import { clientOf, freshPhone, type TestClient, until } from './harness/client'
import { requestsOnly } from './harness/requests'
import { startSystem, type System } from './harness/system'

const account = (name: string, region?: string) => ({
  name,
  adapter: 'sandbox' as const,
  channels: ['sms' as const],
  test: true,
  region,
})
const env = { sandboxUrl: 'http://127.0.0.1:9', sandboxSecret: `whsec_${'A'.repeat(43)}=` }

describe('provider accounts', () => {
  const accounts = createProviders(
    [account('here', 'eu'), account('there', 'gh'), account('anywhere')],
    env,
  )
  const routing = {
    policy: { channels: { phone: ['sms' as const], email: [] }, steps: {} },
    accounts,
  }
  const reach = { environment: 'staging' as const, unhealthy: [] }
  const providersFor = (region: string | null) =>
    planFor(routing, { kind: 'phone', wish: {}, ...reach, region })[0]?.providers

  test('an app of a region uses those of that region only, an app of none uses all', () => {
    expect(providersFor('eu')).toEqual(['here'])
    expect(providersFor('gh')).toEqual(['there'])
    expect(providersFor(null)).toEqual(['here', 'there', 'anywhere'])
    expect(namedStep(routing, 'sms', { ...reach, region: 'gh' }).providers).toEqual(['there'])
  })

  test('where there is none, the refusal says what is missing', () => {
    expect(() => providersFor('mars')).toThrow('"region": "mars"')
  })

  test('a region is a short name', () => {
    const fault = (region: string) => AccountConfig.safeParse(account('a', region)).success
    expect([fault('eu-west-1'), fault('Europe, or so')]).toEqual([true, false])
  })
})

describe('what a process of another region leaves alone', () => {
  let requests: Awaited<ReturnType<typeof requestsOnly>>
  beforeAll(async () => {
    requests = await requestsOnly()
    await requests.db.many(sql`update apps set region = 'eu' where id = 'app'`)
  })
  afterAll(() => requests.close())

  test('claims', async () => {
    const { requestId } = await requests.open()
    expect(await requests.claim(requestId)).toBeUndefined()
    expect(await requests.claim(requestId, { region: 'gh' })).toBeUndefined()
    expect(await requests.claim(requestId, { region: 'eu' })).toMatchObject({ number: 1 })
  })

  test('starts that a crash left undone', async () => {
    const { requestId } = await requests.openUnstarted()
    await requests.shiftTime(requestId, 5)
    expect(await takeUnstarted(requests.db, 10)).toEqual([])
    expect(await takeUnstarted(requests.db, 10, 'gh')).toEqual([])
    expect(await takeUnstarted(requests.db, 10, 'eu')).toMatchObject([{ input: { requestId } }])
  })
})

describe('two workers on one queue, one of another region', () => {
  let system: System
  let client: TestClient
  let elsewhere: { stop(): Promise<void> }
  beforeAll(async () => {
    system = await startSystem({ region: 'eu' })
    client = clientOf(system)
    elsewhere = await system.startWorkerElsewhere('gh')
    await system.db.many(sql`update apps set region = 'eu' where id = 'app'`)
  })
  afterAll(async () => {
    await elsewhere.stop()
    await system.stop()
  })

  test('every code of the app goes out once; what the other worker was given it gave back', async () => {
    const phones = Array.from({ length: 12 }, freshPhone)
    const ids = await Promise.all(phones.map((phone) => client.sent(phone, { channels: ['sms'] })))
    for (const id of ids) await until(async () => (await client.status(id)).delivered_at)
    for (const phone of phones) expect(await client.inbox(phone)).toHaveLength(1)
    const tries = await Promise.all(ids.map(triesOfSend))
    expect(Math.max(...tries)).toBeGreaterThan(1)
  }, 60_000)

  test('without a worker of its region nothing is claimed', async () => {
    await system.stopWorker()
    const id = await client.sent(freshPhone(), { channels: ['sms'] })
    await pause(1_500)
    expect((await client.status(id)).steps[0]?.attempts).toEqual([])
    await system.startWorker()
    await until(async () => (await client.status(id)).delivered_at)
  }, 60_000)

  /** How often the sending activity of a run was begun. */
  async function triesOfSend(workflowId: string): Promise<number> {
    const connection = await Connection.connect(system.temporal.connection)
    try {
      const { events } = await new Client({ connection }).workflow
        .getHandle(workflowId)
        .fetchHistory()
      const started = (events ?? []).map((event) => event.activityTaskStartedEventAttributes)
      return Math.max(...started.map((attributes) => attributes?.attempt ?? 0))
    } finally {
      await connection.close()
    }
  }
})
