import { afterAll, beforeAll } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { RequestMoney } from '../../core/abuse/money'
import { createApp } from '../../db/apps/apps'
import { claimAttempt } from '../../db/attempts/attempts'
import { requestsOnly } from './requests'

/** Requests that cost money, without Temporal; import it once at the top of a test file. */
export const rig = {} as { requests: Awaited<ReturnType<typeof requestsOnly>> }
beforeAll(async () => {
  rig.requests = await requestsOnly()
})
afterAll(() => rig.requests.close())

let lastApp = 0
/** An app of its own, so that no other test spends its money. */
export async function freshApp() {
  const appId = `payer-${++lastApp}`
  await createApp(rig.requests.db, { id: appId, name: appId })
  return appId
}

export const moneyOf = (given: Partial<RequestMoney> = {}): RequestMoney => ({
  currency: 'USD',
  prices: { sms: { '*': '0.30', 'sandbox-b': '0.05' }, voice: { '*': '0.50' } },
  ...given,
})

export const claimOf = (
  requestId: string,
  given: Partial<Parameters<typeof claimAttempt>[1]> = {},
) =>
  claimAttempt(rig.requests.db, {
    requestId,
    ...{ sendNo: 1, firstSendNo: 1, step: 0, tryNo: 1, runId: 'run', success: 'delivered' },
    ...{ channel: 'sms', provider: 'sandbox-a' },
    callbackDigest: Buffer.from(`${requestId}${Math.random()}`),
    ...given,
  })

/** A claim that was paid for. */
export async function paid(...given: Parameters<typeof claimOf>) {
  const claim = await claimOf(...given)
  if (!claim || claim === 'unaffordable') throw new Error(`not claimed: ${claim}`)
  return { requestId: given[0], attemptId: claim.attemptId, runId: 'run' }
}

/** What an app has spent today, and what it holds for calls under way. */
export async function spendingOf(appId: string) {
  const rows = await rig.requests.db.many<{
    spent: string
    reserved: string
    currency: string
  }>(sql`
    select sum_of(spent) as spent, sum_of(reserved) as reserved, currency from spending
    where app_id = ${appId} order by live, currency`)
  return rows.map(
    ({ spent, reserved, currency }) => `${Number(spent)} + ${Number(reserved)} ${currency}`,
  )
}

export const opened = async (appId: string, money: RequestMoney | undefined = moneyOf()) =>
  (await rig.requests.open({ appId, money })).requestId
