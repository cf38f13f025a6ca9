import type { Challenges } from '../challenges'
import { ChallengeAnswer, ChallengeQuery } from '../contract/challenge'
import type { ApiDeps } from '../deps'
import { challengeUseOf } from '../protection/challenge'
import { route } from '../route'

export const challengeRoute = (deps: ApiDeps, challenges: Challenges) =>
  route({
    method: 'get',
    path: '/otp/challenge',
    operationId: 'makeChallenge',
    tag: 'OTP',
    summary: 'Get a challenge to solve',
    description:
      'Proof of work, as the ALTCHA widget (version 3) reads it: a fraction of a second for a browser. Good for one call by this app’s keys within five minutes. Beside it, which kinds of challenges the app takes, and what the widgets of vendors need.',
    scope: 'send',
    orScope: 'verify',
    publishable: true,
    query: ChallengeQuery,
    replies: { 200: { description: 'A challenge.', content: ChallengeAnswer } },
    async handle({ key, query: { action } }) {
      const app = key.app.id
      const use = challengeUseOf(deps, { app, action: action ?? 'send' })
      const [{ parameters, signature }, { altcha: _, ...offer }] = await Promise.all([
        challenges.issue({ app, action }),
        challenges.offer(use),
      ])
      return { body: { parameters, signature, ...offer } }
    },
  })
