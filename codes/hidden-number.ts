import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto'
import type { Keyring } from './keyring'

/** Which numbers: of seals, of audit rows or of decisions. */
export type NumberKind = 'audit_seal' | 'audit_event' | 'decision'

/**
 * A number that counts the rows of all apps, as one app sees it. Two plain ones would tell how many rows the other apps
 * wrote between them. A number is hidden the same way for good: audit keys stay as long as what they sealed.
 * @param number decimal, below 2^63
 * @returns decimal, below 2^128
 */
export function hideNumber(
  keyring: Keyring,
  { kind, appId }: { kind: NumberKind; appId: string },
  number: string,
): string {
  const block = Buffer.alloc(blockBytes)
  mark(kind, appId).copy(block)
  block.writeBigUInt64BE(BigInt(number), markBytes)
  const cipher = createCipheriv(algorithm, keyOf(keyring), null).setAutoPadding(false)
  return BigInt(
    `0x${Buffer.concat([cipher.update(block), cipher.final()]).toString('hex')}`,
  ).toString()
}

/** @returns the plain number; undefined for what {@link hideNumber} did not make for this app and kind */
export function readHiddenNumber(
  keyring: Keyring,
  { kind, appId }: { kind: NumberKind; appId: string },
  hidden: string,
): string | undefined {
  const hex = BigInt(hidden)
    .toString(16)
    .padStart(2 * blockBytes, '0')
  if (hex.length > 2 * blockBytes) return undefined
  const decipher = createDecipheriv(algorithm, keyOf(keyring), null).setAutoPadding(false)
  const block = Buffer.concat([decipher.update(hex, 'hex'), decipher.final()])
  if (!block.subarray(0, markBytes).equals(mark(kind, appId))) return undefined
  return block.readBigUInt64BE(markBytes).toString()
}

/** One block holds all there is, and no two numbers are equal: so no mode of operation is needed. */
const algorithm = 'aes-256-ecb'
const blockBytes = 16
const markBytes = 8

/** Tells an app's numbers from those of others, and what nobody made from what was made. */
const mark = (kind: NumberKind, appId: string): Buffer =>
  createHash('sha256').update(`${kind}|${appId}`).digest().subarray(0, markBytes)

const keyOf = (keyring: Keyring): Buffer =>
  Buffer.from(hkdfSync('sha256', keyring.oldest('audit').key, '', 'hidden-number/v1', 32))
