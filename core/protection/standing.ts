/** How long each count remembers, in seconds: after this, what was counted weighs 1/e of what it did. */
export const memory = {
  /** Messages whose code has not come back. */
  pending: 600,
  /** Codes that came back, for how busy a place is now. */
  passed: 600,
  /** The same, and messages in vain, for what it is like at this time of day. */
  hour: 3_600,
  /** Messages whose code had the time to come back and did not, and codes that did. */
  day: 86_400,
  /** Both, for what a place is known for. */
  ever: 30 * 86_400,
} as const

/** Number of places that a block's row keeps. */
export const placesKept = 12

/** What is remembered of a scope's sends, as of one moment; every count fades, see {@link memory}. */
export interface Standing {
  pending: number
  /** Of about the last ten minutes, and of the last hour. */
  passed: number
  passedHour: number
  /** Of about the last day: had their time, and did not come back. */
  failed: number
  passedDay: number
  /** Those of them of about the last hour. */
  failedHour: number
  /** Of about the last month. */
  passedEver: number
  failedEver: number
  /**
   * The last messages of a block that have not come back, as places on a circle of 10,000: a number's last four digits,
   * turned by a secret step that is the block's own. Only how close they are to each other can be told.
   */
  places: readonly number[]
}

export const noStanding: Standing = {
  pending: 0,
  passed: 0,
  passedHour: 0,
  failed: 0,
  failedHour: 0,
  passedDay: 0,
  passedEver: 0,
  failedEver: 0,
  places: [],
}

/** Two rows of one scope together. */
export const together = (one: Standing, other: Standing): Standing => ({
  pending: one.pending + other.pending,
  passed: one.passed + other.passed,
  passedHour: one.passedHour + other.passedHour,
  failed: one.failed + other.failed,
  failedHour: one.failedHour + other.failedHour,
  passedDay: one.passedDay + other.passedDay,
  passedEver: one.passedEver + other.passedEver,
  failedEver: one.failedEver + other.failedEver,
  places: [...one.places, ...other.places],
})

/** Places on a block's circle. */
export const circle = 10_000

/** How many of the distances between neighbours on a block's circle are at most `gap`. */
export function closeGaps(places: readonly number[], gap: number): number {
  const sorted = [...new Set(places)].toSorted((a, b) => a - b)
  const [first] = sorted
  if (first === undefined || sorted.length < 2) return 0
  return sorted.filter((place, index) => {
    const next = sorted[index + 1] ?? first + circle
    return next - place <= gap
  }).length
}

/** The upper end of the 95 % Wilson interval of a share: what the share may still be, after `passed` of `all`. */
export function wilsonUpper(passed: number, all: number): number {
  if (all <= 0) return 1
  const z = 1.96
  const share = passed / all
  const middle = share + (z * z) / (2 * all)
  const margin = z * Math.sqrt((share * (1 - share)) / all + (z * z) / (4 * all * all))
  return (middle + margin) / (1 + (z * z) / all)
}
