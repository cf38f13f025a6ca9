export type Timers = ReturnType<typeof createTimers>

/** Timers that end together and never keep the process alive. */
export function createTimers() {
  const pending = new Set<NodeJS.Timeout>()
  let closed = false

  /** Runs `then` after `ms`, unless the timers were closed. */
  function after(ms: number, then: () => void): void {
    if (closed) return
    const timer = setTimeout(() => {
      pending.delete(timer)
      then()
    }, ms)
    timer.unref()
    pending.add(timer)
  }

  return {
    after,
    /** Never resolves when the timers are closed meanwhile. */
    wait: (ms: number) => (ms > 0 ? new Promise<void>((resolve) => after(ms, resolve)) : undefined),
    close() {
      closed = true
      for (const timer of pending) clearTimeout(timer)
      pending.clear()
    },
  }
}
