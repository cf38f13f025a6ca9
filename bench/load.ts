import { setTimeout as sleep } from 'node:timers/promises'

export interface Window<T> {
  /** What ended inside the window. */
  done: T[]
  seconds: number
  /** Everything that was begun, also before and after the window. */
  all: T[]
}

interface Load<T> {
  callers: number
  warmMs: number
  windowMs: number
  work: () => Promise<T>
  /** Called as the window opens and as it closes, for readings of one's own. */
  atOpening?: () => void
  atClosing?: () => void
}

/**
 * Callers who each begin the next piece of work when the last one is done. Only what ends after the warm-up and
 * before the window closes is counted, so neither the first burst nor the last stragglers are.
 */
export async function runLoad<T>(load: Load<T>): Promise<Window<T>> {
  const { callers, warmMs, windowMs, work } = load
  const all: T[] = []
  const failures: unknown[] = []
  const stopping = new AbortController()
  const running = Array.from({ length: callers }, async () => {
    while (!stopping.signal.aborted && failures.length === 0)
      await work().then(
        (piece) => all.push(piece),
        (error: unknown) => failures.push(error),
      )
  })
  await sleep(warmMs)
  const [first, openedAt] = [all.length, performance.now()]
  load.atOpening?.()
  await sleep(windowMs)
  load.atClosing?.()
  const window = { done: all.slice(first), seconds: (performance.now() - openedAt) / 1000 }
  stopping.abort()
  await Promise.all(running)
  if (failures.length > 0) throw failures[0]
  return { ...window, all }
}

/** Does the work once per item, with at most so many at a time. */
export async function forEachOf<T>(
  items: readonly T[],
  callers: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const left = items.values()
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (const item of left) await work(item)
    }),
  )
}
