import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { cheapestOf, moneyOf as pricesOf } from '../../core/spending/money'
import { stepDefaults } from '../../core/requests/plan'
import { alertBudgets } from '../../db/alerts/budget-alerts'
import { findShortage, takeBudget } from '../../db/spending/spending'
import { createApp } from '../../db/apps/apps'
import { requestsOnly } from '../harness/requests'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

let lastApp = 0
async function freshApp() {
  const appId = `payer-${++lastApp}`
  await createApp(requests.db, { id: appId, name: appId })
  return appId
}

describe('prices', () => {
  const table = {
    currency: 'USD',
    prices: [
      { channel: 'sms' as const, to: 'GH', amount: '0.02' },
      { channel: 'sms' as const, to: '+4477', amount: '0.9' },
      { channel: 'sms' as const, provider: 'a', amount: '0.01' },
      { channel: 'voice' as const, amount: '0.10' },
      { channel: 'email' as const, amount: '0' },
    ],
  }
  const pricesFor = (country: string, number: string, budget?: { day: string }) =>
    pricesOf(table, { kind: 'phone', country, number, budget })?.prices

  test('are those for the recipient, by channel and account', () => {
    expect(pricesFor('GH', '+233241234567')).toEqual({
      sms: { '*': '0.02', a: '0.01' },
      voice: { '*': '0.10' },
    })
    expect(pricesFor('GB', '+447712345678')).toMatchObject({ sms: { '*': '0.9', a: '0.01' } })
    expect(pricesFor('KE', '+254712345678')).toMatchObject({ sms: { a: '0.01' } })
    expect(pricesOf(table, { kind: 'email', country: null })?.prices).toEqual({
      email: { '*': '0' },
    })
    expect(pricesOf(undefined, { kind: 'phone', country: 'GH' })).toBeUndefined()
  })

  test('that nobody gave are the dearest of the channel under a budget', () => {
    expect(pricesFor('KE', '+254712345678', { day: '5' })).toMatchObject({
      sms: { '*': '0.9', a: '0.01' },
    })
  })

  test('of a plan: the cheapest message is what a send must be able to pay for', () => {
    const money = {
      currency: 'USD',
      prices: { sms: { '*': '0.9', a: '0.20' }, voice: { '*': '0.10' } },
    }
    const step = (channel: 'sms' | 'voice' | 'ussd', providers: string[]) => ({
      ...stepDefaults[channel],
      ...{ channel, providers },
    })
    expect(cheapestOf(money, [step('sms', ['b', 'a'])])).toBe('0.20')
    expect(cheapestOf(money, [step('sms', ['b']), step('voice', ['b'])])).toBe('0.10')
    expect(cheapestOf(money, [step('ussd', ['b'])])).toBeUndefined()
  })
})

describe('by the time of the traffic', () => {
  const at = (time: string) => new Date(`2026-03-02T${time}Z`)
  const chargeOf = (appId: string, budget: object, price = '0.30') => ({
    ...{ appId, live: true, currency: 'USD', price, budget },
  })

  test('10,000 messages of 0.30 stop at the cap', async () => {
    const charge = chargeOf(await freshApp(), { hour: '30', day: '50' })
    const takenIn = async (hour: number, messages: number) => {
      let taken = 0
      for (let sent = 0; sent < messages; sent += 100) {
        const moment = at(
          `${hour}:${String(Math.floor((sent / messages) * 60)).padStart(2, '0')}:00`,
        )
        const answers = await Promise.all(
          Array.from({ length: 100 }, () => takeBudget(requests.db, charge, moment)),
        )
        taken += answers.filter(Boolean).length
      }
      return taken
    }
    // 30 an hour and 50 a day.
    expect(await takenIn(10, 5_000)).toBe(100)
    expect(await takenIn(11, 5_000)).toBe(66)
  })

  test('an hour begins anew, the day goes on', async () => {
    const charge = chargeOf(await freshApp(), { hour: '0.60', day: '0.90' })
    const take = (time: string) => takeBudget(requests.db, charge, at(time))
    const taken = []
    for (const time of [
      '10:00:00',
      '10:59:59.999',
      '10:59:59.999',
      '11:00:00',
      '12:00:00',
      '23:59:59',
    ])
      taken.push(await take(time))
    expect(taken).toEqual([true, true, false, true, false, false])
    const { db } = requests
    expect(await findShortage(db, charge, at('10:30:00'))).toEqual({
      ...{ window: 'day', retryAfterSeconds: 48_600 },
    })
    const cheap = { ...charge, price: '0', budget: { hour: '0.50' } }
    expect(await findShortage(db, cheap, at('10:30:00'))).toEqual({
      ...{ window: 'hour', retryAfterSeconds: 1_800 },
    })
    expect(await findShortage(db, cheap, at('12:30:00'))).toBeUndefined()
    expect(await takeBudget(db, charge, new Date('2026-03-03T00:00:00Z'))).toBe(true)
  })

  test('amounts are exact: ten times 0.1 is 1', async () => {
    const charge = chargeOf(await freshApp(), { day: '1' }, '0.1')
    const taken = await Promise.all(
      Array.from({ length: 11 }, () => takeBudget(requests.db, charge, at('10:00:00'))),
    )
    expect(taken.filter(Boolean)).toHaveLength(10)
  })
})

describe('alerts', () => {
  test('are raised at 50, 80 and 100 % of each budget, once in its window, and end with it', async () => {
    const { db } = requests
    const appId = await freshApp()
    const at = (time: string) => new Date(`2026-04-01T${time}Z`)
    const charge = {
      ...{ appId, live: true, currency: 'USD', price: '0.30' },
      budget: { hour: '1.00', day: '9' },
    }
    const alertsOf = () =>
      db.many<{ subject: string; severity: string; open: boolean }>(sql`
        select subject, severity, resolved_at is null as open from alerts where app_id = ${appId} order by opened_at, subject`)
    const spend = async (time: string) => {
      await takeBudget(db, charge, at(time))
      await alertBudgets(db, at(time))
      return (await alertsOf()).map(({ subject }) => subject)
    }
    expect(await spend('10:00:00')).toEqual([])
    expect(await spend('10:01:00')).toEqual(['hour 50 %'])
    // 0.90 of 1.00: no room for another of 0.30.
    expect(await spend('10:02:00')).toEqual(['hour 50 %', 'hour 100 %', 'hour 80 %'])
    expect(await spend('10:03:00')).toHaveLength(3)
    expect(await alertsOf()).toMatchObject([
      { severity: 'warning', open: true },
      { severity: 'critical', open: true },
      { severity: 'warning', open: true },
    ])
    await alertBudgets(db, at('11:00:00'))
    expect((await alertsOf()).map(({ open }) => open)).toEqual([false, false, false])
    expect(await spend('11:01:00')).toHaveLength(3)
    expect(await spend('11:02:00')).toHaveLength(4)
  })
})
