import type { Dispatcher } from 'undici'
import type { Keyring } from '../codes/keyring'
import type { DeliveryState } from '../core/event'
import type { Database } from '../db'
import { giveBack, recordTry, type TakenDelivery } from '../db/events'
import type { Reach } from './address'
import { bodyOf, secretsOf } from './payload'
import { isGone, isReceived, post } from './post'
import { signed } from './signing'

export interface DeliverDeps {
  db: Database
  keyring: Keyring
  dispatcher: Dispatcher
  reach: Reach
  /** Where the process stands; apps of another region are left to a process there. */
  region?: string | undefined
}

/** A call that was claimed is over, one way or the other, before this. */
export const claimSeconds = 30

/**
 * Makes one call for a delivery that was taken, and writes down how it went.
 * @param last no try follows, if this one fails
 * @param stopping gives the call up; it is then not counted
 * @returns undefined when there is nothing more to do here
 * @throws {UnknownKey} or what Postgres throws: the delivery is due again after {@link claimSeconds}
 */
export async function deliver(
  { db, keyring, dispatcher, reach }: DeliverDeps,
  taken: TakenDelivery,
  { last, stopping }: { last: boolean; stopping?: AbortSignal },
): Promise<DeliveryState | undefined> {
  const body = bodyOf(keyring, taken)
  const headers = signed(secretsOf(keyring, taken), { id: taken.eventId, body })
  const result = await post({ dispatcher, reach }, { url: taken.url, headers, body }, stopping)
  if (result.fault === 'stopped') {
    await giveBack(db, taken)
    return undefined
  }
  const { milliseconds, httpStatus, fault } = result
  const made = {
    received: isReceived(result),
    gone: isGone(result),
    milliseconds,
    httpStatus,
    fault,
  }
  return recordTry(db, taken, made, { last })
}
