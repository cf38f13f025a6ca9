import { Problem } from './problem'

/** Calls in flight per process below which none is refused (security reference D7). */
export const inFlightLimits = { send: 200, verify: 500 } as const
export type AdmissionKind = keyof typeof inFlightLimits

export interface Admission {
  /**
   * Counts a call in, until the returned function counts it out.
   * @throws {Problem} OVERLOADED at the limit, before any work is done.
   */
  enter(kind: AdmissionKind): () => void
}

/** Separate counters, so that a flood of sends cannot keep people from having their codes checked. */
export function createAdmission(limits: Record<AdmissionKind, number> = inFlightLimits): Admission {
  const inFlight = { send: 0, verify: 0 }
  return {
    enter(kind) {
      if (inFlight[kind] >= limits[kind]) throw new Problem('OVERLOADED', { retryAfterSeconds: 1 })
      inFlight[kind]++
      return () => void inFlight[kind]--
    },
  }
}
