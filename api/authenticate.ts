import { idOfKey, keyMatches } from '../codes/api-key'
import { type ApiKey, findApiKey, touchApiKey } from '../db/apps/api-keys'
import type { Queries } from '../db/index'
import { Problem } from './problem'
import { requireServed } from './region'
import type { Scope } from './route'

/**
 * What was read of a key counts this long, in milliseconds. With the time that a look-up takes (3 s at most, the limit
 * of a statement) a revoked or expired key stops working within the five seconds that are promised.
 */
const cacheMs = 2_000
/** A caller can invent key ids: the cache must not grow with them. */
const cacheSize = 2_000
const noDigest = Buffer.alloc(32)

/** Whom a route is for. */
export interface Wanted {
  scope: Scope
  /** Another one that is enough. */
  orScope?: Scope | undefined
  /** Keys that browsers and mobile apps hold may call it too. */
  publishable?: boolean
}

interface Look {
  found: Promise<ApiKey | undefined>
  /** By the clock that nobody can set back. */
  until: number
  /** Whether somebody who holds the key called since: ids are no secret, and knowing one is no use of the key. */
  used: boolean
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
  const cache = new Map<string, Look>()

  const look = (id: string): Look => {
    const cached = cache.get(id)
    if (cached && cached.until > performance.now()) return cached
    if (cache.size >= cacheSize) cache.clear()
    const fresh = { found: findApiKey(db, id), until: performance.now() + cacheMs, used: false }
    cache.set(id, fresh)
    fresh.found.catch(() => cache.get(id) === fresh && cache.delete(id))
    return fresh
  }

  return async (authorization, wanted) => {
    const [, presented = ''] = /^Bearer +([\x21-\x7e]{1,255})$/i.exec(authorization ?? '') ?? []
    const id = idOfKey(presented)
    if (id === undefined) throw refusal()
    const looked = look(id)
    const key = await looked.found
    const matches = keyMatches(presented, key?.digest ?? noDigest)
    if (!key || !matches || !key.usable) throw refusal()
    if (!looked.used) {
      looked.used = true
      void touchApiKey(db, id).catch(() => undefined)
    }
    requirePermission(key, wanted)
    if (key.app) requireServed(key.app, region)
    return key
  }
}

/** @throws {Problem} FORBIDDEN with the reason. */
function requirePermission(key: ApiKey, { scope, orScope, publishable }: Wanted): void {
  const refuse = (detail: string) => new Problem('FORBIDDEN', { detail })
  if (key.publishable && !publishable)
    throw refuse('This is a publishable key: call this from your back end with a secret key.')
  const enough = orScope === undefined ? [scope] : [scope, orScope]
  if (!enough.some((one) => key.scopes.includes(one)))
    throw refuse(`This API key lacks the scope "${enough.join('" or "')}".`)
  if (scope !== 'admin' && !key.app)
    throw refuse('This key administers apps, it belongs to none: make one for an app.')
}

const refusal = () =>
  new Problem('UNAUTHENTICATED', { headers: { 'WWW-Authenticate': 'Bearer realm="otpilot"' } })
