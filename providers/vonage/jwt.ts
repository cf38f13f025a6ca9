import { createHash, createHmac, type KeyObject, randomUUID, timingSafeEqual } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose'
import { z } from 'zod'
import { ForgedCallback, type InboundCallback } from '../provider'

/** One call's worth and some clock skew; Vonage's own libraries take 900 s (providers.md section 2 [S]). */
const appTokenLife = '5m'
/** Vonage's tokens have no `exp` (section 2 [S]). */
const maxAgeSeconds = 300

/** What authorizes one call of the application's. */
export const appToken = (application: { id: string; key: KeyObject }): Promise<string> =>
  new SignJWT({ application_id: application.id })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
    .setIssuedAt()
    .setExpirationTime(appTokenLife)
    .setJti(randomUUID())
    .sign(application.key)

const Claims = z.object({
  iat: z.number(),
  api_key: z.string(),
  payload_hash: z.string(),
})

/**
 * Checks the token that Vonage signs a callback with (providers.md section 2 [S]): HS256 and nothing else, by a secret
 * of the account that it names, over exactly this body, and young. That a token is used twice does no harm: the hash
 * ties it to its body, so whoever repeats it repeats an event that is already recorded.
 * @throws {ForgedCallback} for anything else, a callback without a token too.
 */
export function checkVonageSignature(
  { headers, body }: InboundCallback,
  { apiKey, secrets }: { apiKey: string; secrets: readonly string[] },
): void {
  const { authorization } = headers
  const token =
    typeof authorization === 'string' ? /^Bearer (\S+)$/i.exec(authorization)?.[1] : undefined
  if (token === undefined) throw new ForgedCallback('The callback has no token.')
  const { alg, claims } = read(token)
  // Decided here and not by the token: else the public key, or none, could be its secret.
  if (alg !== 'HS256' || !secrets.some((secret) => isSignedWith(token, secret)))
    throw new ForgedCallback('The callback’s token has no valid signature.')
  if (!claims || claims.api_key !== apiKey)
    throw new ForgedCallback('The callback’s token is not one of this account’s.')
  const hash = createHash('sha256').update(body).digest('hex')
  if (!isEqual(claims.payload_hash.toLowerCase(), hash))
    throw new ForgedCallback('The callback’s token was made for another body.')
  if (Math.abs(Date.now() / 1_000 - claims.iat) > maxAgeSeconds)
    throw new ForgedCallback('The callback’s token was not made just now.')
}

/** What a token says, before anything of it is believed. */
function read(token: string) {
  try {
    return {
      alg: decodeProtectedHeader(token).alg,
      claims: Claims.safeParse(decodeJwt(token)).data,
    }
  } catch (cause) {
    throw new ForgedCallback('The callback’s token cannot be read.', { cause })
  }
}

/** By node:crypto, because `jose` verifies asynchronously only. */
function isSignedWith(token: string, secret: string): boolean {
  const end = token.lastIndexOf('.')
  const made = createHmac('sha256', secret).update(token.slice(0, end)).digest('base64url')
  return isEqual(token.slice(end + 1), made)
}

function isEqual(given: string, made: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(made)]
  return a.length === b.length && timingSafeEqual(a, b)
}
