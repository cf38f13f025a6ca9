import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { BudgetsAnswer } from '../../api/contract/budgets'
import type { Budget } from '../../core/spending/money'
import type { Price } from '../../core/routing/cost'
import { createApiKey } from '../../db/apps/api-keys'
import { createApp } from '../../db/apps/apps'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { runForJson } from '../harness/run'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf, visitorsOf } from '../harness/visitor'
import { withinOne } from '../harness/windows'

let system: System
beforeAll(async () => {
  system = await startSystem({ steps: { sms: { timeoutMs: 3_000 }, voice: { timeoutMs: 3_000 } } })
})
afterAll(() => system.stop())
withinOne('hour', 30, () => system.db)

let lastApp = 0
/** An app with a budget of its own, and the prices that the policy has for it. */
async function appWith(
  budget: Budget,
  prices: readonly Price[] = [{ channel: 'sms', amount: '0.03' }],
) {
  const appId = `payer-${++lastApp}`
  await createApp(system.db, { id: appId, name: appId })
  const scopes = ['send', 'verify', 'read']
  const { key } = await createApiKey(system.db, { appId, environment: 'staging', scopes })
  const { protection } = system.policy
  protection.overrides = [
    ...(protection.overrides ?? []),
    { name: appId, when: { apps: [appId] }, budget },
  ]
  system.policy.costs = { currency: 'USD', prices: [...prices] }
  return { appId, client: clientOf(system, key) }
}

const budgetsOf = async (appId: string) => {
  const { status, body } = await clientOf(system, system.operatorKey).call(
    'GET',
    `/admin/budgets?app_id=${appId}`,
  )
  expect(status).toBe(200)
  const { budgets, spending } = BudgetsAnswer.parse(body)
  return { budgets: budgets.filter(({ live }) => !live), spending }
}

const delivered = (client: TestClient, id: string) =>
  until(async () => {
    const [attempt] = (await client.status(id)).steps[0]?.attempts ?? []
    return attempt?.status === 'delivered' && attempt
  })

