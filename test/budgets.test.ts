import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { RequestMoney } from '../core/abuse/money'
import { readBudgets, takeBudget } from '../db/abuse/spending'
import { createApp } from '../db/apps/apps'
import {
  claimAttempt,
  reclaimAttempt,
  recordAnswer,
  settleOpenAttempts,
} from '../db/attempts/attempts'
import { findAttemptById, recordReceipt } from '../db/attempts/receipts'
import { checkCode } from '../db/checks/checks'
import { cancelRequest } from '../db/requests/commands'
import { failNothingAccepted } from '../db/requests/progress'
import { openRequest } from '../db/requests/sends'
import { requestsOnly } from './harness/requests'
import { sendInput } from './harness/seed'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

let lastApp = 0
/** An app of its own, so that no other test spends its money. */
async function freshApp() {
  const appId = `payer-${++lastApp}`
  await createApp(requests.db, { id: appId, name: appId })
  return appId
}

const moneyOf = (given: Partial<RequestMoney> = {}): RequestMoney => ({
  currency: 'USD',
  prices: { sms: { '*': '0.30', 'sandbox-b': '0.05' }, voice: { '*': '0.50' } },
  ...given,
})

const claimOf = (requestId: string, given: Partial<Parameters<typeof claimAttempt>[1]> = {}) =>
  claimAttempt(requests.db, {
    requestId,
    ...{ sendNo: 1, firstSendNo: 1, step: 0, tryNo: 1, runId: 'run', success: 'delivered' },
    ...{ channel: 'sms', provider: 'sandbox-a' },
    callbackDigest: Buffer.from(`${requestId}${Math.random()}`),
    ...given,
  })

/** A claim that was paid for. */
async function paid(...given: Parameters<typeof claimOf>) {
  const claim = await claimOf(...given)
  if (!claim || claim === 'unaffordable') throw new Error(`not claimed: ${claim}`)
  return { requestId: given[0], attemptId: claim.attemptId, runId: 'run' }
}

/** What an app has spent today, and what it holds for calls under way. */
async function spendingOf(appId: string) {
  const rows = await requests.db.many<{ spent: string; reserved: string; currency: string }>(sql`
    select sum_of(spent) as spent, sum_of(reserved) as reserved, currency from spending
    where app_id = ${appId} order by live, currency`)
  return rows.map(
    ({ spent, reserved, currency }) => `${Number(spent)} + ${Number(reserved)} ${currency}`,
  )
}

const opened = async (appId: string, money: RequestMoney | undefined = moneyOf()) =>
  (await requests.open({ appId, money })).requestId

