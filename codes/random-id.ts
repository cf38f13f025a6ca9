import { createHash, randomBytes } from 'node:crypto'

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

/** `prefix_` and 130 random bits in lower-case base32 (RFC 4648 alphabet, no padding). */
export function randomId(prefix: string): string {
  const characters = Array.from(randomBytes(26), (byte) => alphabet[byte & 31])
  return `${prefix}_${characters.join('')}`
}

/**
 * An id that is the same for the same claim, so that a repeated insert meets its own row.
 * Not secret: never use it as a token.
 */
export const derivedId = (prefix: string, ...parts: (string | number)[]): string =>
  `${prefix}_${createHash('sha256').update(parts.join('|')).digest('hex').slice(0, 32)}`

/** A callback token: 128 random bits, URL-safe. */
export const callbackToken = (): string => randomBytes(16).toString('base64url')
