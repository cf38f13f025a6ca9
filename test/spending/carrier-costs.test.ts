import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { Policy } from '../../config/policy'
import { createApiKey } from '../../db/apps/api-keys'
import { createApp } from '../../db/apps/apps'
import { clientOf, freshPhone } from '../harness/client'
import { type Recorded, startRecorder } from '../harness/recorder'
import { startSystem, type System } from '../harness/system'
import { withinOne } from '../harness/windows'

let service: Awaited<ReturnType<typeof startRecorder>>
let system: System
/** What carriers know: a mobile whose SIM card is as old as it should be. */
const carrier = ({ url = '' }: Recorded) => ({
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({
    valid: true,
    ...(url.includes('line_type') && { line_type_intelligence: { type: 'mobile' } }),
    ...(url.includes('sim_swap') && {
      sim_swap: { last_sim_swap: { last_sim_swap_date: '2020-01-01T00:00:00Z' } },
    }),
  }),
})

beforeAll(async () => {
  service = await startRecorder(carrier)
  system = await startSystem({
    fakes: ['twilio'],
    channels: ['sms'],
    withWorker: false,
    variables: { TWILIO_LOOKUP_BASE_URL: service.url },
  })
  system.policy.costs = { currency: 'USD', prices: [{ channel: 'sms', amount: '0.03' }] }
})
afterAll(async () => {
  await system.stop()
  await service.close()
})
withinOne('hour', 20, () => system.db)

let lastApp = 0
const shipped = () => system.policy.protection
let before: ReturnType<typeof shipped>
beforeEach(() => {
  before = shipped()
  service.answerWith(carrier)
})
afterEach(() => {
  system.policy.protection = before
})

/** An app that asks carriers, for money. */
async function appThat(protection: Policy['protection']) {
  const appId = `asker-${++lastApp}`
  await createApp(system.db, { id: appId, name: appId })
  const scopes = ['send', 'verify', 'read']
  const { key } = await createApiKey(system.db, { appId, environment: 'production', scopes })
  system.policy.protection = { ...before, ...protection }
  const spent = async () =>
    (
      await system.db.one<{ spent: string }>(
        sql`select trim_scale(sum_of(spent))::text as spent from spending where app_id = ${appId} and live`,
      )
    )?.spent ?? null
  return { client: clientOf(system, key), spent }
}

const lookup = { provider: 'twilio', price: '0.008' }
const simSwap = { provider: 'twilio', maxAgeHours: 72, price: '0.01' }

describe('what is asked about a number', () => {
  test('counts in what the app spends: a look-up once, a SIM check each time', async () => {
    const { client, spent } = await appThat({ lookup, simSwap })
    const phone = freshPhone()
    expect((await client.send(phone)).status).toBe(200)
    expect(await spent()).toBe('0.018')
    expect((await client.send(phone)).status).toBe(200)
    expect(await spent()).toBe('0.028')
    // The first time both are one call.
    expect(service.calls).toHaveLength(2)
  })

  test('is one question where an account answers for the line, its risk and its SIM card', async () => {
    const { client } = await appThat({ lookup: { ...lookup, risk: true }, simSwap })
    const phone = freshPhone()
    const asked = () => service.calls.map(({ url = '' }) => new URL(url, 'http://x').search)
    const [sim_swap, valid] = [{ last_sim_swap: { swapped_in_period: true } }, true]
    service.answerWith(() => ({ body: JSON.stringify({ valid, sim_swap }) }))
    const answer = await client.send(phone, { risk: 'high' })
    expect([answer.status, answer.body.error_code]).toEqual([403, 'CHALLENGE_REQUIRED'])
    expect(asked()).toEqual(['?Fields=line_type_intelligence,sms_pumping_risk,sim_swap'])
    // The line is known now: the card is asked about alone.
    service.answerWith(carrier)
    expect((await client.send(phone, { risk: 'high' })).status).toBe(200)
    expect(asked()).toEqual(['?Fields=sim_swap'])
  })

  test('without a price counts for nothing, and is asked', async () => {
    const { client, spent } = await appThat({ lookup: { provider: 'twilio' } })
    expect((await client.send(freshPhone())).status).toBe(200)
    expect(await spent()).toBeNull()
    expect(service.calls).toHaveLength(1)
  })

  test('is not asked for an app that has no money left for a message', async () => {
    const { client, spent } = await appThat({ lookup, simSwap, budget: { day: '0.02' } })
    for (let i = 0; i < 5; i++) {
      const { status, body } = await client.send(freshPhone())
      expect([status, body.error_code]).toEqual([429, 'BUDGET_EXCEEDED'])
    }
    expect(service.calls).toEqual([])
    expect(await spent()).toBeNull()
  })

  test('never costs more than the budget, however many ask at once', async () => {
    const budget = { hour: '0.5', day: '0.05' }
    const { client, spent } = await appThat({ lookup, budget })
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.send(freshPhone())))
    // Nothing is claimed without a worker, so all of it went into questions.
    expect(Number(await spent())).toBeLessThanOrEqual(0.05)
    expect(service.calls.length * 0.008).toBeCloseTo(Number(await spent()), 9)
    const refused = answers.filter(({ status }) => status !== 200)
    expect(refused.length).toBeGreaterThan(0)
    for (const { body } of refused)
      expect(['BUDGET_EXCEEDED', 'CHALLENGE_REQUIRED']).toContain(body.error_code)
  })
})
