import type { Challenges } from '../challenge'
import { ChallengeAnswer } from '../contract/challenge'
import { route } from '../route'

export const challengeRoute = (challenges: Challenges) =>
  route({
    method: 'get',
    path: '/otp/challenge',
    operationId: 'makeChallenge',
    tag: 'OTP',
    summary: 'Get a challenge to solve',
    description:
      'Proof of work, as the ALTCHA widget (version 3) reads it: a fraction of a second for a browser. Good for one call by this app’s keys within five minutes.',
    scope: 'send',
    orScope: 'verify',
    publishable: true,
    replies: { 200: { description: 'A challenge.', content: ChallengeAnswer } },
    async handle({ key }) {
      return { body: await challenges.issue(key.app.id) }
    },
  })
