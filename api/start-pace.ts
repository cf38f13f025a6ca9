import { setTimeout as pause } from 'node:timers/promises'

/** So many of the last starts are remembered. */
const kept = 50
/** What a start takes where none is remembered, in milliseconds. */
const usualMs = 12

/**
 * How long the starts of runs took of late. A send that starts none, and is not to be told from others, takes as long as
 * one of them.
 */
export interface StartPace {
  /** Runs `start`, and remembers how long it took. */
  timed<T>(start: () => Promise<T>): Promise<T>
  /** Takes the time of one of the starts, by chance. */
  wait(): Promise<void>
}

export function createStartPace(): StartPace {
  const taken: number[] = []
  let next = 0
  return {
    async timed(start) {
      const since = performance.now()
      const result = await start()
      taken[next++ % kept] = performance.now() - since
      return result
    },
    async wait() {
      await pause(taken[Math.floor(Math.random() * taken.length)] ?? usualMs)
    },
  }
}
