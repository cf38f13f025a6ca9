import { randomBytes } from 'node:crypto'

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

/** `prefix_` and 130 random bits in lower-case base32 (RFC 4648 alphabet, no padding). */
export function randomId(prefix: string): string {
  const characters = Array.from(randomBytes(26), (byte) => alphabet[byte & 31])
  return `${prefix}_${characters.join('')}`
}

/** A callback token: 128 random bits, URL-safe. */
export const callbackToken = (): string => randomBytes(16).toString('base64url')
