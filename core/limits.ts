/** Sends per recipient across requests and resends (design, section 3). */
export const sendLimits = [
  { max: 3, windowSeconds: 60 },
  { max: 5, windowSeconds: 600 },
] as const

/** Suggested pause before the n-th resend, in seconds; the last one repeats. */
const resendPauses = [30, 60, 120] as const

/** Seconds a caller should wait before offering "send again", given the sends made so far (>= 1). */
export const resendAfterSeconds = (sends: number): number =>
  resendPauses[Math.min(Math.max(sends, 1), resendPauses.length) - 1] ?? 120

/** A channel claimed less than this ago is not sent again. */
export const alreadySendingSeconds = 10

/** Checks per code, counted across resends. */
export const maxChecks = 5

/** Lifetimes in seconds. */
export const lifetime = { default: 300, highRisk: 180, min: 30, max: 600 } as const

/** How long after its end a request still answers a verify by phone, in seconds. */
export const answerAfterEndSeconds = 600

/** An unstarted request older than this is failed by the sweeper unless queued: a late code is worse than an error. */
export const startWithinSeconds = 30

/**
 * Sends are refused while one that was accepted before has waited this long for its first message: what is accepted
 * now would come later still, and a late code is worse than an error.
 */
export const backlogSeconds = 10

/** A claim older than this is claimed again before the socket is written. */
export const claimFreshMs = 2_000
