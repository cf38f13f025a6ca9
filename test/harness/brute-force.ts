import { createHmac, hash } from 'node:crypto'
import type { Place } from './leaks'

/** Digests that somebody without our keys would try first. */
const algorithms = ['md5', 'sha1', 'sha224', 'sha256', 'sha512'] as const
const digestBytes = new Set([16, 20, 28, 32, 64])

/** What a thief finds beside a digest and may have to add to a guess. */
export interface Surroundings {
  /** Ids, numbers and other texts of the same row. */
  texts: string[]
  /** Random bytes of the same row. */
  salts: Buffer[]
}

/** Everything in a dump that may be a digest, as hex, with the places that hold it. */
export function digestsIn(places: readonly Place[]): Map<string, string> {
  const found = new Map<string, string>()
  const note = (bytes: Buffer, name: string) => {
    if (digestBytes.has(bytes.length)) found.set(bytes.toString('hex'), name)
  }
  for (const { name, text } of places) {
    for (const [token] of text.matchAll(/[0-9a-f]{32,}/gi)) note(Buffer.from(token, 'hex'), name)
    for (const [token] of text.matchAll(/[A-Za-z0-9+/_-]{21,}={0,2}/g))
      note(Buffer.from(token, 'base64'), name)
  }
  return found
}

/**
 * Tries every candidate against every digest: bare, beside each text and salt, and under HMAC with each salt.
 * @returns where a digest gave way, and to what
 */
export function bruteForce(
  digests: ReadonlyMap<string, string>,
  candidates: Iterable<string>,
  { texts, salts }: Surroundings,
): { name: string; candidate: string }[] {
  const cracked: { name: string; candidate: string }[] = []
  const look = (digest: string, candidate: string) => {
    const name = digests.get(digest)
    if (name !== undefined) cracked.push({ name, candidate })
  }
  const prefixes = salts.flatMap((salt) => [salt.toString('latin1'), salt.toString('hex')])
  for (const candidate of candidates) {
    const forms = [
      candidate,
      ...texts.flatMap((text) => [text + candidate, candidate + text]),
      ...prefixes.map((prefix) => prefix + candidate),
    ]
    for (const form of forms) {
      const bytes = Buffer.from(form, 'latin1')
      for (const algorithm of algorithms) look(hash(algorithm, bytes, 'hex'), candidate)
    }
    for (const salt of salts)
      look(createHmac('sha256', salt).update(candidate).digest('hex'), candidate)
  }
  return cracked
}

/** All decimal numbers of so many digits, after a prefix. */
export function* allNumbers(digits: number, prefix = ''): Generator<string> {
  for (let value = 0; value < 10 ** digits; value++)
    yield prefix + String(value).padStart(digits, '0')
}
