/** Of 32 random bytes about 30 differ; fewer than one set in 100 million has so few. */
const minDifferentBytes = 18
const longestRun = 6

/**
 * Why 32 bytes cannot have come from a random source, as the end of a sentence; undefined when they may have.
 * Chance refuses less than one random key in 100 million.
 */
export function weaknessOf(key: Buffer): string | undefined {
  if (key.every((byte) => byte >= 0x20 && byte < 0x7f)) return 'is readable text, not random bytes'
  const steps = [...key.subarray(1)].map((byte, i) => (byte - (key[i] ?? 0)) & 0xff)
  if (new Set(steps).size === 1) return 'counts or repeats one byte'
  if (hasRun(key)) return `has ${longestRun} equal bytes in a row`
  if (new Set(key).size < minDifferentBytes) return 'has too few different bytes'
  return undefined
}

function hasRun(key: Buffer): boolean {
  let run = 0
  return key.some((byte, i) => {
    run = byte === key[i - 1] ? run + 1 : 1
    return run >= longestRun
  })
}
