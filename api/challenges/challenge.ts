import type { Challenge } from 'altcha-lib'
import type { ChallengeKind, ChallengeSettings } from '../../core/protection/protection'

/** The calls that a challenge can be solved for. */
export const challengeActions = ['send', 'verify'] as const
export type ChallengeAction = (typeof challengeActions)[number]

/** What a challenge is for, and which are taken. */
export interface ChallengeUse {
  app: string
  action: ChallengeAction
  /** Whom the code is for, where that is known. */
  recipient?: string | undefined
  accepted: ChallengeSettings
}

/** A solved one that is handed in. */
export interface HandedIn extends ChallengeUse {
  /** Of the end user, for vendors. */
  address?: string | undefined
  /** Names a call that may come twice: its second time, what the first one spent is good again. */
  call?: string | undefined
}

/** Why a challenge was refused, where that can be told apart. */
export type Refusal = 'kind' | 'page' | 'binding' | 'unsolved'

/** `unavailable`: the vendor did not say. */
export type Outcome =
  { outcome: 'solved' } | { outcome: 'refused'; why: Refusal } | { outcome: 'unavailable' }

/** What one kind finds; a solved challenge has yet to be spent. */
export type Finding =
  | { outcome: 'solved'; id: string; expiresAt: Date; standsIn?: boolean }
  | Exclude<Outcome, { outcome: 'solved' }>

/** Checks one kind of challenge, and spends nothing. */
export type ChallengeVerifier = (text: string, use: HandedIn) => Promise<Finding>

/** Which challenges are taken, and what a page needs to show one. */
export interface ChallengeOffer {
  kinds: ChallengeKind[]
  /** For ALTCHA's widget, as it is. */
  altcha?: Challenge
  turnstile?: { site_key: string; action: string; cdata: string }
  hcaptcha?: { site_key: string }
}

export const refused = (why: Refusal): Extract<Outcome, { outcome: 'refused' }> => ({
  outcome: 'refused',
  why,
})
