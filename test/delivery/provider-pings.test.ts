import { createServer, type ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { checkProviders } from '../../activities/check-providers'
import { usualRetention } from '../../core/recipients/retention'
import { unhealthyProviders } from '../../db/delivery/breakers'
import { healthScheduleId } from '../../temporal/schedules'
import { createProviders, type AccountConfig } from '../../providers'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { asWorkersDo, pauseSchedule, triggerRun } from '../harness/schedules'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
})
afterAll(() => system.stop())

const channels = ['sms', 'voice'] as const
let count = 0
/** Accounts at the system's sandbox that no other test uses. */
const accountsNamed = (...names: string[]) =>
  createProviders(
    names.map((name): AccountConfig => ({
      name,
      adapter: 'sandbox',
      channels: [...channels],
      test: true,
    })),
    { SANDBOX_URL: system.sandboxUrl, SANDBOX_SECRET: system.sandboxSecret },
  )
const checkOf = (providers: ReturnType<typeof accountsNamed>) =>
  checkProviders({
    db: system.db,
    keyring: system.keyring,
    providers,
    retention: usualRetention,
    alertPolicy: () => ({}),
    publicUrl: system.url,
    wake: () => Promise.resolve(),
    log: pino({ level: 'silent' }),
  })
const unhealthy = async (name: string) =>
  (await unhealthyProviders(system.db)).filter((entry) => entry.startsWith(`${name}/`)).sort()
const audit = (name: string) =>
  system.db.many<{ type: string; detail: Record<string, unknown> }>(sql`
    select type, detail from audit_events where chain = 'admin' and detail->>'provider' = ${name} order by sequence`)

describe('an account whose ping fails', () => {
  let name: string
  let check: () => Promise<unknown>
  beforeEach(() => {
    name = `pinged-${++count}`
    check = checkOf(accountsNamed(name))
  })

  test('is left alone on every channel from the second failure on, and used again after a good ping', async () => {
    await client.script(name, { accept: { status: 503 } })
    expect(await check()).toEqual({ good: 0, bad: 1 })
    expect(await unhealthy(name)).toEqual([])
    await check()
    expect(await unhealthy(name)).toEqual([`${name}/sms`, `${name}/voice`])
    await check()
    await client.script(name, {})
    expect(await check()).toEqual({ good: 1, bad: 0 })
    expect(await unhealthy(name)).toEqual([])
    expect(await audit(name)).toEqual([
      {
        type: 'breaker_opened',
        detail: { provider: name, channels: 'sms, voice', fault: 'unavailable', by: 'ping' },
      },
      {
        type: 'breaker_closed',
        detail: { provider: name, channels: 'sms, voice', open_seconds: expect.any(Number) },
      },
    ])
  })

  test('for its settings is left alone at once', async () => {
    await client.script(name, { accept: { status: 401 } })
    await check()
    expect(await unhealthy(name)).toEqual([`${name}/sms`, `${name}/voice`])
    await client.script(name, {})
    await check()
    expect(await unhealthy(name)).toEqual([])
  })

  test('first for no reason and then for its settings is left alone, and once only', async () => {
    await client.script(name, { accept: { status: 503 } })
    await check()
    await client.script(name, { accept: { status: 401 } })
    await check()
    expect(await unhealthy(name)).toEqual([`${name}/sms`, `${name}/voice`])
    await system.db.many(
      sql`update provider_breakers set open = false, probe_at = null where provider = ${name}`,
    )
    for (const status of [401, 503, 401]) {
      await client.script(name, { accept: { status } })
      await check()
    }
    expect(await unhealthy(name)).toEqual([])
  })

  test('for too many calls works', async () => {
    await client.script(name, { accept: { status: 429 } })
    await check()
    await check()
    expect(await unhealthy(name)).toEqual([])
    const row = await system.db.one(
      sql`select failures, fault from provider_pings where provider = ${name}`,
    )
    expect(row).toEqual({ failures: 0, fault: null })
  })

  test('while messages go through is not shut again and again', async () => {
    await client.script(name, { accept: { status: 401 } })
    await check()
    await system.db.many(
      sql`update provider_breakers set open = false, probe_at = null where provider = ${name}`,
    )
    await check()
    await check()
    expect(await unhealthy(name)).toEqual([])
  })

  test('is up for the share of pings that were good', async () => {
    await check()
    await client.script(name, { accept: { status: 503 } })
    await check()
    await client.script(name, {})
    await check()
    const row = await system.db.one(
      sql`select sum(good)::int as good, sum(bad)::int as bad from provider_ping_hours where provider = ${name}`,
    )
    expect(row).toEqual({ good: 2, bad: 1 })
  })

  test('on one channel only by its scenario answers pings', async () => {
    await client.script(name, { on: { channel: 'sms' }, accept: { status: 503 } })
    expect(await check()).toEqual({ good: 1, bad: 0 })
  })
})

