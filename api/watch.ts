import { setTimeout as sleep } from 'node:timers/promises'

const pollMs = 250

/**
 * Asks `look` every quarter of a second until it finds something, `seconds` have passed, or the signal aborts.
 * @returns what it found.
 */
export async function watch<T>(
  look: () => Promise<T | undefined>,
  { seconds, signal }: { seconds: number; signal: AbortSignal },
): Promise<T | undefined> {
  const until = performance.now() + seconds * 1_000
  for (;;) {
    const found = await look()
    const left = until - performance.now()
    if (found !== undefined || left <= 0 || signal.aborted) return found
    await sleep(Math.min(pollMs, left), undefined, { signal }).catch(() => undefined)
  }
}

/** Each asks Postgres four times a second. */
const mostWaiting = 200

/** A watch for at most `places` callers at a time; one more has its look and goes on without waiting. */
export function createWatch(places = mostWaiting): typeof watch {
  let taken = 0
  return async (look, patience) => {
    if (taken >= places) return look()
    taken++
    try {
      return await watch(look, patience)
    } finally {
      taken--
    }
  }
}
