/** What becomes of a send about which the app's pre-send hook gives no usable answer. */
export const hookFailures = ['allow', 'deny', 'challenge'] as const

/** Figures of the calls to pre-send hooks. */
export const hookLimits = {
  /** For everything from the look-up of the name to the last byte of the answer. */
  withinMs: 500,
  answerBytes: 4_096,
  /** Calls of one process for one app at a time; a send beyond is treated as one that got no answer. */
  atOnce: 50,
  /** After so many failures in a row it is not called for so long; then one send tries it. */
  failures: 5,
  pauseMs: 10_000,
  /** How long a process goes by what it read of the hooks. */
  keptMs: 5_000,
} as const
