import { Context } from '@temporalio/activity'
import { ApplicationFailure, ApplicationFailureCategory } from '@temporalio/common'
import { UnknownKey } from '../codes/keyring'
import type { SendOrder, SendResult } from '../core/requests/otp-request'
import { listDigests } from '../db/protection/lists'
import { type findOwnAttempt, isElsewhere } from '../db/delivery/attempts'
import type { Claim, ClaimOutcome } from '../db/delivery/claim'
import { openAddress } from '../db/recipients/recipients'
import { dialStringOf } from '../providers/dial-strings'
import type { ProviderAccount } from '../providers/provider'
import type { ActivityDeps } from './deps'

/** Until a send that belongs to another region is offered again, to whichever worker is free then. */
const elsewhereRetryMs = 200
const longestElsewhereRetryMs = 4_000
/** None where the address cannot be opened: then no message can be made for it either. */
export function digestsOf(
  { keyring }: ActivityDeps,
  {
    heedsLists,
    ciphertext,
    own: _,
    ...known
  }: NonNullable<Awaited<ReturnType<typeof findOwnAttempt>>>,
): Buffer[] {
  if (!heedsLists || !ciphertext) return []
  try {
    return listDigests(keyring, { ...known, value: openAddress(keyring, { ...known, ciphertext }) })
  } catch (error) {
    if (error instanceof UnknownKey) return []
    throw error
  }
}

/** The code waits on a screen until somebody dials for it: nothing is sent. */
export const isDialledFor = ({ channel }: SendOrder, account: ProviderAccount): boolean =>
  channel === 'ussd' && dialStringOf(account) !== undefined

/**
 * What a run is told of a call that was not claimed.
 * @throws `elsewhere` for a request that is served in another region
 */
export async function notClaimed(
  { db, region, log }: ActivityDeps,
  order: SendOrder,
  claim: Exclude<ClaimOutcome, Claim>,
): Promise<SendResult> {
  const nothing = { attempt: 0, ageMs: null }
  const { requestId, channel, provider } = order
  switch (claim.verdict) {
    case 'over':
      if (await isElsewhere(db, { requestId, region })) throw elsewhere()
      return { ...nothing, outcome: 'ended' }
    case 'served': {
      const { number: attempt, ageMs, heldBy, isAccepted } = claim
      const outcome = isAccepted ? 'accepted' : 'in_doubt'
      return { attempt, ageMs, provider: heldBy, outcome }
    }
    case 'unaffordable':
      return { ...nothing, outcome: 'refused', fault: 'unaffordable' }
    case 'not_planned':
      log.warn({ requestId, channel, provider }, 'a run asked for a message that is not planned')
      return { ...nothing, outcome: 'skipped', reason: 'not_planned' }
    default:
      return { ...nothing, outcome: 'skipped', reason: claim.verdict }
  }
}

/** Given back at once, for a worker of the app's own region to take; ever slower while there seems to be none. */
const elsewhere = () =>
  ApplicationFailure.create({
    type: 'elsewhere',
    message: 'the app of this request is served in another region',
    category: ApplicationFailureCategory.BENIGN,
    nextRetryDelay: Math.min(
      elsewhereRetryMs * 2 ** (Context.current().info.attempt - 1),
      longestElsewhereRetryMs,
    ),
  })
