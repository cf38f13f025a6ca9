import { afterAll, beforeAll } from '@jest/globals'
import { type Step, stepDefaults } from '../../core/requests/plan'
import { recordAnswer } from '../../db/delivery/attempts'
import { claimAttempt, type NewClaim } from '../../db/delivery/claim'
import { newClaim, requestsOnly } from './requests'
import type { sendInput } from './seed'

/** Live requests, and claims by accounts that reach people, without Temporal; import it once at the top of a test file. */
export const rig = {} as { requests: Awaited<ReturnType<typeof requestsOnly>> }
beforeAll(async () => {
  rig.requests = await requestsOnly()
})
afterAll(() => rig.requests.close())

export const stepOf = (channel: Step['channel'], given: Partial<Step> = {}): Step => ({
  ...{ channel, providers: ['one', 'two'], ...stepDefaults[channel], ...given },
})
export const plan = [stepOf('sms'), stepOf('voice')]

export type Given = NonNullable<Parameters<typeof sendInput>[0]>
/** A live request, by accounts that reach people. */
export const openLive = async (given: Given = {}) =>
  (await rig.requests.open({ environment: 'production', plan, ...given })).requestId

export const claim = (requestId: string, given: Partial<NewClaim> = {}) =>
  claimAttempt(
    rig.requests.db,
    newClaim(requestId, { provider: 'one', isTestAccount: false, isMessage: true, ...given }),
  )
export const verdictOf = async (...given: Parameters<typeof claim>) =>
  (await claim(...given)).verdict
export async function claimed(...given: Parameters<typeof claim>) {
  const made = await claim(...given)
  if (made.verdict !== 'claimed') throw new Error(made.verdict)
  return { requestId: given[0], attemptId: made.attemptId, runId: 'run' }
}
export const refusal = { state: 'refused', fault: 'unavailable' } as const
export const acceptance = { state: 'accepted', providerMessageId: null } as const
export const answer = (
  ref: Awaited<ReturnType<typeof claimed>>,
  given: Parameters<typeof recordAnswer>[2],
) => recordAnswer(rig.requests.db, ref, given)