describe('an app whose budget is spent', () => {
  test('is refused until the window ends; its codes that are out still verify', async () => {
    const { appId, client } = await appWith({ hour: '0.05', day: '2' })
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms'] })
    // The sandbox says what it charged: that replaces the estimate.
    expect(await delivered(client, id)).toMatchObject({
      cost: { currency: 'USD', estimated: false },
    })
    const refused = await client.send(freshPhone(), { channels: ['sms'] })
    expect(refused).toMatchObject({ status: 429, body: { error_code: 'BUDGET_EXCEEDED' } })
    const wait = Number(refused.headers.get('retry-after'))
    expect(wait).toBeGreaterThan(0)
    expect(wait).toBeLessThanOrEqual(3_600)
    const [message] = await client.inbox(phone)
    expect(await client.verify({ phone_number: phone, code: message?.code })).toMatchObject({
      status: 200,
      body: { status: 'verified' },
    })
    const { budgets, spending } = await budgetsOf(appId)
    expect(budgets).toMatchObject([
      { window: 'hour', limit: '0.05', reserved: expect.stringMatching(/^0/), currency: 'USD' },
      { window: 'day', limit: '2' },
    ])
    expect(Number(budgets[0]?.spent) + Number(budgets[0]?.remaining)).toBeCloseTo(0.05, 6)
    expect(spending).toMatchObject([
      { live: false, channel: 'sms', provider: 'sandbox-a', country: 'GH', calls: 1, unpriced: 0 },
    ])
  })

  test('tells strangers only that the service is at its limit', async () => {
    const { appId } = await appWith({ hour: '0.01' })
    const page = visitorsOf(system, await publishableKeyOf(system, appId))()
    const { status, body, headers } = await page.send(freshPhone())
    expect([status, body.error_code]).toEqual([429, 'OVERLOADED'])
    expect(JSON.stringify(body)).not.toMatch(/budget/i)
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('sends by the channel that it can still pay for', async () => {
    const prices = [
      { channel: 'sms' as const, amount: '0.30' },
      { channel: 'voice' as const, amount: '0.01' },
    ]
    const { client } = await appWith({ hour: '0.10' }, prices)
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms', 'voice'] })
    await until(async () => (await client.inbox(phone)).some(({ channel }) => channel === 'voice'))
    const { steps, events } = await client.status(id)
    expect(steps[0]).toMatchObject({ status: 'failed', attempts: [] })
    expect(events.filter(({ type }) => type === 'budget_refused')).toMatchObject([
      { detail: { channel: 'sms', provider: 'sandbox-a' } },
      { detail: { channel: 'sms', provider: 'sandbox-b' } },
    ])
  })

  test('is told so when no call could be paid for', async () => {
    const prices = [
      { channel: 'sms' as const, amount: '0.30' },
      { channel: 'sms' as const, provider: 'sandbox-b', amount: '0.02' },
    ]
    const { appId, client } = await appWith({ hour: '0.10' }, prices)
    // The one that could be paid for says that the number is blocked.
    const id = await client.sent('+233555000004', { channels: ['sms'] })
    const ended = await untilState(client, id, 'failed')
    expect(ended).toMatchObject({ state: 'failed', reason: 'budget_exceeded' })
    expect(ended.steps[0]?.attempts).toMatchObject([
      { provider: 'sandbox-b', fault: 'blocked', cost: null },
    ])
    expect((await budgetsOf(appId)).budgets).toMatchObject([
      { window: 'hour', spent: '0', reserved: '0', remaining: '0.1' },
      { window: 'day', limit: null, remaining: null },
    ])
  })

  test('is refused a resend, and gets it once the budget was raised', async () => {
    const { appId, client } = await appWith({ hour: '0.04' })
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms'] })
    await delivered(client, id)
    await system.db.many(sql`update attempts set claimed_at = claimed_at - interval '11 seconds'
      where request_id = ${id}`)
    const resend = await client.call('POST', `/otp/${id}/resend`, {})
    expect(resend).toMatchObject({ status: 429, body: { error_code: 'BUDGET_EXCEEDED' } })
    const override = system.policy.protection.overrides?.find(({ name }) => name === appId)
    if (override) override.budget = { hour: '1' }
    expect(await client.sent(phone, { channels: ['sms'] })).toBe(id)
    await until(async () => (await client.inbox(phone)).length === 2)
  })
})

describe('who may see budgets', () => {
  test('whoever holds the database, by the command', async () => {
    const { appId, client } = await appWith({ hour: '9' })
    await delivered(client, await client.sent(freshPhone(), { channels: ['sms'] }))
    const command = [process.execPath, 'cli/otpilot-command.mjs', 'budgets', '--json', '--app']
    const { answer, code } = await runForJson([...command, appId], {
      DATABASE_URL: system.databaseUrl,
    })
    expect([code, BudgetsAnswer.parse(answer).spending]).toMatchObject([
      0,
      [{ live: false, channel: 'sms', amount: '0.03', estimated: '0', calls: 1 }],
    ])
  }, 60_000)

  test('an app its own, with a test key those of test keys only', async () => {
    const { appId } = await appWith({ day: '5' })
    const keyFor = async (environment: 'production' | 'staging') =>
      clientOf(
        system,
        (await createApiKey(system.db, { appId, environment, scopes: ['admin'] })).key,
      )
    const read = async (client: TestClient) =>
      BudgetsAnswer.parse((await client.call('GET', '/admin/budgets')).body).budgets.map(
        ({ live }) => live,
      )
    expect(await read(await keyFor('production'))).toEqual([true, true, false, false])
    const tester = await keyFor('staging')
    expect(await read(tester)).toEqual([false, false])
    expect((await tester.call('GET', '/admin/budgets?app_id=app')).status).toBe(404)
    expect((await clientOf(system, system.operatorKey).call('GET', '/admin/budgets')).status).toBe(
      400,
    )
  })
})
