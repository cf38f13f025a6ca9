import { type SQL, sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { seal, sealedIn } from '../../codes/seal'
import type { ChosenEventType, DisabledReason } from '../../core/event'
import type { Environment } from '../../core/state'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '../index'

/** Every event of an app is written once for each of its endpoints. */
export const maxEndpoints = 20

/** The old secret signs beside a new one for this long. */
const rotationHours = 24

export interface EventEndpoint {
  id: string
  appId: string
  environment: Environment
  url: string
  description: string
  /** Null: all of them. */
  types: ChosenEventType[] | null
  disabledReason: DisabledReason | null
  failingSince: Date | null
  createdAt: Date
}

const columns = sql`id, app_id as "appId", environment, url, description, array_to_json(types) as types,
  disabled_reason as "disabledReason", failing_since as "failingSince", created_at as "createdAt"`

/** Ends the transaction without keeping anything of it. */
class Refused extends Error {}

/** Changes an endpoint and writes it down for its app; nothing is kept, nor written down, where `change` finds none. */
async function audited<T>(
  db: Database,
  entry: { appId: string; type: 'endpoint_created' | 'endpoint_changed' | 'endpoint_deleted' },
  { actor, detail }: { actor: string; detail: Record<string, string | boolean> },
  change: (tx: Queries) => Promise<T | undefined>,
): Promise<T | undefined> {
  try {
    return await db.transaction(async (tx) => {
      // First, because it holds the app's chain: endpoints of one app are counted one after the other.
      await tx.many(auditAdmin({ ...entry, actor, detail }))
      const changed = await change(tx)
      if (changed === undefined) throw new Refused()
      return changed
    })
  } catch (error) {
    if (error instanceof Refused) return undefined
    throw error
  }
}

/**
 * Registers where an app wants to be told of events of one environment.
 * @param secret signs them; it is stored encrypted and never shown again.
 * @returns undefined when the app has {@link maxEndpoints} in this environment.
 */
export function addEndpoint(
  db: Database,
  keyring: Keyring,
  endpoint: Pick<EventEndpoint, 'appId' | 'environment' | 'url' | 'description' | 'types'> & {
    secret: string
    actor: string
  },
): Promise<EventEndpoint | undefined> {
  const { appId, environment, url, description, types, secret, actor } = endpoint
  const id = randomId('ep')
  const { ciphertext, kid } = seal(keyring, secret, sealedIn.endpointSecret(appId, id))
  const detail = { endpoint_id: id, environment }
  return audited(db, { appId, type: 'endpoint_created' }, { actor, detail }, (tx) =>
    tx.one<EventEndpoint>(sql`
      insert into event_endpoints (id, app_id, environment, url, description, types, secret_ciphertext, secret_kid)
      select ${id}, ${appId}, ${environment}, ${url}, ${description}, ${typesOf(types)}, ${ciphertext}, ${kid}
      where (select count(*) from event_endpoints where app_id = ${appId} and environment = ${environment}
        and deleted_at is null) < ${maxEndpoints}
      returning ${columns}`),
  )
}

const typesOf = (types: readonly string[] | null): SQL =>
  sql`${sql.param(types)}::text[]::event_type[]`

/** Not one that was deleted. */
export function findEndpoint(db: Queries, id: string): Promise<EventEndpoint | undefined> {
  return db.one<EventEndpoint>(
    sql`select ${columns} from event_endpoints where id = ${id} and deleted_at is null`,
  )
}

/** The oldest first. */
export function listEndpoints(
  db: Queries,
  { appId, environment }: { appId: string; environment?: Environment | undefined },
): Promise<EventEndpoint[]> {
  const same = environment === undefined ? sql`` : sql`and environment = ${environment}`
  return db.many<EventEndpoint>(sql`select ${columns} from event_endpoints
    where app_id = ${appId} ${same} and deleted_at is null order by created_at, id`)
}

type Place = Pick<EventEndpoint, 'id' | 'appId'> & { actor: string }

/** @returns undefined when it was deleted meanwhile */
export function changeEndpoint(
  db: Database,
  { id, appId, actor }: Place,
  changes: {
    url?: string | undefined
    description?: string | undefined
    types?: ChosenEventType[] | null | undefined
    disabled?: boolean | undefined
  },
): Promise<EventEndpoint | undefined> {
  const { url, description, types, disabled } = changes
  const sets = [
    ...(url === undefined ? [] : [sql`url = ${url}`]),
    ...(description === undefined ? [] : [sql`description = ${description}`]),
    ...(types === undefined ? [] : [sql`types = ${typesOf(types)}`]),
    ...(disabled === false
      ? [sql`disabled_at = null, disabled_reason = null, failing_since = null`]
      : []),
  ]
  const fields = Object.keys(changes).filter(
    (name) => changes[name as keyof typeof changes] !== undefined,
  )
  const detail = { endpoint_id: id, changed: fields.join(' ') }
  return audited(db, { appId, type: 'endpoint_changed' }, { actor, detail }, async (tx) => {
    if (sets.length > 0) {
      await tx.many(sql`update event_endpoints set ${sql.join(sets, sql`, `)}
        where id = ${id} and deleted_at is null`)
    }
    if (disabled === true) await stopSending(tx, id, disabledBy('requested'))
    return findEndpoint(tx, id)
  })
}

const disabledBy = (reason: DisabledReason): SQL =>
  sql`disabled_at = coalesce(disabled_at, now()), disabled_reason = coalesce(disabled_reason, ${reason})`

/**
 * Changes an endpoint so that nothing is sent to it. What is under way to it is given up in batches later: there may be
 * more than one statement can change in its time.
 * @returns false when it was deleted
 */
async function stopSending(tx: Queries, id: string, changes: SQL): Promise<boolean> {
  const row = await tx.one(sql`update event_endpoints set ${changes}
    where id = ${id} and deleted_at is null returning id`)
  return row !== undefined
}

/** Sends nothing more to an endpoint that is gone or that has failed for days; written down once. */
export async function disableEndpoint(
  db: Database,
  { id, appId }: Pick<EventEndpoint, 'id' | 'appId'>,
  reason: DisabledReason,
): Promise<void> {
  const given = { actor: 'worker', detail: { endpoint_id: id, disabled: reason } }
  await audited(db, { appId, type: 'endpoint_changed' }, given, (tx) =>
    tx.one(sql`update event_endpoints set ${disabledBy(reason)}
      where id = ${id} and deleted_at is null and disabled_at is null returning id`),
  )
}

/** Its row stays for the log of what was sent; its secret and its address do not. */
export async function deleteEndpoint(
  db: Database,
  keyring: Keyring,
  { id, appId, actor }: Place,
): Promise<boolean> {
  const detail = { endpoint_id: id }
  const { ciphertext, kid } = seal(keyring, '', sealedIn.endpointSecret(appId, id))
  const gone = sql`deleted_at = now(), url = '', secret_ciphertext = ${ciphertext}, secret_kid = ${kid},
    previous_secret_ciphertext = null, previous_secret_kid = null, previous_secret_until = null`
  const done = await audited(
    db,
    { appId, type: 'endpoint_deleted' },
    { actor, detail },
    async (tx) => ((await stopSending(tx, id, gone)) ? true : undefined),
  )
  return done === true
}

/**
 * Gives an endpoint a new secret; the one before signs beside it for a day.
 * @returns until when, or undefined when the endpoint was deleted
 */
export async function rotateSecret(
  db: Database,
  keyring: Keyring,
  { id, appId, actor }: Place,
  secret: string,
): Promise<Date | undefined> {
  const { ciphertext, kid } = seal(keyring, secret, sealedIn.endpointSecret(appId, id))
  const detail = { endpoint_id: id, changed: 'secret' }
  const row = await audited(db, { appId, type: 'endpoint_changed' }, { actor, detail }, (tx) =>
    tx.one<{ until: Date }>(sql`
      update event_endpoints set secret_ciphertext = ${ciphertext}, secret_kid = ${kid},
        previous_secret_ciphertext = secret_ciphertext, previous_secret_kid = secret_kid,
        previous_secret_until = now() + make_interval(hours => ${rotationHours})
      where id = ${id} and deleted_at is null returning previous_secret_until as until`),
  )
  return row?.until
}
