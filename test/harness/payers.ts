import { afterAll, beforeAll } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { RequestMoney } from '../../core/spending/money'
import { createApp } from '../../db/apps/apps'
import { claimAttempt, type NewClaim } from '../../db/delivery/claim'
import { newClaim, requestsOnly } from './requests'
import { withinOne } from './windows'

/** Requests that cost money, without Temporal; import it once at the top of a test file. */
export const rig = {} as { requests: Awaited<ReturnType<typeof requestsOnly>> }
beforeAll(async () => {
  rig.requests = await requestsOnly()
})
afterAll(() => rig.requests.close())
withinOne('hour', 20, () => rig.requests.db)

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

export const claimOf = (requestId: string, given: Partial<NewClaim> = {}) =>
  claimAttempt(rig.requests.db, newClaim(requestId, given))

/** A claim that was paid for. */
export async function paid(...given: Parameters<typeof claimOf>) {
  const claim = await claimOf(...given)
  if (claim.verdict !== 'claimed') throw new Error(`not claimed: ${claim.verdict}`)
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
