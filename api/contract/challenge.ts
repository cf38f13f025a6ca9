import { z } from 'zod'
import { named } from './registry'

/** The answer to a challenge, as the ALTCHA widget hands it in. */
export const solvedChallenge = z
  .string()
  .min(1)
  .max(4_096)
  .describe(
    'A solved challenge of GET /otp/challenge, as the ALTCHA widget gives it: JSON of challenge and solution, in base64. Good for one call.',
  )

/** The names are those of ALTCHA: its widget reads this answer as it is. */
export const ChallengeAnswer = named(
  'Challenge',
  z.object({
    parameters: z.object({
      algorithm: z.string().meta({ examples: ['PBKDF2/SHA-256'] }),
      cost: z.int().describe('Iterations of each try.'),
      data: z.object({ app: z.string() }).describe('Whom it is good for.'),
      expiresAt: z.int().describe('Unix seconds: to be spent until then.'),
      keyLength: z.int(),
      keyPrefix: z.string().describe('What the derived key of the answer begins with.'),
      keySignature: z.string(),
      nonce: z.string(),
      salt: z.string(),
    }),
    signature: z.string(),
  }),
)
