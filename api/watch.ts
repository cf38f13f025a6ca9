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
