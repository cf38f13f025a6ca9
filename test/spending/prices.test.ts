import { describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { usualSla } from '../../core/alerts/provider-rules'
import { findAlert, openAlerts } from '../../db/alerts/alerts'
import { judgeAlerts } from '../../db/alerts/judge-alerts'
import { recordAnswer } from '../../db/delivery/attempts'
import { findAttemptById, recordReceipt } from '../../db/delivery/receipts'
import { cancelRequest } from '../../db/requests/commands'
import { type claimOf, freshApp, opened, paid, rig, spendingOf } from '../harness/payers'

/** The same, accepted. */
async function accepted(appId: string, given: Parameters<typeof claimOf>[1] = {}) {
  const ref = await paid(await opened(appId), given)
  await recordAnswer(rig.requests.db, ref, { state: 'accepted', providerMessageId: 'm' })
  return ref
}

let lastReport = 0
/** A report about a call, with what it cost. */
async function charged(
  { attemptId }: { attemptId: string },
  amount: string | undefined,
  {
    currency = 'USD',
    provider = 'sandbox-a',
    eventKey = `report-${++lastReport}`,
  }: { currency?: string; provider?: string; eventKey?: string } = {},
) {
  const attempt = await findAttemptById(rig.requests.db, { provider, attemptId })
  if (!attempt) throw new Error('no attempt')
  const cost = amount === undefined ? undefined : { amount, currency }
  const receipt = { status: 'delivered', rawStatus: 'd', eventKey, cost } as const
  await recordReceipt(rig.requests.db, { attempt, receipt, actor: 'test' })
}

/** What became of each price, by the audit trail. */
const verdictsOf = async ({ attemptId }: { attemptId: string }) =>
  (
    await rig.requests.db.many<{ verdict: string }>(sql`
      select concat_ws(' ', detail ->> 'price', detail ->> 'currency', detail ->> 'price_verdict') as verdict
      from audit_events where attempt_id = ${attemptId} and detail ? 'price' order by sequence`)
  ).map(({ verdict }) => verdict)

const hoursFromNow = (hours: number) => new Date(Date.now() + hours * 3_600_000)

describe('a call', () => {
  test('counts the first price that its provider tells, and no later one', async () => {
    const appId = await freshApp()
    const ref = await accepted(appId)
    await charged(ref, '0.41')
    expect(await spendingOf(appId)).toEqual(['0.41 + 0 USD'])
    await charged(ref, '0.20')
    await cancelRequest(rig.requests.db, { ...ref, appId, environment: 'staging', actor: 'test' })
    for (const [amount, currency] of [
      ['0', 'USD'],
      ['2', 'USD'],
      ['0.3', 'NGN'],
    ] as const)
      await charged(ref, amount, { currency })
    expect(await spendingOf(appId)).toEqual(['0.41 + 0 USD'])
    expect(await verdictsOf(ref)).toEqual([
      ...['0.41 USD counted', '0.20 USD settled'],
      ...['0 USD settled', '2 USD settled', '0.3 NGN settled'],
    ])
  })

  test('counts a first price that comes after the end', async () => {
    const appId = await freshApp()
    const ref = await accepted(appId)
    await cancelRequest(rig.requests.db, { ...ref, appId, environment: 'staging', actor: 'test' })
    await charged(ref, '0.41')
    expect(await spendingOf(appId)).toEqual(['0.41 + 0 USD'])
  })

  test('counts no price of a report that is a duplicate', async () => {
    const appId = await freshApp()
    const ref = await accepted(appId)
    await charged(ref, undefined, { eventKey: 'once' })
    await charged(ref, '0.41', { eventKey: 'once' })
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
    await Promise.all(Array.from({ length: 20 }, (_, i) => charged(ref, `0.${10 + i}`)))
    const first = (await verdictsOf(ref)).filter((verdict) => verdict.endsWith('counted'))
    expect(first).toHaveLength(1)
    expect(await spendingOf(appId)).toEqual([`${Number(first[0]?.split(' ')[0])} + 0 USD`])
  })

  test('keeps the price of its answer, whatever is reported then', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId))
    const cost = { amount: '0.25', currency: 'USD' }
    await recordAnswer(rig.requests.db, ref, { state: 'accepted', providerMessageId: null, cost })
    await charged(ref, '0.01')
    expect(await spendingOf(appId)).toEqual(['0.25 + 0 USD'])
  })

  test('in another currency, which nobody converts, is estimated until a price comes in its own', async () => {
    const appId = await freshApp()
    const ref = await accepted(appId)
    await charged(ref, '4000', { currency: 'NGN' })
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
    await charged(ref, '0.41')
    expect(await spendingOf(appId)).toEqual(['0.41 + 0 USD'])
  })

  test.each([
    ['3.01', 'above_estimate'],
    ['900000', 'above_estimate'],
    ['NaN', 'out_of_range'],
    ['Infinity', 'out_of_range'],
    ['-0.3', 'out_of_range'],
    ['-Infinity', 'out_of_range'],
  ])('of %s leaves the estimate, and the next price may count', async (amount, verdict) => {
    const appId = await freshApp()
    const ref = await accepted(appId)
    await charged(ref, amount)
    expect(await spendingOf(appId)).toEqual(['0.3 + 0 USD'])
    expect(await verdictsOf(ref)).toEqual([`${amount} USD ${verdict}`])
    await charged(ref, '3')
    expect(await spendingOf(appId)).toEqual(['3 + 0 USD'])
  })

  test('whose answer names a price far above the estimate raises an alert that names the account', async () => {
    const appId = await freshApp()
    const ref = await paid(await opened(appId), { provider: 'sandbox-b' })
    const cost = { amount: '5', currency: 'USD' }
    await recordAnswer(rig.requests.db, ref, { state: 'accepted', providerMessageId: 'm', cost })
    expect(await spendingOf(appId)).toEqual(['0.05 + 0 USD'])
    const [alert, ...more] = (await openAlerts(rig.requests.db, ['price'])).filter(
      ({ subject }) => subject === 'sandbox-b',
    )
    expect(more).toEqual([])
    expect(alert).toMatchObject({
      ...{ appId: null, severity: 'warning' },
      detail: { provider: 'sandbox-b', channel: 'sms', price: '5', estimate: '0.05' },
    })
    // A report does not queue for the alert of the one before.
    await charged(await accepted(appId, { provider: 'sandbox-b' }), '6', { provider: 'sandbox-b' })
    expect((await findAlert(rig.requests.db, alert?.id ?? ''))?.count).toBe(1)
    await judgeAlerts(rig.requests.db, { accounts: [], sla: usualSla }, hoursFromNow(2))
    expect((await findAlert(rig.requests.db, alert?.id ?? ''))?.resolvedAt).not.toBeNull()
  })
})
