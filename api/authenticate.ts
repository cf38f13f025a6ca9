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

export type Authenticate = (authorization: string | undefined, scope: Scope) => Promise<ApiKey>

/** Makes the check of Bearer keys. Its answers are one: 401, or 403 for a genuine key without the scope. */
export function createAuthenticate(db: Queries): Authenticate {
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

  return async (authorization, scope) => {
    const [, presented = ''] = /^Bearer +([\x21-\x7e]{1,255})$/i.exec(authorization ?? '') ?? []
    const id = idOfKey(presented)
    if (id === undefined) throw refusal()
    const key = await look(id)
    const matches = keyMatches(presented, key?.digest ?? noDigest)
    if (!key || !matches || !key.usable) throw refusal()
    if (key.publishable) {
      throw new Problem('FORBIDDEN', {
        detail: 'This is a publishable key: call this from your back end with a secret key.',
      })
    }
    if (!key.scopes.includes(scope)) {
      throw new Problem('FORBIDDEN', { detail: `This API key lacks the scope "${scope}".` })
    }
    return key
  }
}

const refusal = () =>
  new Problem('UNAUTHENTICATED', { headers: { 'WWW-Authenticate': 'Bearer realm="otpilot"' } })