describe('a call', () => {
  test('reserves its price, and spends it when it is accepted', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    expect(await spendingOf(appId)).toEqual(['0 + 0.3 USD'])
    await recordAnswer(requests.db, ref, { state: 'accepted', providerMessageId: null })
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
  })

  test('gives it back when it is refused', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    await recordAnswer(requests.db, ref, { state: 'refused', fault: 'unavailable' })
    expect(await spendingOf(appId)).toEqual(['0 + 0 USD'])
  })

  test('in doubt has cost what it was to cost, and what it did cost once that is known', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    await recordAnswer(requests.db, ref, { state: 'in_doubt' })
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
    const cost = { amount: '0.12', currency: 'USD' }
    await recordAnswer(requests.db, ref, { state: 'accepted', providerMessageId: null, cost })
    expect(await spendingOf(appId)).toEqual(['0.12 + 0 USD'])
  })

  test('that a crash left open stays counted, and is not taken twice when it is claimed again', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    expect(await reclaimAttempt(requests.db, ref)).toBe(true)
    expect(await spendingOf(appId)).toEqual(['0 + 0.3 USD'])
    const { requestId } = ref
    await cancelRequest(requests.db, { requestId, appId, environment: 'staging', actor: 'test' })
    await settleOpenAttempts(requests.db, requestId)
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
  })

  test('counts a price that its provider tells late, and the last one it tells', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    await recordAnswer(requests.db, ref, { state: 'accepted', providerMessageId: 'm' })
    const report = async (amount: string, currency = 'USD') => {
      const attempt = await findAttemptById(requests.db, { provider: 'sandbox-a', ...ref })
      if (!attempt) throw new Error('no attempt')
      const cost = { amount, currency }
      const receipt = { status: 'delivered', rawStatus: 'd', eventKey: amount, cost } as const
      await recordReceipt(requests.db, { attempt, receipt, actor: 'test' })
    }
    await report('0.41')
    expect(await spendingOf(appId)).toEqual(['0.41 + 0 USD'])
    await report('0.20')
    expect(await spendingOf(appId)).toEqual(['0.2 + 0 USD'])
    // Another currency cannot be converted: the policy's price counts.
    await report('4000', 'NGN')
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
  })

  test('without a price in the policy costs what its provider says, in that currency', async () => {
    const appId = await freshApp()
    const ref = await paid((await requests.open({ appId })).requestId)
    expect(await spendingOf(appId)).toEqual([])
    const cost = { amount: '0.8', currency: 'KES' }
    await recordAnswer(requests.db, ref, { state: 'accepted', providerMessageId: null, cost })
    expect(await spendingOf(appId)).toEqual(['0.8 + 0 KES'])
  })

  test('of a live key and of a test key are counted apart', async () => {
    const appId = await freshApp()
    const money = moneyOf({ budget: { day: '0.30' } })
    const { requestId } = await requests.open({ appId, money })
    await paid(requestId)
    const live = await requests.open({ appId, money, environment: 'production' })
    expect(await claimOf(live.requestId)).toHaveProperty('attemptId')
    expect(await spendingOf(appId)).toEqual(['0 + 0.3 USD', '0 + 0.3 USD'])
  })
})

describe('a budget', () => {
  test('has room for exactly as many calls as it pays for, however many ask at once', async () => {
    const appId = await freshApp()
    const money = moneyOf({ budget: { hour: '3', day: '100' } })
    const ids = await Promise.all(Array.from({ length: 40 }, () => opened(appId, money)))
    const claims = await Promise.all(ids.map((id) => claimOf(id)))
    expect(claims.filter((claim) => claim === 'unaffordable')).toHaveLength(30)
    expect(await spendingOf(appId)).toEqual(['0 + 3 USD'])
  })

  test.each([
    ['hour', { hour: '0.59' }],
    ['day', { day: '0.59' }],
  ])(
    'of one %s leaves a cheaper provider, and ends a request that none can be paid for',
    async (_, budget) => {
      const appId = await freshApp()
      const requestId = await opened(appId, moneyOf({ budget }))
      await recordAnswer(requests.db, await paid(requestId), {
        state: 'refused',
        fault: 'unavailable',
      })
      const first = await opened(appId, moneyOf({ budget }))
      await paid(first)
      // 0.29 is left: not for 0.30, but for 0.05.
      expect(await claimOf(requestId, { sendNo: 2 })).toBe('unaffordable')
      const cheap = await paid(requestId, { sendNo: 3, provider: 'sandbox-b' })
      await recordAnswer(requests.db, cheap, { state: 'refused', fault: 'unavailable' })
      expect(await claimOf(requestId, { sendNo: 4, channel: 'voice', step: 1 })).toBe(
        'unaffordable',
      )
      await failNothingAccepted(requests.db, requestId, 'run')
      expect(await requests.stateOf(requestId)).toEqual({
        state: 'failed',
        reason: 'budget_exceeded',
      })
      const told = await requests.db.many<{ detail: object }>(sql`
      select detail from audit_events where chain = ${requestId} and type = 'budget_refused' order by sequence`)
      expect(told.map(({ detail }) => detail)).toEqual([
        { channel: 'sms', provider: 'sandbox-a', step: 0 },
        { channel: 'voice', provider: 'sandbox-a', step: 1 },
      ])
    },
  )

  test('lets nothing pass that has no price', async () => {
    const appId = await freshApp()
    const requestId = await opened(
      appId,
      moneyOf({ prices: { voice: { '*': '1' } }, budget: { day: '5' } }),
    )
    expect(await claimOf(requestId)).toBe('unaffordable')
  })

  test('is passed by no more than what calls under way cost beyond their estimate', async () => {
    const appId = await freshApp()
    const money = moneyOf({ budget: { hour: '0.70', day: '7' } })
    const [first, second] = [
      await paid(await opened(appId, money)),
      await paid(await opened(appId, money)),
    ]
    const cost = { amount: '0.50', currency: 'USD' }
    for (const ref of [first, second])
      await recordAnswer(requests.db, ref, { state: 'accepted', providerMessageId: null, cost })
    const purse = { appId, live: false, currency: 'USD', budget: money.budget }
    expect(await readBudgets(requests.db, purse)).toMatchObject([
      { window: 'hour', limit: '0.70', spent: '1', remaining: '0' },
      { window: 'day', limit: '7', spent: '1', remaining: '6' },
    ])
    expect(await takeBudget(requests.db, { ...purse, price: '0.01' })).toBe(false)
  })

  test('counts the other provider after a failover, and each resend', async () => {
    const appId = await freshApp()
    const requestId = await opened(appId, moneyOf({ budget: { hour: '0.60' } }))
    const first = await paid(requestId)
    await recordAnswer(requests.db, first, { state: 'in_doubt' })
    await paid(requestId, { sendNo: 2, provider: 'sandbox-b' })
    expect(await claimOf(requestId, { sendNo: 3 })).toBe('unaffordable')
    await paid(requestId, { sendNo: 4, provider: 'sandbox-b' })
    expect(await spendingOf(appId)).toEqual(['0.3 + 0.1 USD'])
  })
})

