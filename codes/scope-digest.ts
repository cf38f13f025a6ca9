import { createHmac } from 'node:crypto'
import { blockOf } from '../core/protection/scopes'
import { circle } from '../core/protection/standing'
import type { Keyring } from './keyring'

const digestBytes = 16

/**
 * What counters know an end user's network, or a value of `rate_limit_keys`, by: in hex. It lives as long as the
 * counters do, and changes when the key `global_index` is rotated: they begin anew then.
 */
export const scopeDigest = (keyring: Keyring, kind: string, value: string): string =>
  createHmac('sha256', keyring.active('global_index').key)
    .update(`scope/v1|${kind}|${value}`)
    .digest()
    .toString('hex', 0, digestBytes)

/**
 * A number's place on the circle of its block: its last four digits, turned by a step that only the key tells. Numbers
 * that are close stay close.
 */
export const placeInBlock = (keyring: Keyring, number: string): number =>
  placeUnder(keyring.active('global_index').key, number)

/** The same under every known key: what is to be forgotten may have been counted under an older one. */
export const placesInBlock = (keyring: Keyring, number: string): number[] =>
  keyring.all('global_index').map(({ key }) => placeUnder(key, number))

function placeUnder(key: Buffer, number: string): number {
  const block = blockOf(number)
  const turn = createHmac('sha256', key).update(`place/v1|${block}`).digest().readUInt32BE(0)
  return (Number(number.slice(block.length)) + turn) % circle
}
