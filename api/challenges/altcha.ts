import { randomInt } from 'node:crypto'
import { type Challenge, createChallenge, verifySolution } from 'altcha-lib'
import { deriveKey } from 'altcha-lib/algorithms/pbkdf2'
import { z } from 'zod'
import { challengeSecrets } from '../../codes/challenge-secrets'
import type { Keyring } from '../../codes/keyring'
import {
  type ChallengeAction,
  challengeActions,
  type ChallengeVerifier,
  refused,
} from './challenge'

/** PBKDF2 is what the widget carries with it and what browsers have built in. */
const algorithm = 'PBKDF2/SHA-256'
/** Iterations a try; with the tries below, about a fifth of a second of one core on average (see docs/api.md). */
const cost = 1_000
/** Evenly from 1: whoever knows the range saves nothing by starting elsewhere in it. */
const mostTries = 1_500
const lifetimeMs = 300_000

const hex = z.string().regex(/^[0-9a-f]{2,128}$/)
/** What a solver hands in; a field more, and the signature would not fit anyway. */
const Solved = z.object({
  challenge: z.object({
    parameters: z.strictObject({
      algorithm: z.string(),
      nonce: hex,
      salt: hex,
      cost: z.int(),
      keyLength: z.int(),
      keyPrefix: hex,
      keySignature: hex,
      expiresAt: z.int().positive().max(8_640_000_000_000),
      data: z.strictObject({
        app: z.string(),
        action: z.enum(challengeActions).optional(),
        stands_in: z.literal(true).optional(),
      }),
    }),
    signature: hex,
  }),
  solution: z.object({ counter: z.int(), derivedKey: hex }),
})
type Solved = z.infer<typeof Solved>

/** What a challenge is made for. */
export interface Issue {
  app: string
  /** For any when absent. */
  action?: ChallengeAction | undefined
  /** In the place of a vendor's that could not be checked. */
  standsIn?: boolean
}

/** A challenge of proof of work (ALTCHA), to be solved within five minutes; nothing is stored about it. */
export function issueAltcha(
  keyring: Keyring,
  { app, action, standsIn }: Issue,
): Promise<Challenge> {
  const secrets = challengeSecrets(keyring.active('cookies'))
  return createChallenge({
    algorithm,
    cost,
    counter: randomInt(1, mostTries + 1),
    deriveKey,
    data: { app, ...(action && { action }), ...(standsIn && { stands_in: true }) },
    expiresAt: new Date(Date.now() + lifetimeMs),
    hmacSignatureSecret: secrets.challenge,
    hmacKeySignatureSecret: secrets.solution,
  })
}

/** Tells a solved challenge of this app's from everything else; never throws. */
export const altchaVerifier =
  (keyring: Keyring): ChallengeVerifier =>
  async (text, { app, action }) => {
    const solved = readSolved(text)
    if (!solved) return refused('unsolved')
    const { nonce, expiresAt, data } = solved.challenge.parameters
    const isOurs = data.app === app && (data.action ?? action) === action
    if (!isOurs || !(await isSolved(keyring, solved))) return refused('unsolved')
    return {
      outcome: 'solved',
      id: nonce,
      expiresAt: new Date(expiresAt * 1_000),
      standsIn: data.stands_in ?? false,
    }
  }

async function isSolved(keyring: Keyring, solved: Solved): Promise<boolean> {
  // Handed out before a rotation, it is signed with an older key.
  for (const secrets of keyring.all('cookies').map(challengeSecrets)) {
    const { verified } = await verifySolution({
      ...solved,
      deriveKey,
      hmacSignatureSecret: secrets.challenge,
      hmacKeySignatureSecret: secrets.solution,
    })
    if (verified) return true
  }
  return false
}

/** Reads the widget's payload: JSON in base64. */
function readSolved(text: string): Solved | undefined {
  try {
    return Solved.safeParse(JSON.parse(Buffer.from(text, 'base64').toString('utf8'))).data
  } catch {
    return undefined
  }
}
