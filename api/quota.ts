import { quotaShare } from '../core/limits'
import type { ApiKey } from '../db/apps/api-keys'
import type { Queries } from '../db/index'
import { leaseQuota } from '../db/apps/quotas'
import { Problem } from './problem'
import type { AppKey } from './route'

type QuotaKey = Pick<ApiKey, 'id' | 'requestsPerMinute' | 'publishable'> & {
  /** The sentence of its refusal. */
  refusal?: string
}

/**
 * Counts a call of a key.
 * @returns the headers that tell its owner what is left
 * @throws {Problem} QUOTA_EXCEEDED until the minute is over.
 */
export type TakeQuota = (key: QuotaKey) => Promise<Record<string, string>>

/** Calls that this process has set aside. */
interface Lease {
  left: number
  isRefusal: boolean
  untaken: number
  /** On the clock of `performance.now()`. */
  endsAt: number
}

interface KeyState {
  lease?: Lease
  /** Shared by the calls that wait for the next lease. */
  pending?: Promise<void>
}

/** With this many keys known, those of a minute that is over are forgotten. */
const tidyAt = 1_000

/**
 * Makes the quota of keys: over all processes never more than its number a minute. Calls are set aside many at a time,
 * so nearly all of them cost no statement; without Postgres none is let through once those are spent.
 */
export function createQuota(db: Queries): TakeQuota {
  const states = new Map<string, KeyState>()

  const stateOf = (id: string): KeyState => {
    const known = states.get(id)
    if (known) return known
    if (states.size >= tidyAt) {
      for (const [other, { lease, pending }] of states)
        if (!pending && !(lease && isCurrent(lease))) states.delete(other)
    }
    const state = {}
    states.set(id, state)
    return state
  }

  return async (key) => {
    const state = stateOf(key.id)
    for (;;) {
      const { lease } = state
      if (lease && isCurrent(lease)) {
        if (lease.isRefusal) throw refusal(key, lease)
        if (lease.left > 0) {
          lease.left--
          return headersOf(key, lease)
        }
      }
      state.pending ??= renew(db, key, state).finally(() => delete state.pending)
      await state.pending
    }
  }
}

async function renew(db: Queries, { id, requestsPerMinute: quota }: QuotaKey, state: KeyState) {
  // Counted from before the statement: a lease must not outlive its minute by the time the answer took.
  const asked = performance.now()
  const share = Math.ceil(quota * quotaShare)
  const { granted, untaken, remainingMs } = await leaseQuota(db, { keyId: id, quota, share })
  state.lease = {
    left: granted,
    isRefusal: granted === 0,
    untaken,
    endsAt: asked + remainingMs,
  }
}

const isCurrent = ({ endsAt }: Lease): boolean => endsAt > performance.now()

const secondsLeft = ({ endsAt }: Lease): number =>
  Math.max(Math.ceil((endsAt - performance.now()) / 1_000), 1)

/**
 * As draft-ietf-httpapi-ratelimit-headers-10 writes them; `r` is what this process holds and what no process had taken
 * when it asked last. A publishable key is read by strangers, whom its use does not concern.
 */
const headersOf = (
  { publishable, requestsPerMinute }: QuotaKey,
  lease: Lease,
): Record<string, string> =>
  publishable
    ? {}
    : {
        'RateLimit-Policy': `"key";q=${requestsPerMinute};w=60`,
        RateLimit: `"key";r=${lease.left + lease.untaken};t=${secondsLeft(lease)}`,
      }

const refusal = (key: QuotaKey, lease: Lease) =>
  new Problem('QUOTA_EXCEEDED', {
    retryAfterSeconds: secondsLeft(lease),
    headers: headersOf(key, lease),
    ...(key.refusal !== undefined && { detail: key.refusal }),
  })

/** The quota of an app's sends over all of its keys, which no header tells. */
export const quotaOfApp = (
  { app, environment }: Pick<AppKey, 'app' | 'environment'>,
  sendsPerMinute: number,
): QuotaKey => ({
  id: `app:${environment}:${app.id}`,
  requestsPerMinute: sendsPerMinute,
  publishable: true,
  refusal: 'This app has asked for all the sends that it may ask for in a minute.',
})
