import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { type Environment, isLive } from '../core/requests/state'

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const shape = /^otpk_(live|test|operator)_([0-9A-Za-z]{12})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})$/

export interface NewApiKey {
  /** Shown once; only its digest is stored. */
  key: string
  id: string
  digest: Buffer
}

/**
 * Makes `otpk_<live|test|operator>_<id>_<secret><checksum>`; the secret holds about 190 random bits. An operator's key
 * says so whatever its environment: it administers production, and nobody is to take it for one of tests.
 * @param appId null: an operator's key
 */
export function makeApiKey({
  appId,
  environment,
}: {
  appId: string | null
  environment: Environment
}): NewApiKey {
  const id = randomBase62(12)
  const ofApp = isLive(environment) ? 'live' : 'test'
  const kind = appId === null ? 'operator' : ofApp
  const body = `otpk_${kind}_${id}_${randomBase62(32)}`
  const key = body + checksum(body)
  return { key, id, digest: digestOfKey(key) }
}

/** The id inside a key, or undefined when the text is no key of ours (bad shape or checksum). */
export function idOfKey(key: string): string | undefined {
  const match = shape.exec(key)
  if (!match) return undefined
  return checksum(key.slice(0, -6)) === match[4] ? match[2] : undefined
}

/** SHA-256 is enough here: the secret has far more than 112 random bits. */
const digestOfKey = (key: string): Buffer => createHash('sha256').update(key).digest()

export const keyMatches = (key: string, digest: Buffer): boolean =>
  timingSafeEqual(digestOfKey(key), digest)

function randomBase62(length: number): string {
  let text = ''
  while (text.length < length) {
    // 248 = 4 x 62: bytes above would make the first letters likelier.
    for (const byte of randomBytes(length)) if (byte < 248) text += base62[byte % 62]
  }
  return text.slice(0, length)
}

function checksum(body: string): string {
  let value = crc32(body)
  let text = ''
  for (let i = 0; i < 6; i++) {
    text = base62[value % 62] + text
    value = Math.floor(value / 62)
  }
  return text
}
