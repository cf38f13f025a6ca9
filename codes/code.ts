import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { type Alphabet, charactersOf } from '../core/verify/alphabet'
import type { Keyring } from './keyring'

/** What a code is derived from; `salt` is wiped when the request ends. */
export interface CodeSeed {
  requestId: string
  generation: number
  kid: string
  salt: Buffer
  /** Characters, 6 to 10. */
  length: number
  alphabet: Alphabet
}

export const makeSalt = (): Buffer => randomBytes(16)

/**
 * The code of a request: the same at every call, so that a retry after a crash sends the same one.
 * Rejection sampling keeps every character equally likely.
 * @throws {UnknownKey}
 */
export function deriveCode(keyring: Keyring, seed: CodeSeed): string {
  const { key } = keyring.find('codes', seed.kid)
  const count = BigInt(charactersOf[seed.alphabet].length) ** BigInt(seed.length)
  const limit = (2n ** 64n / count) * count
  for (let counter = 0; ; counter++) {
    const value = Buffer.from(
      hkdfSync('sha256', key, seed.salt, infoOf(seed, counter), 8),
    ).readBigUInt64BE()
    if (value < limit) return spell(value % count, seed)
  }
}

/** Codes of digits are derived as before there were others: live requests keep theirs. */
function infoOf({ requestId, generation, length, alphabet }: CodeSeed, counter: number): string {
  const shape = alphabet === 'digits' ? `${length}` : `${length}|${alphabet}`
  return `otp/v1|${requestId}|${generation}|${shape}|${counter}`
}

function spell(value: bigint, { alphabet, length }: CodeSeed): string {
  const characters = charactersOf[alphabet]
  const base = BigInt(characters.length)
  let [rest, text] = [value, '']
  while (text.length < length) {
    text = `${characters[Number(rest % base)]}${text}`
    rest /= base
  }
  return text
}

/** A code as it was typed, as it is compared: letters may be small ones. Blanks and hyphens are gone already. */
export const normaliseCode = (typed: string, alphabet: Alphabet): string =>
  alphabet === 'alphanumeric' ? typed.toUpperCase() : typed

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

/** Where the code of a request comes from: it is derived from a key, or given beforehand. */
export type CodeSource = { kind: 'derived'; length: number } | { kind: 'fixed'; code: string }

/** The characters that a source's codes have. */
export const lengthOf = (source: CodeSource): number =>
  source.kind === 'fixed' ? source.code.length : source.length

/** The code in clear that a source has for a seed. @throws {UnknownKey} when a derived one's key is not known here */
export const codeFrom = (source: CodeSource, keyring: Keyring, seed: CodeSeed): string =>
  source.kind === 'fixed' ? source.code : deriveCode(keyring, seed)

const noMac = Buffer.alloc(32)

/** Constant-time comparison with the stored digest, made also when there is none; then false. */
export function macMatches(typed: Buffer, stored: Buffer | null): boolean {
  return timingSafeEqual(typed, stored ?? noMac) && stored !== null
}
