const freshMs = 1_000

/**
 * Shares one call of `ask` among everybody who wants its answer while it is under way, and for one second after it has
 * come. A failure is passed on and not kept.
 */
export function freshly<T>(ask: () => Promise<T>): () => Promise<T> {
  let seen: { answer: Promise<T>; until: number } | undefined
  return () => {
    if (seen && performance.now() < seen.until) return seen.answer
    const asked = { answer: ask(), until: Infinity }
    seen = asked
    asked.answer.then(
      () => (asked.until = performance.now() + freshMs),
      () => (asked.until = 0),
    )
    return asked.answer
  }
}