describe('accounts beside each other', () => {
  const waiting: ServerResponse[] = []
  const silent = createServer((_req, res) => void waiting.push(res))
  afterEach(() => closeServer(silent))

  test('one that never answers holds no other up, and fails by its own time-out', async () => {
    const url = await listen(silent)
    const [mute, well] = [`pinged-${++count}`, `pinged-${++count}`]
    const settings = { SANDBOX_URL: url, SANDBOX_SECRET: system.sandboxSecret }
    const config: AccountConfig = { name: mute, adapter: 'sandbox', channels: ['sms'], test: true }
    const providers = new Map([...accountsNamed(well), ...createProviders([config], settings)])
    const running = checkOf(providers)()
    await until(() =>
      system.db.one(sql`select from provider_pings where provider = ${well} and fault is null`),
    )
    expect(waiting).toHaveLength(1)
    expect(await running).toEqual({ good: 1, bad: 1 })
    const row = await system.db.one(sql`select fault from provider_pings where provider = ${mute}`)
    expect(row).toEqual({ fault: 'in_doubt' })
  })
})

test('a ping that heeds no deadline ends all the same, and the others count', async () => {
  const [deaf, well] = [`pinged-${++count}`, `pinged-${++count}`]
  const providers = accountsNamed(deaf, well)
  const account = providers.get(deaf)
  if (account) providers.set(deaf, { ...account, pinger: { ping: () => new Promise(() => {}) } })
  expect(await checkOf(providers)()).toEqual({ good: 1, bad: 1 })
})

describe('the schedule', () => {
  test('is one for all accounts, stays paused, and its runs tell Temporal counts only', async () => {
    const connection = await Connection.connect(system.temporal.connection)
    try {
      const temporal = new Client({ connection })
      await Promise.all([1, 2].map(() => asWorkersDo(() => system.engine.scheduleHealth())))
      const handle = temporal.schedule.getHandle(healthScheduleId(system.temporal.taskQueue))
      await pauseSchedule(handle)
      await asWorkersDo(() => system.engine.scheduleHealth())
      const { state, policies, spec } = await handle.describe()
      expect(state.paused).toBe(true)
      expect(policies.overlap).toBe('SKIP')
      expect(spec.intervals?.map(({ every }) => every)).toEqual([30_000])

      const workflowId = await triggerRun(handle)
      const result: unknown = await temporal.workflow.getHandle(workflowId).result()
      expect(result).toEqual({ good: 2, bad: 0 })
      await handle.delete()
    } finally {
      await connection.close()
    }
  }, 90_000)

  test('of a system whose first account is down lets nobody meet it', async () => {
    const check = checkOf(system.accounts)
    await client.script('sandbox-a', { accept: { hang: true } })
    await check()
    await check()
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms'] })
    const [attempt] = await until(async () => {
      const { attempts = [] } = (await client.status(id)).steps[0] ?? {}
      return attempts.length > 0 && attempts
    })
    expect(attempt?.provider).toBe('sandbox-b')
    await client.script('sandbox-a', {})
    await check()
    expect(await unhealthy('sandbox-a')).toEqual([])
  }, 60_000)
})
