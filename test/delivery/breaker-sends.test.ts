import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { breaker } from '../../core/delivery/breaker'
import { stepDefaults } from '../../core/requests/plan'
import { unhealthyProviders } from '../../db/delivery/breakers'
import { findAttemptById, recordReceipt } from '../../db/delivery/receipts'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { requestsOnly } from '../harness/requests'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
})
afterAll(() => system.stop())
beforeEach(async () => {
  for (const name of ['sandbox-a', 'sandbox-b']) await client.script(name, {})
  await system.db.many(sql`update provider_breakers
    set open = false, faults = '{}', closed_at = null, probe_at = null, failed_probes = 0`)
  await viewIsFresh()
})

/** The API knows what is unhealthy as of a second ago. */
const viewIsFresh = () => new Promise((resolve) => setTimeout(resolve, 1_100))
const attemptsOf = async (id: string) => (await client.status(id)).steps[0]?.attempts ?? []
/** Sends an SMS and waits for the provider that took it; gives back all that were asked. */
async function sentVia(): Promise<string[]> {
  const id = await client.sent(freshPhone(), { channels: ['sms'] })
  const attempts = await until(async () => {
    const all = await attemptsOf(id)
    return all.some(({ status }) => ['accepted', 'delivered'].includes(status)) && all
  })
  return attempts.map(({ provider }) => provider)
}
const down = (name: string, accept: object) => client.script(name, { accept })
const shutBreakers = (...names: string[]) =>
  system.db.many(sql`
    insert into provider_breakers (provider, channel, open, opened_at, probe_at)
    select name, 'sms', true, now(), now() + interval '1 hour' from unnest(${sql.param(names)}::text[]) name
    on conflict (provider, channel) do update set open = true, opened_at = now(), probe_at = excluded.probe_at`)
const openOnes = () =>
  system.db.many(sql`select provider from provider_breakers where open order by 1`)

describe('a message', () => {
  test.each([
    ['that breaks down', { status: 503 }],
    ['that never answers', { hang: true }],
    ['that drops the connection', { drop: true }],
  ])('to a first provider %s costs less than a third of its step', async (_, accept) => {
    await down('sandbox-a', accept)
    // The message that was dropped has a receipt of its own, which would end the doubt.
    if ('drop' in accept) await client.script('sandbox-a', { accept, receipt: 'none' })
    const id = await client.sent(freshPhone(), { channels: ['sms'] })
    const [first, second] = await until(async () => {
      const all = await attemptsOf(id)
      return all[1]?.finished_at ? all : undefined
    })
    expect([first?.provider, second?.provider]).toEqual(['sandbox-a', 'sandbox-b'])
    const lost = Date.parse(second?.finished_at ?? '') - Date.parse(first?.claimed_at ?? '')
    expect(lost).toBeLessThan(stepDefaults.sms.timeoutMs / 3)
  })

  test('meets an account of which the service learnt that its settings are wrong only once', async () => {
    await down('sandbox-a', { status: 401 })
    expect(await sentVia()).toEqual(['sandbox-a', 'sandbox-b'])
    expect(await sentVia()).toEqual(['sandbox-b'])
  })

  test('does not open the breaker with what is the number’s own fault', async () => {
    await down('sandbox-a', { error_code: 'INVALID_NUMBER' })
    for (let times = 0; times <= breaker.faults; times++) {
      const id = await client.sent(freshPhone(), { channels: ['sms'] })
      await until(async () => (await client.status(id)).state === 'failed')
    }
    expect(await openOnes()).toEqual([])
  })

  test('that we hang up on, since its request has ended, says nothing of the account', async () => {
    await client.script('sandbox-a', { latency_ms: 4_000 })
    const ids = await Promise.all(
      Array.from({ length: breaker.faults + 1 }, () =>
        client.sent(freshPhone(), { channels: ['sms'] }),
      ),
    )
    for (const id of ids) {
      await until(async () => (await attemptsOf(id)).length > 0)
      await client.call('POST', `/otp/${id}/cancel`)
    }
    for (const id of ids) await until(async () => (await attemptsOf(id))[0]?.fault === 'in_doubt')
    const [row] = await system.db.many<{ open: boolean; faults: number }>(sql`
      select open, cardinality(faults) as faults from provider_breakers
      where provider = 'sandbox-a' and channel = 'sms'`)
    expect(row ?? { open: false, faults: 0 }).toEqual({ open: false, faults: 0 })
  })

  test('planned before the account broke down passes it over all the same', async () => {
    // The API planned by what it knew a moment ago.
    await sentVia()
    await shutBreakers('sandbox-a')
    expect(await sentVia()).toEqual(['sandbox-b'])
  })

  test('tries the last account although all are shut, and opens the way again', async () => {
    await shutBreakers('sandbox-a', 'sandbox-b')
    expect(await sentVia()).toHaveLength(1)
    expect(await openOnes()).toHaveLength(1)
  })

  test('to the only account there is tries it, however often it failed', async () => {
    await shutBreakers('sandbox-a', 'sandbox-b')
    await down('sandbox-a', { status: 503 })
    await down('sandbox-b', { status: 503, times: 1 })
    const via = await sentVia()
    // Refused once, and tried again a second later: nobody else was left.
    expect(via.filter((name) => name === via.at(-1))).toEqual(['sandbox-b', 'sandbox-b'])
  })

  test('that is the probe and shows nothing leaves the turn to the next', async () => {
    await shutBreakers('sandbox-a')
    await system.db.many(
      sql`update provider_breakers set probe_at = now() where provider = 'sandbox-a'`,
    )
    await viewIsFresh()
    await down('sandbox-a', { error_code: 'BLOCKED', times: 1 })
    const id = await client.sent(freshPhone(), { channels: ['sms'] })
    await until(async () => (await client.status(id)).state === 'failed')
    expect(await openOnes()).toEqual([{ provider: 'sandbox-a' }])
    expect(await sentVia()).toEqual(['sandbox-a'])
    expect(await openOnes()).toEqual([])
  })
})

describe('a receipt', () => {
  test('that says that the account cannot send opens its breaker for all', async () => {
    const rig = await requestsOnly()
    try {
      const { requestId } = await rig.open()
      const { attemptId } = (await rig.claim(requestId)) ?? { attemptId: '' }
      const attempt = await findAttemptById(rig.db, { provider: 'sandbox-a', attemptId })
      if (!attempt) throw new Error('no attempt')
      const report = (status: 'failed.permanent' | 'failed.config', eventKey: string) =>
        recordReceipt(rig.db, {
          attempt,
          receipt: { status, rawStatus: status, eventKey },
          actor: 'test',
        })
      await report('failed.permanent', '1')
      expect(await unhealthyProviders(rig.db)).toEqual([])
      expect(await report('failed.config', '2')).toMatchObject({ breakerOpened: true })
      expect(await report('failed.config', '3')).toEqual({ duplicate: false })
      expect(await unhealthyProviders(rig.db)).toEqual(['sandbox-a/sms'])
    } finally {
      await rig.close()
    }
  })
})
