import { sql } from 'drizzle-orm'
import type { Keyring } from '../codes/keyring'
import { idempotencyMac } from '../codes/seal'
import type { Queries } from './index'
import type { Owner } from './owner'

export interface IdempotencyKey {
  key: string
  /** The raw body: another one under the same key is refused. */
  body: Buffer
}

/** An older key is free again. */
export const keptFor = sql`interval '24 hours'`

/**
 * Claims a key for a request, waiting for a concurrent equal send to commit.
 * @returns undefined when the key was free, else the request it belongs to.
 */
export async function claimIdempotencyKey(
  db: Queries,
  keyring: Keyring,
  { requestId, key, body, ...owner }: IdempotencyKey & Owner & { requestId: string },
): Promise<{ requestId: string; outcome: string; sameBody: boolean } | undefined> {
  const keyMac = idempotencyMac(keyring, owner, 'key', Buffer.from(key))
  const bodyMac = idempotencyMac(keyring, owner, 'body', body)
  const claimed = await db.one(sql`
    insert into idempotency_keys as k (app_id, key_mac, body_mac, request_id, outcome)
    values (${owner.appId}, ${keyMac}, ${bodyMac}, ${requestId}, 'sent')
    on conflict (app_id, key_mac) do update
      set body_mac = excluded.body_mac, request_id = excluded.request_id, outcome = excluded.outcome, created_at = now()
      where k.created_at < now() - ${keptFor}
    returning request_id`)
  if (claimed) return undefined
  return db.one<{ requestId: string; outcome: string; sameBody: boolean }>(sql`
    select request_id as "requestId", outcome, body_mac = ${bodyMac} as "sameBody"
    from idempotency_keys where app_id = ${owner.appId} and key_mac = ${keyMac}`)
}

/** Points a claimed key at the live request that the send turned out to repeat. */
export async function moveIdempotencyKey(db: Queries, from: string, to: string): Promise<void> {
  await db.many(sql`update idempotency_keys set request_id = ${to} where request_id = ${from}`)
}
