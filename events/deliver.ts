import { Webhook } from 'standardwebhooks'
import type { Dispatcher } from 'undici'
import type { Keyring } from '../codes/keyring'
import { signatureHeaders } from '../codes/standard-webhook'
import type { DeliveryState } from '../core/events/event'
import type { Database } from '../db'
import { giveBack, type TakenDelivery } from '../db/events/taking'
import { putOff, recordTry } from '../db/events/tries'
import type { Reach } from './address'
import { bodyOf, secretsOf } from './payload'
import { isGone, isReceived, post, type Post } from './post'

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
 * @throws what Postgres throws: the delivery is due again after {@link claimSeconds}; or {UnknownKey}, and what else keeps
 * it from being opened: it is due again in a minute
 */
export async function deliver(
  { db, keyring, dispatcher, reach }: DeliverDeps,
  taken: TakenDelivery,
  { last, stopping }: { last: boolean; stopping?: AbortSignal },
): Promise<DeliveryState | undefined> {
  const letter = await letterOf({ db, keyring }, taken)
  const result = await post({ dispatcher, reach }, letter, stopping)
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

/** What is posted. One that cannot be opened holds nobody up meanwhile. */
async function letterOf(
  { db, keyring }: Pick<DeliverDeps, 'db' | 'keyring'>,
  taken: TakenDelivery,
): Promise<Post> {
  try {
    const body = bodyOf(keyring, taken)
    const webhooks = secretsOf(keyring, taken).map((secret) => new Webhook(secret))
    return {
      url: taken.url,
      headers: signatureHeaders(webhooks, { id: taken.eventId, body }),
      body,
    }
  } catch (error) {
    await putOff(db, taken, 'not_opened')
    throw error
  }
}
