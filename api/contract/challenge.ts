import { z } from 'zod'
import { challengeKinds } from '../../core/protection/protection'
import { challengeActions } from '../challenges/challenge'
import { named } from './registry'

/** The answer to a challenge, as a widget hands it in. */
export const solvedChallenge = z
  .string()
  .min(1)
  .max(8_192)
  .describe(
    'A solved challenge: what the ALTCHA widget gives (JSON of challenge and solution, in base64), or turnstile: or hcaptcha: and the token of that vendor. Good for one call.',
  )

export const ChallengeQuery = z.strictObject({
  action: z
    .enum(challengeActions)
    .optional()
    .describe('The call that it is to be good for; any of these, when absent.'),
})

/** The names are those of ALTCHA: its widget reads this as it is. */
const altchaChallenge = {
  parameters: z.object({
    algorithm: z.string().meta({ examples: ['PBKDF2/SHA-256'] }),
    cost: z.int().describe('Iterations of each try.'),
    data: z
      .object({
        app: z.string(),
        action: z.enum(challengeActions).optional(),
        stands_in: z.boolean().optional(),
      })
      .describe('Whom and what it is good for.'),
    expiresAt: z.int().describe('Unix seconds: to be spent until then.'),
    keyLength: z.int(),
    keyPrefix: z.string().describe('What the derived key of the answer begins with.'),
    keySignature: z.string(),
    nonce: z.string(),
    salt: z.string(),
  }),
  signature: z.string(),
}

const kinds = z.array(z.enum(challengeKinds)).describe('The kinds that this app takes.')
const vendors = {
  turnstile: z
    .object({
      site_key: z.string(),
      action: z.string(),
      cdata: z.string().describe('Says what the token is for: the widget takes it as cData.'),
    })
    .optional()
    .describe('What Cloudflare’s widget is given; the call then gets turnstile: and its token.'),
  hcaptcha: z
    .object({ site_key: z.string() })
    .optional()
    .describe('What hCaptcha’s widget is given; the call then gets hcaptcha: and its token.'),
}

export const ChallengeOffer = named(
  'ChallengeOffer',
  z.object({
    kinds,
    altcha: z
      .object(altchaChallenge)
      .optional()
      .describe('A challenge to solve, as the ALTCHA widget reads it.'),
    ...vendors,
  }),
)

export const ChallengeAnswer = named(
  'Challenge',
  z.object({ ...altchaChallenge, kinds, ...vendors }),
)
