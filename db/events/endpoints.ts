import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { seal, type Sealed, sealedIn } from '../../codes/seal'
import {
  type ChosenEventType,
  chosenEventTypes,
  type DisabledReason,
} from '../../core/events/event'
import { type Environment, environments } from '../../core/requests/state'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '..'
import { type Bound, IdRow, type Named, statement } from '../statement'

/** Every event of an app is written once for each of its endpoints. */
export const maxEndpoints = 20

/** The old secret signs beside a new one for this long. */
const rotationHours = 24

const EndpointRow = z.strictObject({
  id: z.string(),
  appId: z.string(),
  environment: z.enum(environments),
  url: z.string(),
  description: z.string(),
  /** Null: all of them. */
  types: z.array(z.enum(chosenEventTypes)).nullable(),
  disabledReason: z.custom<DisabledReason>().nullable(),
  failingSince: z.date().nullable(),
  createdAt: z.date(),
})
export type EventEndpoint = z.infer<typeof EndpointRow>

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

type NewEndpoint = Pick<
  EventEndpoint,
  'id' | 'appId' | 'environment' | 'url' | 'description' | 'types'
>

const addStatement = statement(
  'add_endpoint',
  EndpointRow,
  (p: Named<NewEndpoint & Sealed>) => sql`
      insert into event_endpoints (id, app_id, environment, url, description, types, secret_ciphertext, secret_kid)
      select ${p.id}, ${p.appId}, ${p.environment}::key_environment, ${p.url}, ${p.description},
        ${p.types}::text[]::event_type[], ${p.ciphertext}::bytea, ${p.kid}
      where (select count(*) from event_endpoints where app_id = ${p.appId}
        and environment = ${p.environment}::key_environment and deleted_at is null) < ${maxEndpoints}
      returning ${columns}`,
)

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
    tx.one(addStatement({ id, appId, environment, url, description, types, ciphertext, kid })),
  )
}

const findStatement = statement(
  'find_endpoint',
  EndpointRow,
  (p: Named<{ id: string }>) => sql`
  select ${columns} from event_endpoints where id = ${p.id} and deleted_at is null`,
)

/** Not one that was deleted. */
export const findEndpoint = (db: Queries, id: string): Promise<EventEndpoint | undefined> =>
  db.one(findStatement({ id }))

const listStatement = statement(
  'list_endpoints',
  EndpointRow,
  (p: Named<{ appId: string; environment: Environment | null }>) => sql`
    select ${columns} from event_endpoints
    where app_id = ${p.appId} and environment = coalesce(${p.environment}::key_environment, environment)
      and deleted_at is null order by created_at, id`,
)

/** The oldest first. */
export const listEndpoints = (
  db: Queries,
  { appId, environment = null }: { appId: string; environment?: Environment | null | undefined },
): Promise<EventEndpoint[]> => db.many(listStatement({ appId, environment }))

interface ChangeParams {
  id: string
  url: string | null
  description: string | null
  setsTypes: boolean
  types: readonly ChosenEventType[] | null
  enables: boolean
}

/** What is null stays as it is, but for the types, which null says are all. */
const changeStatement = statement(
  'change_endpoint',
  IdRow,
  (p: Named<ChangeParams>) => sql`
    update event_endpoints set url = coalesce(${p.url}, url), description = coalesce(${p.description}, description),
      types = case when ${p.setsTypes}::boolean then ${p.types}::text[]::event_type[] else types end,
      disabled_at = case when ${p.enables}::boolean then null else disabled_at end,
      disabled_reason = case when ${p.enables}::boolean then null else disabled_reason end,
      failing_since = case when ${p.enables}::boolean then null else failing_since end
    where id = ${p.id} and deleted_at is null returning id`,
)

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
  const fields = Object.keys(changes).filter(
    (name) => changes[name as keyof typeof changes] !== undefined,
  )
  const detail = { endpoint_id: id, changed: fields.join(' ') }
  return audited(db, { appId, type: 'endpoint_changed' }, { actor, detail }, async (tx) => {
    await tx.many(
      changeStatement({
        ...{ id, url: url ?? null, description: description ?? null },
        ...{ setsTypes: types !== undefined, types: types ?? null, enables: disabled === false },
      }),
    )
    if (disabled === true) await stopSending(tx, disableStatement({ id, reason: 'requested' }))
    return findEndpoint(tx, id)
  })
}

const disabledBy = (p: Named<{ reason: DisabledReason }>) =>
  sql`disabled_at = coalesce(disabled_at, now()), disabled_reason = coalesce(disabled_reason, ${p.reason})`

const disableStatement = statement(
  'disable_endpoint',
  IdRow,
  (p: Named<{ id: string; reason: DisabledReason }>) => sql`
    update event_endpoints set ${disabledBy(p)} where id = ${p.id} and deleted_at is null returning id`,
)

const disableOnceStatement = statement(
  'disable_enabled_endpoint',
  IdRow,
  (p: Named<{ id: string; reason: DisabledReason }>) => sql`
    update event_endpoints set ${disabledBy(p)}
    where id = ${p.id} and deleted_at is null and disabled_at is null returning id`,
)

const deleteStatement = statement(
  'delete_endpoint',
  IdRow,
  (p: Named<{ id: string } & Sealed>) => sql`
    update event_endpoints set deleted_at = now(), url = '', secret_ciphertext = ${p.ciphertext}, secret_kid = ${p.kid},
      previous_secret_ciphertext = null, previous_secret_kid = null, previous_secret_until = null
    where id = ${p.id} and deleted_at is null returning id`,
)

/**
 * Changes an endpoint so that nothing is sent to it. What is under way to it is given up in batches later: there may be
 * more than one statement can change in its time.
 * @returns false when it was deleted
 */
const stopSending = async (tx: Queries, change: Bound<z.infer<typeof IdRow>>): Promise<boolean> =>
  (await tx.one(change)) !== undefined

/** Sends nothing more to an endpoint that is gone or that has failed for days; written down once. */
export async function disableEndpoint(
  db: Database,
  { id, appId }: Pick<EventEndpoint, 'id' | 'appId'>,
  reason: DisabledReason,
): Promise<void> {
  const given = { actor: 'worker', detail: { endpoint_id: id, disabled: reason } }
  await audited(db, { appId, type: 'endpoint_changed' }, given, (tx) =>
    tx.one(disableOnceStatement({ id, reason })),
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
  const done = await audited(
    db,
    { appId, type: 'endpoint_deleted' },
    { actor, detail },
    async (tx) =>
      (await stopSending(tx, deleteStatement({ id, ciphertext, kid }))) ? true : undefined,
  )
  return done === true
}

const rotateStatement = statement(
  'rotate_endpoint_secret',
  z.strictObject({ until: z.date() }),
  (p: Named<{ id: string } & Sealed>) => sql`
      update event_endpoints set secret_ciphertext = ${p.ciphertext}, secret_kid = ${p.kid},
        previous_secret_ciphertext = secret_ciphertext, previous_secret_kid = secret_kid,
        previous_secret_until = now() + make_interval(hours => ${rotationHours})
      where id = ${p.id} and deleted_at is null returning previous_secret_until as until`,
)

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
    tx.one(rotateStatement({ id, ciphertext, kid })),
  )
  return row?.until
}
