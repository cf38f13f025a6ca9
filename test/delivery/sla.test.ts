import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import fc from '../harness/properties'
import { ProvidersAnswer } from '../../api/contract/providers'
import { reportProviders } from '../../api/provider-report'
import { growth, percentile } from '../../core/histogram'
import type { Fault } from '../../core/delivery/fault'
import type { ReceiptStatus } from '../../core/delivery/receipt'
import { usualRetention } from '../../core/recipients/retention'
import { noteFault, openByPing } from '../../db/delivery/breakers'
import {
  readProviderHours,
  readRouteSuccess,
  sumProviderHours,
} from '../../db/delivery/provider-hours'
import { recordPing } from '../../db/delivery/provider-pings'
import { createApiKey } from '../../db/apps/api-keys'
import { retire } from '../../db/upkeep/retention'
import { clientOf, freshPhone, until } from '../harness/client'
import { requestsOnly } from '../harness/requests'
import { runForJson } from '../harness/run'
import { startSystem, type System } from '../harness/system'

describe('a histogram', () => {
  const bucketOf = (ms: number) => Math.ceil(Math.log(Math.max(ms, 1)) / Math.log(growth))

  test('says every percentile within 5 %', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 20, max: 600_000 }), { minLength: 1, maxLength: 300 }),
        fc.constantFrom(0.5, 0.95, 0.99, 1),
        (durations, share) => {
          const histogram: Record<string, number> = {}
          for (const ms of durations) histogram[bucketOf(ms)] = (histogram[bucketOf(ms)] ?? 0) + 1
          const sorted = durations.toSorted((one, other) => one - other)
          const exact = sorted[Math.ceil(sorted.length * share) - 1] ?? 0
          expect(Math.abs((percentile(histogram, share) ?? 0) / exact - 1)).toBeLessThan(0.08)
        },
      ),
    )
  })

  test('of nothing says nothing', () => {
    expect(percentile({}, 0.5)).toBeUndefined()
  })
})

