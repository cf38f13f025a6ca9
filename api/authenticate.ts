import { idOfKey, keyMatches } from '../codes/api-key'
import { type ApiKey, findApiKey, touchApiKey } from '../db/apps'
import type { Queries } from '../db/index'
import { Problem } from './problem'
import type { Scope } from './route'

/** A revoked key stops working this much later, in milliseconds; an equal share of look-ups is saved. */
const cacheMs = 2_000
/** A caller can invent key ids: the cache must not grow with them. */
const cacheSize = 2_000
const noDigest = Buffer.alloc(32)

/** Whom a route is for. */
export interface Wanted {
  scope: Scope
  /** Keys that browsers and mobile apps hold may call it too. */
  publishable?: boolean
}

export type Authenticate = (authorization: string | undefined, wanted: Wanted) => Promise<ApiKey>

/**
 * Makes the check of Bearer keys. Its refusals: 401, or 403 for a genuine key that may not make this call or not here.
 * @param region of this process; an app of another one is refused, so that its data stays where it belongs
 */
export function createAuthenticate(
  db: Queries,
  { region }: { region: string | undefined },
): Authenticate {
  const cache = new Map<string, { found: Promise<ApiKey | undefined>; until: number }>()

  const look = (id: string): Promise<ApiKey | undefined> => {
    const cached = cache.get(id)
    if (cached && cached.until > Date.now()) return cached.found
    if (cache.size >= cacheSize) cache.clear()
    const found = findApiKey(db, id)
    cache.set(id, { found, until: Date.now() + cacheMs })
    found.then(
      (key) => key && touchApiKey(db, id).catch(() => undefined),
      () => cache.delete(id),
    )
    return found
  }

  return async (authorization, wanted) => {
    const [, presented = ''] = /^Bearer +([\x21-\x7e]{1,255})$/i.exec(authorization ?? '') ?? []
    const id = idOfKey(presented)
    if (id === undefined) throw refusal()
    const key = await look(id)
    const matches = keyMatches(presented, key?.digest ?? noDigest)
    if (!key || !matches || !key.usable) throw refusal()
    requirePermission(key, wanted)
    if (key.app?.region && key.app.region !== region) throw new Problem('WRONG_REGION')
    return key
  }
}

/** @throws {Problem} FORBIDDEN with the reason. */
function requirePermission(key: ApiKey, { scope, publishable }: Wanted): void {
  const refuse = (detail: string) => new Problem('FORBIDDEN', { detail })
  if (key.publishable && !publishable)
    throw refuse('This is a publishable key: call this from your back end with a secret key.')
  if (!key.scopes.includes(scope)) throw refuse(`This API key lacks the scope "${scope}".`)
  if (scope !== 'admin' && !key.app)
    throw refuse('This key administers apps, it belongs to none: make one for an app.')
}

const refusal = () =>
  new Problem('UNAUTHENTICATED', { headers: { 'WWW-Authenticate': 'Bearer realm="otpilot"' } })
