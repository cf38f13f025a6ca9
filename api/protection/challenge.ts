import { scopeDigest } from '../../codes/scope-digest'
import { protectionOf } from '../../core/protection/protection'
import type { Challenges } from '../challenges'
import type { ChallengeUse, Refusal } from '../challenges/challenge'
import type { SendBody } from '../contract/send'
import type { ApiDeps } from '../deps'
import { Problem, type ProblemOptions } from '../problem'
import type { AppKey, KeyCall } from '../route'
import { readIdempotencyKey } from '../send-wish'
import { endUserOf } from './end-user'

/** What a challenge of an app's is for, and which ones its policy takes. */
export function challengeUseOf(
  { routing }: Pick<ApiDeps, 'routing'>,
  {
    app,
    action,
    country = null,
    recipient,
  }: Pick<ChallengeUse, 'app' | 'action' | 'recipient'> & { country?: string | null },
): ChallengeUse {
  const { challenges } = protectionOf(routing.policy, { app, country })
  return { app, action, recipient, accepted: challenges }
}

/** The answer to a call that has to solve one first, with all that a page needs for it; the app's own kinds when absent. */
export const challengeRequired = async (
  challenges: Challenges,
  use: ChallengeUse,
  { challenge, ...options }: ProblemOptions = {},
): Promise<Problem> =>
  new Problem('CHALLENGE_REQUIRED', {
    action: 'solve_challenge',
    challenge: challenge ?? (await challenges.offer(use)),
    ...options,
  })

/** The answer where a vendor did not say whether its challenge was solved: what this service can check instead. */
export const anotherRequired = async (
  challenges: Challenges,
  use: ChallengeUse,
  options: ProblemOptions = {},
): Promise<Problem> =>
  challengeRequired(challenges, use, {
    challenge: await challenges.standIn(use),
    detail: 'This challenge cannot be checked just now. Solve the one that is given here instead.',
    ...options,
  })

const sentenceOf: Partial<Record<Refusal, string>> = {
  kind: 'This app does not take challenges of this kind: challenge.kinds says which.',
  page: 'This challenge was solved on a page whose host is not among protection.challenges.hosts.',
  binding:
    'This challenge was solved for something else: give the widget the action and cdata that came with its site key.',
}

/** The answer to a challenge that does not count; the reason is for the app, not for strangers. */
export const invalidChallenge = async (
  challenges: Challenges,
  use: ChallengeUse,
  { key, why, ...options }: ProblemOptions & { key: AppKey; why: Refusal },
): Promise<Problem> => {
  const detail = key.publishable ? undefined : sentenceOf[why]
  return new Problem('INVALID_CHALLENGE', {
    action: 'solve_challenge',
    challenge: await challenges.offer(use),
    ...(detail && { detail }),
    ...options,
  })
}

/**
 * Spends the challenge that a send came with; to be called when the number has been looked at, for a mistyped one must
 * not cost its owner another challenge.
 * @returns whether one was solved
 * @throws {Problem} INVALID_CHALLENGE, or CHALLENGE_REQUIRED where a vendor's cannot be checked
 */
export async function spendGiven(
  { keyring }: Pick<ApiDeps, 'keyring'>,
  challenges: Challenges,
  call: KeyCall<SendBody>,
  use: ChallengeUse,
): Promise<boolean> {
  const { key, body, headers, raw } = call
  if (body.challenge === undefined) return false
  const name = key.publishable ? undefined : readIdempotencyKey(headers['idempotency-key'])
  const outcome = await challenges.spend(body.challenge, {
    ...use,
    address: endUserOf(call)?.address,
    // The same send made again brings the same challenge.
    ...(name !== undefined && {
      call: scopeDigest(
        keyring,
        'call',
        JSON.stringify([use.app, key.environment, name, raw.toString('base64')]),
      ),
    }),
  })
  if (outcome.outcome === 'unavailable') throw await anotherRequired(challenges, use)
  if (outcome.outcome === 'refused')
    throw await invalidChallenge(challenges, use, { key, why: outcome.why })
  return true
}