describe('the record', () => {
  let rig: Awaited<ReturnType<typeof requestsOnly>>
  beforeAll(async () => {
    rig = await requestsOnly()
  })
  afterAll(() => rig.close())
  beforeEach(async () => {
    await rig.db.many(sql`delete from attempts`)
    await rig.db.many(sql`delete from provider_hours`)
  })

  interface Made {
    provider?: string
    channel?: 'sms' | 'voice'
    country?: string | null
    state?: 'accepted' | 'refused' | 'in_doubt' | 'open'
    fault?: Fault
    status?: ReceiptStatus
    acceptMs?: number
    receiptMs?: number
    cost?: string
    minutesAgo?: number
    verified?: boolean
  }
  let number = 0
  /** A call as it was written down, so long ago. */
  async function made(given: Made = {}): Promise<void> {
    const { provider = 'sandbox-a', channel = 'sms', country = 'GH', state = 'accepted' } = given
    const { acceptMs = 100, receiptMs = 1_000, minutesAgo = 5 } = given
    const { requestId } = await rig.open({ country })
    if (given.verified)
      await rig.db.many(
        sql`update otp_requests set state = 'verified', reason = 'code_matched' where id = ${requestId}`,
      )
    await rig.db.many(sql`
      insert into attempts (id, request_id, number, step, send_no, try_no, channel, provider, success, state, fault,
        status, callback_digest, cost_amount, cost_currency, run_id, claimed_at, finished_at, status_at)
      select ${`att_${++number}`}, ${requestId}, 1, 0, 1, 1, ${channel}::channel, ${provider}, 'delivered',
        ${state}::attempt_state, ${given.fault ?? null}::fault, ${given.status ?? null}::receipt_status,
        sha256(${`digest ${number}`}::bytea), ${given.cost ?? null}::numeric,
        case when ${given.cost ?? null}::text is not null then 'USD' end, 'run', at,
        at + make_interval(secs => ${acceptMs / 1_000}),
        at + make_interval(secs => ${(acceptMs + receiptMs) / 1_000})
      from (select now() - make_interval(mins => ${minutesAgo}) as at) times`)
  }
  const forget = () =>
    rig.db.many(sql`update provider_hours set summed_at = summed_at - interval '2 minutes'`)

  test('sums an hour again that nobody was there for to the end', async () => {
    await made({ minutesAgo: 300 })
    await sumProviderHours(rig.db)
    // The last worker went in the middle of that hour; its receipts came, and one came back much later.
    await rig.db.many(sql`update provider_hours set summed_at = hour + interval '30 minutes'`)
    await rig.db.many(sql`update attempts set status = 'delivered'`)
    await made({ minutesAgo: 0 })
    await rig.db.many(sql`insert into provider_hours
      select date_trunc('hour', now()), provider, channel, country, states, faults, receipts, success, costs,
        accept_ms, receipt_ms, now() - interval '2 minutes' from provider_hours`)
    await sumProviderHours(rig.db)
    expect(await readProviderHours(rig.db, 6)).toMatchObject([
      { states: { accepted: 2 }, receipts: { delivered: 1 } },
    ])
  })

  test('sums what each route achieved', async () => {
    for (let times = 0; times < 8; times++)
      await made({ status: 'delivered', cost: '0.03', acceptMs: 100 * (times + 1) })
    await made({ state: 'accepted', cost: '0.03' })
    await made({ state: 'refused', fault: 'unavailable' })
    await made({ state: 'refused', fault: 'invalid_number' })
    await made({ state: 'in_doubt', fault: 'in_doubt', minutesAgo: 0 })
    await made({ state: 'open' })
    await made({ country: 'NG', status: 'failed.permanent' })
    await made({ country: null, channel: 'voice', provider: 'sandbox-b', verified: true })
    await sumProviderHours(rig.db)

    const { providers } = await reportProviders(rig.db, [], 2)
    const records = providers.flatMap(({ provider, record }) =>
      record.map((route) => ({ provider, ...route })),
    )
    expect(records.map(({ provider, channel, country }) => [provider, channel, country])).toEqual([
      ['sandbox-a', 'sms', 'GH'],
      ['sandbox-a', 'sms', 'NG'],
      ['sandbox-b', 'voice', null],
    ])
    const [ghana, nigeria, voice] = records
    expect(ghana).toMatchObject({
      calls: 12,
      accepted: 9,
      refused: 2,
      in_doubt: 1,
      faults: { unavailable: 1, invalid_number: 1, in_doubt: 1 },
      receipts: { delivered: 8 },
      // All but the one that was unavailable and the one in doubt: the number's own fault is none of the account's.
      uptime: 10 / 12,
      receipt_rate: 0.8,
      // Not the one that is too young, nor the one that the number was to blame for.
      success_rate: 0.8,
      costs: [{ amount: '0.27', currency: 'USD' }],
    })
    const near = (ms: number | null | undefined, exact: number) =>
      expect(Math.abs((ms ?? 0) / exact - 1)).toBeLessThan(0.06)
    near(ghana?.accept_ms.p50, 400)
    near(ghana?.accept_ms.p99, 800)
    near(ghana?.receipt_ms.p50, 1_000)
    expect(nigeria).toMatchObject({ receipt_rate: 0, success_rate: 0, receipt_ms: { p50: null } })
    expect(voice).toMatchObject({ receipt_rate: 0, success_rate: 1 })
    expect(await readRouteSuccess(rig.db)).toEqual([
      { provider: 'sandbox-a', channel: 'sms', country: 'GH', calls: 10, rate: 0.8 },
      { provider: 'sandbox-a', channel: 'sms', country: 'NG', calls: 1, rate: 0 },
      { provider: 'sandbox-b', channel: 'voice', country: null, calls: 1, rate: 1 },
    ])
  })

  test('is summed anew after a minute, not before, and counts nothing twice', async () => {
    // Of this hour: an hour that is over is summed again as long as this one has nothing.
    const calls = async () => {
      const routes = await readProviderHours(rig.db, 2)
      return routes.map(({ states }) => states.accepted)
    }
    await made({ minutesAgo: 0 })
    await Promise.all(Array.from({ length: 5 }, () => sumProviderHours(rig.db)))
    await made({ minutesAgo: 0 })
    await sumProviderHours(rig.db)
    expect(await calls()).toEqual([1])
    await forget()
    await Promise.all(Array.from({ length: 5 }, () => sumProviderHours(rig.db)))
    expect(await calls()).toEqual([2])
  })

  test('takes up hours in which nobody kept it', async () => {
    for (const minutesAgo of [5, 200, 300, 600]) await made({ minutesAgo })
    await sumProviderHours(rig.db)
    const [route] = await readProviderHours(rig.db, 24)
    // The first time it begins with the last two days.
    expect(route?.states.accepted).toBe(4)
    await rig.db.many(sql`delete from provider_hours where hour > now() - interval '6 hours'`)
    await sumProviderHours(rig.db)
    const [again] = await readProviderHours(rig.db, 24)
    expect(again?.states.accepted).toBe(4)
    expect((await readProviderHours(rig.db, 3))[0]?.states.accepted).toBe(1)
  })

  test('goes with the requests', async () => {
    await made()
    await sumProviderHours(rig.db)
    await recordPing(rig.db, {
      provider: 'sandbox-a',
      channels: ['sms'],
      fault: undefined,
      milliseconds: 3,
    })
    const retired = async () => {
      let count = 0
      for await (const { part, count: gone } of retire(rig.db, usualRetention, 1))
        if (part === 'providers') count += gone
      return count
    }
    expect(await retired()).toBe(0)
    for (const table of ['provider_hours', 'provider_ping_hours'])
      await rig.db.many(sql.raw(`update ${table} set hour = hour - interval '366 days'`))
    expect(await retired()).toBe(2)
  })
})

