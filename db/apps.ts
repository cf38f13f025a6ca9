import { sql } from 'drizzle-orm'
import { makeApiKey } from '../codes/api-key'
import type { Alphabet } from '../core/alphabet'
import type { Environment } from '../core/state'
import type { Queries } from './index'

/** A tenant, as far as a call needs it. */
export interface App {
  id: string
  name: string
  brand: string
  defaultCountry: string | null
  maxExpirySeconds: number
  codeLength: number
  queueWhenDown: boolean
  highRiskExpirySeconds: number
  codeAlphabet: Alphabet
  consentRequired: boolean
  lengthenUnderGuessing: boolean
  /** Only processes of this region serve the app; null: any. */
  region: string | null
}

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

/** Adds an app, or leaves the one with this id as it is. */
export async function createApp(
  db: Queries,
  app: { id: string; name: string; brand?: string; defaultCountry?: string },
): Promise<void> {
  await db.many(sql`insert into apps (id, name, brand, default_country)
    values (${app.id}, ${app.name}, ${app.brand ?? app.name}, ${app.defaultCountry ?? null})
    on conflict (id) do nothing`)
}

/** Makes and stores a key; the clear key is returned here and nowhere else. */
export async function createApiKey(
  db: Queries,
  options: {
    appId: string | null
    environment: Environment
    scopes: string[]
    publishable?: boolean
  },
): Promise<{ key: string }> {
  const { key, id, digest } = makeApiKey(options.environment)
  await db.many(sql`insert into api_keys (id, app_id, digest, environment, scopes, publishable)
    values (${id}, ${options.appId}, ${digest}, ${options.environment},
      ${sql.param(options.scopes)}, ${options.publishable ?? false})`)
  return { key }
}

/** Looks a key up by its public id; the caller compares the digest. */
export function findApiKey(db: Queries, id: string): Promise<ApiKey | undefined> {
  return db.one<ApiKey>(sql`
    select k.id, k.digest, k.environment, k.scopes, k.publishable, k.requests_per_minute as "requestsPerMinute",
      k.revoked_at is null and (k.expires_at is null or k.expires_at > now()) as usable,
      case when a.id is not null then jsonb_build_object('id', a.id, 'name', a.name, 'brand', a.brand,
        'defaultCountry', a.default_country, 'maxExpirySeconds', a.max_expiry_seconds,
        'highRiskExpirySeconds', a.high_risk_expiry_seconds, 'codeLength', a.code_length,
        'codeAlphabet', a.code_alphabet, 'queueWhenDown', a.queue_when_down,
        'consentRequired', a.consent_required, 'lengthenUnderGuessing', a.lengthen_under_guessing,
        'region', a.region) end as app
    from api_keys k left join apps a on a.id = k.app_id where k.id = ${id}`)
}

/** Notes that a key was used, at most once a minute. */
export async function touchApiKey(db: Queries, id: string): Promise<void> {
  await db.many(sql`update api_keys set last_used_at = now()
    where id = ${id} and (last_used_at is null or last_used_at < now() - interval '1 minute')`)
}

/** Whether sends of an app are accepted as `queued` while Temporal is down. */
export async function setQueueWhenDown(db: Queries, appId: string, on: boolean): Promise<boolean> {
  const row = await db.one(
    sql`update apps set queue_when_down = ${on} where id = ${appId} returning id`,
  )
  return row !== undefined
}
