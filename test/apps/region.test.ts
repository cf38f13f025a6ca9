import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import { sql } from 'drizzle-orm'
import { namedStep, planFor } from '../../api/plan-for'
import { findDoubt, recordAnswer } from '../../db/delivery/attempts'
import { takePolls } from '../../db/delivery/polling'
import { takeUnstarted } from '../../db/requests/starts'
import { AccountConfig, createProviders } from '../../providers'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { requestsOnly } from '../harness/requests'
import { startSystem, type System } from '../harness/system'

const account = (name: string, region?: string) => ({
  name,
  adapter: 'sandbox' as const,
  channels: ['sms' as const],
  test: true,
  region,
})
const env = { SANDBOX_URL: 'http://127.0.0.1:9', SANDBOX_SECRET: `whsec_${'A'.repeat(43)}=` }

describe('provider accounts', () => {
  const accounts = [account('here', 'eu'), account('there', 'gh'), account('anywhere')]
  const routing = {
    policy: { accounts, channels: { phone: ['sms' as const], email: [] }, steps: {} },
    accounts: createProviders(accounts, env),
  }
  const asked = {
    ...{ kind: 'phone' as const, wish: {}, country: 'GH', risk: 'normal' as const, app: 'app' },
    ...{ environment: 'staging' as const, unhealthy: [], record: [], share: 0 },
  }
  const providersFor = (region: string | null) =>
    planFor(routing, { ...asked, region })[0]?.providers

  test('an app of a region uses those of that region only, an app of none uses all', () => {
    expect(providersFor('eu')).toEqual(['here'])
    expect(providersFor('gh')).toEqual(['there'])
    expect(providersFor(null)).toEqual(['here', 'there', 'anywhere'])
    expect(namedStep(routing, 'sms', { ...asked, region: 'gh' }).providers).toEqual(['there'])
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

  test('calls in doubt, and messages whose provider has to be asked', async () => {
    const { requestId } = await requests.open()
    const [doubtful, polled] = [
      await requests.claim(requestId, { region: 'eu' }),
      await requests.claim(requestId, {
        ...{ region: 'eu', sendNo: 2, resendSeq: await requests.askedAgain(requestId) },
      }),
    ]
    const ref = (claim: typeof doubtful) => ({
      ...{ requestId, attemptId: claim?.attemptId ?? '', runId: 'run' },
    })
    await recordAnswer(requests.db, ref(doubtful), { state: 'in_doubt' })
    const answer = { state: 'accepted' as const, providerMessageId: 'polled', poll: true }
    await recordAnswer(requests.db, ref(polled), answer)
    await requests.db.many(
      sql`update attempts set poll_due_at = now() where poll_due_at is not null`,
    )
    const asked = { requestId, sendNo: 2, firstSendNo: 1, step: 0 }
    for (const region of [undefined, 'gh']) {
      expect(await findDoubt(requests.db, { ...asked, region })).toBeUndefined()
      expect(await takePolls(requests.db, 10, region)).toEqual([])
    }
    expect(await findDoubt(requests.db, { ...asked, region: 'eu' })).toMatchObject({ number: 1 })
    expect(await takePolls(requests.db, 10, 'eu')).toMatchObject([{ providerMessageId: 'polled' }])
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
  let elsewhere: { stop(): Promise<void> } | undefined
  beforeAll(async () => {
    system = await startSystem({ region: 'eu' })
    client = clientOf(system)
    elsewhere = await system.startWorkerElsewhere('gh')
    await system.db.many(sql`update apps set region = 'eu' where id = 'app'`)
  })
  afterAll(async () => {
    await elsewhere?.stop()
    await system.stop()
  })

  test('every code of the app goes out once', async () => {
    const phones = Array.from({ length: 6 }, freshPhone)
    const ids = await Promise.all(phones.map((phone) => client.sent(phone, { channels: ['sms'] })))
    // Whichever worker is free is asked next, after ever longer pauses: some take a while.
    const delivered = (id: string) => client.status(id).then((status) => status.delivered_at)
    for (const id of ids) await until(() => delivered(id), { within: 60_000 })
    for (const phone of phones) expect(await client.inbox(phone)).toHaveLength(1)
  }, 90_000)

  test('what only the other worker is given it gives back, unclaimed, for one of the region', async () => {
    await system.stopWorker()
    const connection = await Connection.connect(system.temporal.connection)
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms'] })
    try {
      const run = new Client({ connection }).workflow.getHandle(id)
      /** How often the sending activity was begun so far. */
      const tries = async () =>
        Math.max(0, ...((await run.describe()).raw.pendingActivities ?? []).map(attemptOf))
      await until(async () => (await tries()) > 1, { what: 'a second try by the other worker' })
    } finally {
      await connection.close()
    }
    expect((await client.status(id)).steps[0]?.attempts).toEqual([])
    // Now there is only one of the region.
    await elsewhere?.stop()
    elsewhere = undefined
    await system.startWorker()
    await until(async () => (await client.status(id)).delivered_at)
    expect(await client.inbox(phone)).toHaveLength(1)
  }, 60_000)

  const attemptOf = ({ attempt }: { attempt?: number | null }) => attempt ?? 0
})
