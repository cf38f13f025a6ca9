import { and, eq, type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { makeApiKey } from '../../codes/api-key'
import { defaultRequestsPerMinute } from '../../core/limits'
import { type Environment, environments } from '../../core/requests/state'
import type { App } from './apps'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '../index'
import { ofServedApps, type Place } from '../requests/region'
import { apiKeys } from '../schema/apps'
import { type Named, NoRow, query, statement } from '../statement'

/** A key as the check of calls needs it. */
export interface ApiKey {
  id: string
  digest: Buffer
  environment: Environment
  scopes: string[]
  publishable: boolean
  requestsPerMinute: number
  /** Neither expired nor revoked, by the database's clock. */
  usable: boolean
  /** Null: an operator's key, which administers every app. */
  app: App | null
}

const KeyRow = z.strictObject({
  id: z.string(),
  /** Null: an operator's key. */
  appId: z.string().nullable(),
  name: z.string(),
  environment: z.enum(environments),
  scopes: z.array(z.string()),
  publishable: z.boolean(),
  requestsPerMinute: z.int(),
  /** The key that this one was made to replace. */
  replaces: z.string().nullable(),
  state: z.enum(['active', 'expired', 'revoked']),
  createdAt: z.date(),
  expiresAt: z.date().nullable(),
  revokedAt: z.date().nullable(),
  /** At most a minute behind. */
  lastUsedAt: z.date().nullable(),
})

/** A key as its administrators see it; nothing in it opens anything. */
export type ApiKeyView = z.infer<typeof KeyRow>

export interface NewKey {
  appId: string | null
  environment: Environment
  scopes: string[]
  name?: string | undefined
  publishable?: boolean | undefined
  requestsPerMinute?: number | undefined
  /** At most one of the two; neither: the key does not expire. */
  expiresAt?: Date | undefined
  expiresInSeconds?: number | undefined
}

/** A key as made: the clear key is in this one answer and nowhere else. */
export interface MadeKey extends ApiKeyView {
  key: string
}

const isLive = sql`(k.revoked_at is null and (k.expires_at is null or k.expires_at > now()))`

const stateOfKey = sql`case when k.revoked_at is not null then 'revoked'
  when ${isLive} then 'active' else 'expired' end`

const view = sql`k.id, k.app_id as "appId", k.name, k.environment, k.scopes, k.publishable,
  k.requests_per_minute as "requestsPerMinute", k.replaces, k.created_at as "createdAt",
  k.expires_at as "expiresAt", k.revoked_at as "revokedAt", k.last_used_at as "lastUsedAt",
  ${stateOfKey} as state`

interface NewRow {
  id: string
  appId: string | null
  name: string
  digest: Buffer
  environment: Environment
  scopes: readonly string[]
  publishable: boolean
  requestsPerMinute: number
  /** At most one of the two; neither: the key does not expire. */
  expiresAt: Date | null
  expiresInSeconds: number | null
}

const createStatement = statement(
  'create_api_key',
  KeyRow,
  (p: Named<NewRow>) => sql`
      insert into api_keys as k (id, app_id, name, digest, environment, scopes, publishable,
        requests_per_minute, expires_at)
      values (${p.id}, ${p.appId}, ${p.name}, ${p.digest}, ${p.environment}, ${p.scopes}::text[], ${p.publishable},
        ${p.requestsPerMinute}, coalesce(${p.expiresAt}::timestamptz, now() + make_interval(secs => ${p.expiresInSeconds})))
      returning ${view}`,
)

/**
 * Makes and stores a key of an app, or without an app an operator's.
 * @param actor who does it, for the audit trail: `key:<id>` or `cli`
 */
export function createApiKey(db: Database, wanted: NewKey, actor = 'cli'): Promise<MadeKey> {
  const { appId, environment, scopes, name = '', publishable = false } = wanted
  const { key, id, digest } = makeApiKey({ appId, environment })
  return db.transaction(async (tx) => {
    const made = await tx.one(
      createStatement({
        ...{ id, appId, name, digest, environment, scopes, publishable },
        requestsPerMinute: wanted.requestsPerMinute ?? defaultRequestsPerMinute,
        expiresAt: wanted.expiresAt ?? null,
        expiresInSeconds: wanted.expiresInSeconds ?? null,
      }),
    )
    if (!made) throw new Error('A key was inserted, and no row came back.')
    const detail = { key_id: id, environment, scopes: scopes.join(' '), publishable }
    await tx.many(auditAdmin({ appId, type: 'key_created', actor, detail }))
    return { ...made, key }
  })
}

const findStatement = statement(
  'find_api_key',
  z.strictObject({
    id: z.string(),
    digest: z.instanceof(Buffer),
    environment: z.enum(environments),
    scopes: z.array(z.string()),
    publishable: z.boolean(),
    requestsPerMinute: z.int(),
    usable: z.boolean(),
    app: z.custom<App | null>(),
  }),
  (p: Named<{ id: string }>) => sql`
    select k.id, k.digest, k.environment, k.scopes, k.publishable,
      k.requests_per_minute as "requestsPerMinute", ${isLive} as usable,
      case when a.id is not null then jsonb_build_object('id', a.id, 'name', a.name, 'brand', a.brand,
        'defaultCountry', a.default_country, 'maxExpirySeconds', a.max_expiry_seconds,
        'highRiskExpirySeconds', a.high_risk_expiry_seconds, 'codeLength', a.code_length,
        'codeAlphabet', a.code_alphabet, 'queueWhenDown', a.queue_when_down,
        'consentRequired', a.consent_required, 'lengthenUnderGuessing', a.lengthen_under_guessing,
        'region', a.region, 'autofillDomain', a.autofill_domain, 'androidAppHash', a.android_app_hash,
        'pageChannels', a.page_channels) end as app
    from api_keys k left join apps a on a.id = k.app_id where k.id = ${p.id}`,
)

/** Looks a key up by its public id; the caller compares the digest. */
export const findApiKey = (db: Queries, id: string): Promise<ApiKey | undefined> =>
  db.one(findStatement({ id }))

const touchStatement = statement(
  'touch_api_key',
  NoRow,
  (p: Named<{ id: string }>) => sql`
  update api_keys set last_used_at = now()
  where id = ${p.id} and (last_used_at is null or last_used_at < now() - interval '1 minute')`,
)

/** Notes that a key was used, at most once a minute. */
export async function touchApiKey(db: Queries, id: string): Promise<void> {
  await db.many(touchStatement({ id }))
}

const raiseStatement = query(
  'raise_quota',
  (p: Named<{ id: string; requestsPerMinute: number }>, qb) =>
    qb
      .update(apiKeys)
      .set({ requestsPerMinute: p.requestsPerMinute })
      .where(and(eq(apiKeys.id, p.id), eq(apiKeys.requestsPerMinute, defaultRequestsPerMinute))),
)

/** Gives a key that has the default number of calls a minute another one; a number that somebody chose stays. */
export async function raiseQuota(
  db: Queries,
  id: string,
  requestsPerMinute: number,
): Promise<void> {
  await db.many(raiseStatement({ id, requestsPerMinute }))
}

/** Whose keys a caller administers. */
export interface KeyReach {
  /** Undefined: those of every app, and the operators'. */
  appId?: string | undefined
}

/** A key within somebody's reach, for a statement; of any app where the app is null. */
interface Reached {
  id: string
  appId: string | null
}
const reached = (id: string, { appId }: KeyReach): Reached => ({ id, appId: appId ?? null })
const isReached = (p: Named<Reached>): SQL =>
  sql`k.id = ${p.id} and (${p.appId}::text is null or k.app_id = ${p.appId})`

const viewStatement = statement(
  'view_api_key',
  KeyRow,
  (p: Named<Reached>) => sql`select ${view} from api_keys k where ${isReached(p)}`,
)

export const findKeyView = (
  db: Queries,
  id: string,
  reach: KeyReach = {},
): Promise<ApiKeyView | undefined> => db.one(viewStatement(reached(id, reach)))

/** Keys, newest first, after the one named. Unnamed: each set of filters is to have a plan of its own. */
export const listKeys = (
  db: Queries,
  {
    appId,
    servedBy,
    state,
    after,
    limit,
  }: KeyReach & {
    /** Without an app: the keys of operators, and of the apps that this process serves. */
    servedBy?: Place | undefined
    state?: ApiKeyView['state'] | undefined
    after?: string | undefined
    limit: number
  },
): Promise<ApiKeyView[]> =>
  db.many<ApiKeyView>(sql`select ${view} from api_keys k
    where ${appId === undefined ? sql`true` : sql`k.app_id = ${appId}`} ${servedBy ? sql`and ${ofServedApps(sql`k`, servedBy.region)}` : sql``}
      ${state === undefined ? sql`` : sql`and ${stateOfKey} = ${state}`}
      ${
        after === undefined
          ? sql``
          : sql`and (k.created_at, k.id) < (select created_at, id from api_keys where id = ${after})`
      }
    order by k.created_at desc, k.id desc limit ${limit}`)

export type Rotation = MadeKey | 'not_found' | 'not_live' | 'too_many'

const holdStatement = statement(
  'hold_api_key',
  z.strictObject({ appId: z.string().nullable(), environment: z.enum(environments) }),
  (p: Named<Reached>) => sql`
      select k.app_id as "appId", k.environment from api_keys k where ${isReached(p)} for update`,
)

const rotateStatement = statement(
  'rotate_api_key',
  KeyRow,
  (p: Named<{ id: string; freshId: string; digest: Buffer; overlapSeconds: number }>) => sql`
      with recursive old as (
        select k.* from api_keys k where k.id = ${p.id} and ${isLive} and not exists (
          select from api_keys k where ${isLive}
            and (k.replaces = ${p.id} or k.id = (select replaces from api_keys where id = ${p.id})))
      ), line as (
        select k.id, k.created_at, k.expires_at from api_keys k where k.id = ${p.id}
        union all select k.id, k.created_at, k.expires_at from api_keys k join line on k.replaces = line.id
      ), last as (
        -- A rotation shortens the life of the key that it replaces, and leaves that of the last of a line as it was made.
        select expires_at - created_at as life from line
        where not exists (select from api_keys k where k.replaces = line.id) limit 1
      ), ending as (
        update api_keys k set expires_at =
          least(k.expires_at, now() + make_interval(secs => ${p.overlapSeconds}))
        from old where k.id = old.id
      )
      insert into api_keys as k (id, app_id, name, digest, environment, scopes, publishable,
        requests_per_minute, replaces, expires_at)
      select ${p.freshId}, app_id, name, ${p.digest}::bytea, environment, scopes, publishable,
        requests_per_minute, id, now() + life from old, last
      returning ${view}`,
)

/**
 * Makes a key with the same rights and the same length of life; the old one goes on for `overlapSeconds`, or until
 * its own expiry. Refused for a key that is over, or while the key it replaced, or one that replaces it, is live:
 * so at most two keys of a line ever are.
 */
export function rotateKey(
  db: Database,
  id: string,
  {
    overlapSeconds,
    actor = 'cli',
    ...reach
  }: KeyReach & { overlapSeconds: number; actor?: string },
): Promise<Rotation> {
  return db.transaction(async (tx) => {
    // The lock first, in a statement of its own: the next one then sees what a rotation before it has committed.
    const old = await tx.one(holdStatement(reached(id, reach)))
    if (!old) return 'not_found'
    const fresh = makeApiKey(old)
    const made = await tx.one(
      rotateStatement({ id, freshId: fresh.id, digest: fresh.digest, overlapSeconds }),
    )
    if (!made) {
      const known = await findKeyView(tx, id)
      return known?.state === 'active' ? 'too_many' : 'not_live'
    }
    const detail = { key_id: fresh.id, replaces: id, overlap_seconds: overlapSeconds }
    await tx.many(auditAdmin({ appId: old.appId, type: 'key_rotated', actor, detail }))
    return { ...made, key: fresh.key }
  })
}

const revokeStatement = statement(
  'revoke_api_key',
  KeyRow,
  (p: Named<Reached>) => sql`
      update api_keys k set revoked_at = now() where ${isReached(p)} and k.revoked_at is null returning ${view}`,
)

/**
 * Ends a key for good; processes that know it go on for two seconds at most. Ending it again changes nothing.
 * @returns undefined when there is no such key within reach
 */
export function revokeKey(
  db: Database,
  id: string,
  { actor = 'cli', ...reach }: KeyReach & { actor?: string } = {},
): Promise<ApiKeyView | undefined> {
  return db.transaction(async (tx) => {
    const revoked = await tx.one(revokeStatement(reached(id, reach)))
    if (!revoked) return findKeyView(tx, id, reach)
    const detail = { key_id: id }
    await tx.many(auditAdmin({ appId: revoked.appId, type: 'key_revoked', actor, detail }))
    return revoked
  })
}
