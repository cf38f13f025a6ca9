import type { Challenge } from 'altcha-lib'
import type { Dispatcher } from 'undici'
import type { Logger } from 'pino'
import { makeBinding } from '../../codes/challenge-binding'
import type { Keyring } from '../../codes/keyring'
import type { ChallengeAccounts } from '../../config/challenges'
import type { ChallengeKind } from '../../core/protection/protection'
import { spendChallenge, wasSpentBy } from '../../db/verify/challenges'
import type { Queries } from '../../db/index'
import { createDispatcher } from '../../providers/http'
import { altchaVerifier, type Issue, issueAltcha } from './altcha'
import { captchaVerifier, hcaptcha, turnstile, widgetAction } from './captcha'
import {
  type ChallengeOffer,
  type ChallengeUse,
  type ChallengeVerifier,
  type HandedIn,
  type Outcome,
  refused,
} from './challenge'

export interface Challenges {
  /** Proof of work, to be solved within five minutes. */
  issue(issue: Issue): Promise<Challenge>
  /** What may be solved for a call. */
  offer(use: ChallengeUse): Promise<ChallengeOffer>
  /** The same where the vendor of the one that was handed in does not answer. */
  standIn(use: ChallengeUse): Promise<ChallengeOffer>
  /**
   * Whether `text` is a solved challenge for this use that was not spent before; if so, it is from now on. Whatever else
   * it holds is refused; only a fault of Postgres throws.
   */
  spend(text: string, use: HandedIn): Promise<Outcome>
}

interface Parts {
  db: Queries
  keyring: Keyring
  accounts?: ChallengeAccounts | undefined
  logger: Logger
  dispatcher?: Dispatcher
}

type Verifiers = Partial<Record<ChallengeKind, ChallengeVerifier>>

/** Challenges of every kind that this process can check: proof of work always, a vendor's where it has an account. */
export function createChallenges({
  db,
  keyring,
  accounts = {},
  logger,
  dispatcher = createDispatcher(),
}: Parts): Challenges {
  const parts = { keyring, dispatcher, logger }
  const verifiers: Verifiers = {
    altcha: altchaVerifier(keyring),
    ...(accounts.turnstile && { turnstile: captchaVerifier(turnstile, accounts.turnstile, parts) }),
    ...(accounts.hcaptcha && { hcaptcha: captchaVerifier(hcaptcha, accounts.hcaptcha, parts) }),
  }

  async function spend(text: string, use: HandedIn): Promise<Outcome> {
    const { call } = use
    const again = async () => call !== undefined && (await wasSpentBy(db, call))
    if (await again()) return { outcome: 'solved' }
    const { kind, solved } = read(text)
    const isTaken = kindsFor(use, verifiers).includes(kind)
    const verify = verifiers[kind]
    if (!verify || (!isTaken && kind !== 'altcha')) return refused('kind')
    const found = await verify(solved, use)
    if (found.outcome === 'solved') {
      if (!isTaken && !found.standsIn) return refused('kind')
      if (await spendChallenge(db, { ...found, call })) return { outcome: 'solved' }
    }
    // The same call may have spent it since: the vendor then calls it used.
    if (await again()) return { outcome: 'solved' }
    return found.outcome === 'solved' ? refused('unsolved') : found
  }

  return {
    issue: (issue) => issueAltcha(keyring, issue),
    offer: (use) => offerOf(use, { kinds: kindsFor(use, verifiers), keyring, accounts }),
    standIn: async ({ app, action }) => ({
      kinds: ['altcha'],
      altcha: await issueAltcha(keyring, { app, action, standsIn: true }),
    }),
    spend,
  }
}

/** Of those that the app takes, those that can be checked here. */
function kindsFor({ accepted, action }: ChallengeUse, verifiers: Verifiers): ChallengeKind[] {
  const kinds = accepted.kinds.filter((kind) => verifiers[kind])
  // A page whose check is refused is told nothing, not even that a vendor is down: so proof of work is always good.
  const needsAltcha = kinds.length === 0 || (action === 'verify' && !kinds.includes('altcha'))
  return needsAltcha ? [...kinds, 'altcha'] : kinds
}

async function offerOf(
  use: ChallengeUse,
  {
    kinds,
    keyring,
    accounts,
  }: { kinds: ChallengeKind[]; keyring: Keyring; accounts: ChallengeAccounts },
): Promise<ChallengeOffer> {
  const { app, action } = use
  return {
    kinds,
    ...(kinds.includes('altcha') && { altcha: await issueAltcha(keyring, { app, action }) }),
    ...(accounts.turnstile &&
      kinds.includes('turnstile') && {
        turnstile: {
          site_key: accounts.turnstile.siteKey,
          action: widgetAction(action),
          cdata: makeBinding(keyring, use),
        },
      }),
    ...(accounts.hcaptcha &&
      kinds.includes('hcaptcha') && { hcaptcha: { site_key: accounts.hcaptcha.siteKey } }),
  }
}

/** `turnstile:` and `hcaptcha:` say whose a token is; base64, which ALTCHA's widget gives, has no colon. */
function read(text: string): { kind: ChallengeKind; solved: string } {
  for (const kind of ['turnstile', 'hcaptcha'] as const)
    if (text.startsWith(`${kind}:`)) return { kind, solved: text.slice(kind.length + 1) }
  return { kind: 'altcha', solved: text }
}
