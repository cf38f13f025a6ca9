import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Keyring } from './keyring'

/** What a code is derived from; `salt` is wiped when the request ends. */
export interface CodeSeed {
  requestId: string
  generation: number
  kid: string
  salt: Buffer
  /** Digits, 6 to 10. */
  length: number
}

export const makeSalt = (): Buffer => randomBytes(16)

/**
 * The code of a request: the same at every call, so that a retry after a crash sends the same one.
 * Rejection sampling keeps every digit equally likely.
 * @throws {UnknownKey}
 */
export function deriveCode(keyring: Keyring, seed: CodeSeed): string {
  const { key } = keyring.find('codes', seed.kid)
  const count = 10n ** BigInt(seed.length)
  const limit = (2n ** 64n / count) * count
  for (let counter = 0; ; counter++) {
    const info = `otp/v1|${seed.requestId}|${seed.generation}|${seed.length}|${counter}`
    const value = Buffer.from(hkdfSync('sha256', key, seed.salt, info, 8)).readBigUInt64BE()
    if (value < limit) return (value % count).toString().padStart(seed.length, '0')
  }
}

/**
 * Keyed digest of a code, 32 bytes: without the key a stolen table cannot be tried out.
 * @throws {UnknownKey}
 */
export function macOfCode(
  keyring: Keyring,
  { requestId, generation, kid }: Pick<CodeSeed, 'requestId' | 'generation' | 'kid'>,
  code: string,
): Buffer {
  const { key } = keyring.find('codes', kid)
  return createHmac('sha256', key).update(`check/v1|${requestId}|${generation}|${code}`).digest()
}

/** Constant-time comparison of two 32-byte digests; false when either is absent. */
export function macsMatch(a: Buffer | null, b: Buffer | null): boolean {
  return a?.length === 32 && b?.length === 32 && timingSafeEqual(a, b)
}