describe('operators are shown', () => {
  let system: System
  beforeAll(async () => {
    system = await startSystem()
  })
  afterAll(() => system.stop())

  test('pings, breakers and the record of every account, as the contract says', async () => {
    const client = clientOf(system)
    const operator = clientOf(system, system.operatorKey)
    const id = await client.sent(freshPhone(), { channels: ['sms'] })
    await until(async () => (await client.status(id)).delivered_at)
    await sumProviderHours(system.db)
    const { db } = system
    await recordPing(db, {
      provider: 'sandbox-a',
      channels: [],
      fault: 'in_doubt',
      milliseconds: 7,
    })
    await recordPing(db, {
      provider: 'sandbox-b',
      channels: [],
      fault: undefined,
      milliseconds: 4.4,
    })
    await noteFault(db, {
      provider: 'sandbox-a',
      channel: 'voice',
      fault: 'config',
      begunAt: new Date(),
    })
    await openByPing(db, { provider: 'sandbox-b', channels: ['ussd'], fault: 'unavailable' })
    await db.many(sql`update provider_breakers set probe_at = now() where provider = 'sandbox-b'`)

    const { status, body } = await operator.call('GET', '/admin/providers?hours=1')
    expect(status).toBe(200)
    const answer = ProvidersAnswer.parse(body)
    const [first, second] = answer.providers
    expect(first).toMatchObject({
      provider: 'sandbox-a',
      adapter: 'sandbox',
      test: true,
      ping: { ok: false, fault: 'in_doubt', failures: 1, milliseconds: 7 },
      uptime: 0,
    })
    expect(first?.breakers).toHaveLength(first?.channels.length ?? 0)
    expect(first?.breakers.find(({ channel }) => channel === 'voice')).toMatchObject({
      state: 'open',
      fault: 'config',
      opened_by: 'calls',
    })
    expect(first?.record).toMatchObject([
      { channel: 'sms', country: 'GH', calls: 1, accepted: 1, receipt_rate: 1, success_rate: 1 },
    ])
    expect(first?.record[0]?.costs).toEqual([{ amount: '0.03', currency: 'USD' }])
    expect(second?.breakers.find(({ channel }) => channel === 'ussd')).toMatchObject({
      state: 'half_open',
      opened_by: 'ping',
    })

    const { answer: printed } = await runForJson(
      [process.execPath, 'cli/otpilot-command.mjs', 'providers', '--hours', '1', '--json'],
      {
        DATABASE_URL: system.databaseUrl,
        SANDBOX_URL: system.sandboxUrl,
        SANDBOX_SECRET: system.sandboxSecret,
      },
    )
    expect(ProvidersAnswer.parse(printed).providers.map(({ provider }) => provider)).toEqual(
      answer.providers.map(({ provider }) => provider),
    )
  }, 60_000)

  test('also an account that only the pings of another process know', async () => {
    const ping = { channels: [], fault: undefined, milliseconds: 3 }
    await recordPing(system.db, { ...ping, provider: 'elsewhere' })
    await recordPing(system.db, { ...ping, provider: 'long-gone' })
    await system.db.many(sql`update provider_pings set at = now() - interval '25 hours'
      where provider = 'long-gone'`)
    const operator = clientOf(system, system.operatorKey)
    const { body } = await operator.call('GET', '/admin/providers')
    const shown = ProvidersAnswer.parse(body).providers
    expect(shown.find(({ provider }) => provider === 'elsewhere')).toMatchObject({
      ...{ adapter: null, ping: { ok: true }, record: [] },
    })
    expect(shown.map(({ provider }) => provider)).not.toContain('long-gone')
  }, 60_000)

  test('and nobody else', async () => {
    const scopes = ['admin']
    const { key } = await createApiKey(system.db, {
      appId: 'app',
      environment: 'production',
      scopes,
    })
    const { status } = await clientOf(system, key).call('GET', '/admin/providers')
    expect(status).toBe(403)
    const operator = clientOf(system, system.operatorKey)
    for (const hours of ['0', '169', 'x', '1.5'])
      expect((await operator.call('GET', `/admin/providers?hours=${hours}`)).status).toBe(400)
  })
})