describe('a send', () => {
  const send = (appId: string, given: Partial<Parameters<typeof sendInput>[0]> = {}) =>
    openRequest(
      requests.db,
      requests.keyring,
      sendInput({ appId, recipient: requests.freshNumber(), ...given }),
    )

  test('is refused until the window ends once not even the cheapest message can be paid for', async () => {
    const appId = await freshApp()
    const money = moneyOf({ budget: { hour: '0.34', day: '0.34' } })
    const first = await opened(appId, money)
    await paid(first)
    const refused = await send(appId, { money })
    expect(refused).toMatchObject({ outcome: 'over_budget', window: 'day' })
    const { left } = (await requests.db.one<{ left: number }>(
      sql`select extract(epoch from date_trunc('day', now(), 'UTC') + interval '24 hours' - now())::float8 as left`,
    )) ?? { left: 0 }
    expect(refused).toHaveProperty('retryAfterSeconds')
    if (refused.outcome === 'over_budget')
      expect(Math.abs(refused.retryAfterSeconds - left)).toBeLessThan(30)
    const kept = await requests.db.many(sql`select from otp_requests where app_id = ${appId}`)
    expect(kept).toHaveLength(1)
  })

  test('of an hour that is spent may be made again when the hour is over', async () => {
    const appId = await freshApp()
    const money = moneyOf({ budget: { hour: '0.30', day: '9' } })
    await paid(await opened(appId, money))
    const refused = await send(appId, { money })
    expect(refused).toMatchObject({ outcome: 'over_budget', window: 'hour' })
    if (refused.outcome === 'over_budget')
      expect(refused.retryAfterSeconds).toBeLessThanOrEqual(3_600)
  })

  test('that is refused leaves checks of codes that are out alone', async () => {
    const appId = await freshApp()
    const money = moneyOf({ budget: { hour: '0.30' } })
    const { requestId } = await requests.open({ appId, money })
    await paid(requestId)
    expect(await send(appId, { money })).toMatchObject({ outcome: 'over_budget' })
    const owner = { appId, environment: 'staging' as const }
    const code = await requests.codeOf(requestId)
    expect(
      await checkCode(requests.db, requests.keyring, {
        ...owner,
        by: { requestId },
        code,
        actor: 't',
      }),
    ).toMatchObject({ outcome: 'verified' })
  })
})
