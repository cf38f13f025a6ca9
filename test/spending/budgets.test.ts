import { describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { readBudgets, takeBudget } from '../../db/spending/spending'
import { reclaimAttempt, recordAnswer, settleOpenAttempts } from '../../db/delivery/attempts'
import { checkCode } from '../../db/verify/checks'
import { cancelRequest } from '../../db/requests/commands'
import { failNothingAccepted } from '../../db/requests/progress'
import { openRequest } from '../../db/requests/sends'
import { claimOf, freshApp, moneyOf, opened, paid, rig, spendingOf } from '../harness/payers'
import { sendInput } from '../harness/seed'

describe('a call', () => {
  test('reserves its price, and spends it when it is accepted', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    expect(await spendingOf(appId)).toEqual(['0 + 0.3 USD'])
    await recordAnswer(rig.requests.db, ref, { state: 'accepted', providerMessageId: null })
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
  })

  test('gives it back when it is refused', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    await recordAnswer(rig.requests.db, ref, { state: 'refused', fault: 'unavailable' })
    expect(await spendingOf(appId)).toEqual(['0 + 0 USD'])
  })

  test('in doubt has cost what it was to cost, and what it did cost once that is known', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    await recordAnswer(rig.requests.db, ref, { state: 'in_doubt' })
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
    const cost = { amount: '0.12', currency: 'USD' }
    await recordAnswer(rig.requests.db, ref, { state: 'accepted', providerMessageId: null, cost })
    expect(await spendingOf(appId)).toEqual(['0.12 + 0 USD'])
  })

  test('that a crash left open stays counted, and is not taken twice when it is claimed again', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    expect(await reclaimAttempt(rig.requests.db, ref)).toBe(true)
    expect(await spendingOf(appId)).toEqual(['0 + 0.3 USD'])
    const { requestId } = ref
    await cancelRequest(rig.requests.db, {
      requestId,
      appId,
      environment: 'staging',
      actor: 'test',
    })
    await settleOpenAttempts(rig.requests.db, requestId)
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
  })

  test('without a price in the policy costs what its provider says, in that currency', async () => {
    const appId = await freshApp()
    const ref = await paid((await rig.requests.open({ appId })).requestId)
    expect(await spendingOf(appId)).toEqual([])
    const cost = { amount: '0.8', currency: 'KES' }
    await recordAnswer(rig.requests.db, ref, { state: 'accepted', providerMessageId: null, cost })
    expect(await spendingOf(appId)).toEqual(['0.8 + 0 KES'])
  })

  test('of a live key and of a test key are counted apart', async () => {
    const appId = await freshApp()
    const money = moneyOf({ budget: { day: '0.30' } })
    const { requestId } = await rig.requests.open({ appId, money })
    await paid(requestId)
    const live = await rig.requests.open({ appId, money, environment: 'production' })
    expect(await claimOf(live.requestId, { isTestAccount: false })).toHaveProperty('attemptId')
    expect(await spendingOf(appId)).toEqual(['0 + 0.3 USD', '0 + 0.3 USD'])
  })
})

describe('a budget', () => {
  test('has room for exactly as many calls as it pays for, however many ask at once', async () => {
    const appId = await freshApp()
    const money = moneyOf({ budget: { hour: '3', day: '100' } })
    const ids = await Promise.all(Array.from({ length: 40 }, () => opened(appId, money)))
    const claims = await Promise.all(ids.map((id) => claimOf(id)))
    expect(claims.filter(({ verdict }) => verdict === 'unaffordable')).toHaveLength(30)
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
      await recordAnswer(rig.requests.db, await paid(requestId), {
        state: 'refused',
        fault: 'unavailable',
      })
      const first = await opened(appId, moneyOf({ budget }))
      await paid(first)
      // 0.29 is left: not for 0.30, but for 0.05.
      expect(await claimOf(requestId, { sendNo: 2 })).toMatchObject({ verdict: 'unaffordable' })
      const cheap = await paid(requestId, { sendNo: 3, provider: 'sandbox-b' })
      await recordAnswer(rig.requests.db, cheap, { state: 'refused', fault: 'unavailable' })
      expect(await claimOf(requestId, { sendNo: 4, channel: 'voice', step: 1 })).toMatchObject({
        verdict: 'unaffordable',
      })
      await failNothingAccepted(rig.requests.db, requestId, 'run')
      expect(await rig.requests.stateOf(requestId)).toEqual({
        state: 'failed',
        reason: 'budget_exceeded',
      })
      const told = await rig.requests.db.many<{ detail: object }>(sql`
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
    expect(await claimOf(requestId)).toMatchObject({ verdict: 'unaffordable' })
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
      await recordAnswer(rig.requests.db, ref, { state: 'accepted', providerMessageId: null, cost })
    const purse = { appId, live: false, currency: 'USD', budget: money.budget }
    expect(await readBudgets(rig.requests.db, purse)).toMatchObject([
      { window: 'hour', limit: '0.70', spent: '1', remaining: '0' },
      { window: 'day', limit: '7', spent: '1', remaining: '6' },
    ])
    expect(await takeBudget(rig.requests.db, { ...purse, price: '0.01' })).toBe(false)
  })

  test('counts the other provider after a failover, and each resend', async () => {
    const appId = await freshApp()
    const requestId = await opened(appId, moneyOf({ budget: { hour: '0.60' } }))
    const first = await paid(requestId)
    await recordAnswer(rig.requests.db, first, { state: 'in_doubt' })
    await paid(requestId, { sendNo: 2, provider: 'sandbox-b' })
    const resendSeq = await rig.requests.askedAgain(requestId)
    expect(await claimOf(requestId, { sendNo: 3, resendSeq })).toMatchObject({
      verdict: 'unaffordable',
    })
    await paid(requestId, { sendNo: 4, resendSeq, provider: 'sandbox-b' })
    expect(await spendingOf(appId)).toEqual(['0.3 + 0.1 USD'])
  })
})

describe('a send', () => {
  const send = (appId: string, given: Partial<Parameters<typeof sendInput>[0]> = {}) =>
    openRequest(
      rig.requests.db,
      rig.requests.keyring,
      sendInput({ appId, recipient: rig.requests.freshNumber(), ...given }),
    )

  test('is refused until the window ends once not even the cheapest message can be paid for', async () => {
    const appId = await freshApp()
    const money = moneyOf({ budget: { hour: '0.34', day: '0.34' } })
    const first = await opened(appId, money)
    await paid(first)
    const refused = await send(appId, { money })
    expect(refused).toMatchObject({ outcome: 'over_budget', window: 'day' })
    const { left } = (await rig.requests.db.one<{ left: number }>(
      sql`select extract(epoch from date_trunc('day', now(), 'UTC') + interval '24 hours' - now())::float8 as left`,
    )) ?? { left: 0 }
    expect(refused).toHaveProperty('retryAfterSeconds')
    if (refused.outcome === 'over_budget')
      expect(Math.abs(refused.retryAfterSeconds - left)).toBeLessThan(30)
    const kept = await rig.requests.db.many(sql`select from otp_requests where app_id = ${appId}`)
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
    const { requestId } = await rig.requests.open({ appId, money })
    await paid(requestId)
    expect(await send(appId, { money })).toMatchObject({ outcome: 'over_budget' })
    const owner = { appId, environment: 'staging' as const }
    const code = await rig.requests.codeOf(requestId)
    expect(
      await checkCode(rig.requests.db, rig.requests.keyring, {
        ...owner,
        by: { requestId },
        code,
        actor: 't',
      }),
    ).toMatchObject({ outcome: 'verified' })
  })
})
