import type { Fault } from './fault'

/**
 * When an account is left alone on a channel (integration guide: 5 faults in 60 s), and when one call tries it again.
 * A pause doubles with each probe in a row that failed.
 */
export const breaker = {
  faults: 5,
  windowSeconds: 60,
  firstPauseSeconds: 30,
  longestPauseSeconds: 480,
  /** A probe that has not come back by then is given up: at least so long, and longer than its call may take. */
  leaseSeconds: 30,
  /** A receipt that tells of an older call says nothing about the account as it is now. */
  freshSeconds: 3_600,
} as const

/** Health pings: one schedule for all accounts, and how many bad ones in a row open the breakers. */
export const pings = { everySeconds: 30, timeoutMs: 5_000, failures: 2 } as const

/**
 * What a fault says of the account: nothing (`none`), that it may be down (`counts`), or that no call can succeed
 * before somebody mends its settings (`opens`).
 */
export const blameOf = {
  invalid_number: 'none',
  blocked: 'none',
  unroutable: 'none',
  unaffordable: 'none',
  throttled: 'counts',
  unavailable: 'counts',
  in_doubt: 'counts',
  config: 'opens',
} as const satisfies Record<Fault, 'none' | 'counts' | 'opens'>
