import { type Reason, reasons, type State } from './state'

/** What publishable keys send for, and nobody else: so a stranger never joins a request of the back end's. */
export const publishablePurpose = 'publishable'

/** Of one live request at most, beside those whose sends were taken: each is five more checks of its code. */
export const maxJoinedPages = 20

/** Why a request, or what a page sees of one, is in its state. */
export const shownReasons = [...reasons, 'verified_elsewhere'] as const
export type ShownReason = (typeof shownReasons)[number]

/** What a page did with its own id of a request. */
export interface PageRequest {
  /** Checks that counted, the right one included. */
  checks: number
  maxChecks: number
  verifiedAt: Date | null
  /** It ended by itself: verified, out of checks, or cancelled. */
  endedAt: Date | null
}

interface Ending<Why> {
  state: State
  reason: Why | null
  endedAt: Date | null
}

/**
 * The state of a page's own request over the shared one. It is verified only where the right code came through this
 * page: two pages that send to one number share a request, and the one must not pass for the other.
 */
export function endingOf(page: PageRequest, shared: Ending<Reason>): Ending<ShownReason> {
  const { endedAt, verifiedAt, checks, maxChecks } = page
  if (verifiedAt) return { state: 'verified', reason: 'code_matched', endedAt: verifiedAt }
  if (endedAt && checks >= maxChecks) return { state: 'locked', reason: 'too_many_checks', endedAt }
  if (endedAt) return { state: 'cancelled', reason: 'requested', endedAt }
  if (shared.state !== 'verified') return shared
  return { state: 'cancelled', reason: 'verified_elsewhere', endedAt: shared.endedAt }
}
