import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { idempotencyMacs } from '../../codes/seal'
import { holdDigests } from '../hold'
import { isLockTimeout, type Queries } from '../index'
import { type Named, NoRow, statement } from '../statement'
import type { Owner } from './owner'

export interface IdempotencyKey {
  key: string
  /** The raw body: another one under the same key is refused. */
  body: Buffer
}

/** An older key is free again. */
export const keptFor = sql`interval '24 hours'`
const isFree = sql`created_at < now() - ${keptFor}`

const PriorRow = z.strictObject({
  requestId: z.string(),
  outcome: z.string(),
  sameBody: z.boolean(),
})

interface KeyParams {
  appId: string
  keyMacs: Buffer[]
}

const isInUse = (p: Named<KeyParams>): SQL =>
  sql`app_id = ${p.appId} and key_mac = any(${p.keyMacs}::bytea[]) and not ${isFree}`

const priorStatement = statement(
  'find_prior_send',
  PriorRow,
  (p: Named<KeyParams & { bodyMacs: Buffer[] }>) => sql`
  select request_id as "requestId", outcome, body_mac = any(${p.bodyMacs}::bytea[]) as "sameBody"
  from idempotency_keys where ${isInUse(p)}`,
)

const ClaimedRow = z.strictObject({ requestId: z.string() })

interface ClaimedKey {
  appId: string
  keyMac: Buffer | undefined
  bodyMac: Buffer | undefined
  requestId: string
}

const claimStatement = statement(
  'claim_idempotency_key',
  ClaimedRow,
  (p: Named<ClaimedKey>) => sql`
  insert into idempotency_keys as k (app_id, key_mac, body_mac, request_id, outcome)
  values (${p.appId}, ${p.keyMac}, ${p.bodyMac}, ${p.requestId}, 'sent')
  on conflict (app_id, key_mac) do update
    set body_mac = excluded.body_mac, request_id = excluded.request_id, outcome = excluded.outcome, created_at = now()
    where k.${isFree}
  returning request_id as "requestId"`,
)

const inUseStatement = statement(
  'find_idempotency_key',
  ClaimedRow,
  (p: Named<KeyParams>) =>
    sql`select request_id as "requestId" from idempotency_keys where ${isInUse(p)}`,
)

const moveStatement = statement(
  'move_idempotency_key',
  NoRow,
  (p: Named<{ from: string; to: string }>) =>
    sql`update idempotency_keys set request_id = ${p.to} where request_id = ${p.from}`,
)

/**
 * Claims a key for a request, waiting for a concurrent equal send to commit. To be called in a transaction.
 * @returns undefined when the key was free, else the request it belongs to.
 */
export async function claimIdempotencyKey(
  tx: Queries,
  keyring: Keyring,
  { requestId, key, body, ...owner }: IdempotencyKey & Owner & { requestId: string },
): Promise<z.infer<typeof PriorRow> | undefined> {
  const keyMacs = idempotencyMacs(keyring, owner, 'key', Buffer.from(key))
  const bodyMacs = idempotencyMacs(keyring, owner, 'body', body)
  const { appId } = owner
  const findPrior = () => tx.one(priorStatement({ appId, keyMacs, bodyMacs }))
  if (keyMacs.length > 1) {
    // While a key of ours is being replaced, an equal send may be claimed under another one than ours.
    await holdKey(tx, keyMacs)
    const prior = await findPrior()
    if (prior) return prior
  }
  const claimed = await tx.one(
    claimStatement({ appId, keyMac: keyMacs[0], bodyMac: bodyMacs[0], requestId }),
  )
  return claimed ? undefined : findPrior()
}

/** @throws the lock's time-out so that it is told from others: as the row's own, it names the table. */
async function holdKey(tx: Queries, keyMacs: readonly Buffer[]): Promise<void> {
  try {
    await holdDigests(tx, keyMacs)
  } catch (error) {
    throw isLockTimeout(error) ? Object.assign(error, { where: 'idempotency_keys' }) : error
  }
}

/** Whether a key of this owner is in use, without waiting for a send that is just claiming it. */
export async function isKeyInUse(
  db: Queries,
  keyring: Keyring,
  { key, ...owner }: Pick<IdempotencyKey, 'key'> & Owner,
): Promise<boolean> {
  const keyMacs = idempotencyMacs(keyring, owner, 'key', Buffer.from(key))
  return (await db.one(inUseStatement({ appId: owner.appId, keyMacs }))) !== undefined
}

/** Points a claimed key at the live request that the send turned out to repeat. */
export async function moveIdempotencyKey(db: Queries, from: string, to: string): Promise<void> {
  await db.many(moveStatement({ from, to }))
}
