import { randomInt } from 'node:crypto'
import { type Challenge, createChallenge, verifySolution } from 'altcha-lib'
import { deriveKey } from 'altcha-lib/algorithms/pbkdf2'
import { z } from 'zod'
import { challengeSecrets } from '../codes/challenge-secrets'
import type { Keyring } from '../codes/keyring'
import { spendChallenge } from '../db/checks/challenges'
import type { Queries } from '../db/index'

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
      data: z.strictObject({ app: z.string() }),
    }),
    signature: hex,
  }),
  solution: z.object({ counter: z.int(), derivedKey: hex }),
})
type Solved = z.infer<typeof Solved>

export interface Challenges {
  /** A challenge of this app's, to be solved within five minutes. */
  issue(appId: string): Promise<Challenge>
  /**
   * Whether `text` is a solved challenge of this app's that was not spent before; from now on it is.
   * Whatever else it holds is a no; only a fault of Postgres throws.
   */
  spend(appId: string, text: string): Promise<boolean>
}

/** Proof-of-work challenges (ALTCHA): nothing is stored about one until it is spent. */
export function createChallenges({ db, keyring }: { db: Queries; keyring: Keyring }): Challenges {
  const isSolved = async (solved: Solved): Promise<boolean> => {
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

  return {
    async issue(appId) {
      const secrets = challengeSecrets(keyring.active('cookies'))
      return createChallenge({
        algorithm,
        cost,
        counter: randomInt(1, mostTries + 1),
        deriveKey,
        data: { app: appId },
        expiresAt: new Date(Date.now() + lifetimeMs),
        hmacSignatureSecret: secrets.challenge,
        hmacKeySignatureSecret: secrets.solution,
      })
    },
    async spend(appId, text) {
      const solved = readSolved(text)
      if (!solved) return false
      const { nonce, expiresAt, data } = solved.challenge.parameters
      if (data.app !== appId || !(await isSolved(solved))) return false
      return spendChallenge(db, { id: nonce, expiresAt: new Date(expiresAt * 1_000) })
    },
  }
}

/** Reads the widget's payload: JSON in base64. */
function readSolved(text: string): Solved | undefined {
  try {
    return Solved.safeParse(JSON.parse(Buffer.from(text, 'base64').toString('utf8'))).data
  } catch {
    return undefined
  }
}
