import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Key, Keyring } from './keyring'

/** What a vendor's challenge is solved for. */
export interface Bound {
  app: string
  action: string
  /** Whom the code is for; a challenge that was asked for before anybody said is for the app alone. */
  recipient?: string | undefined
}

const nonceBytes = 12
const macBytes = 16
const shape = /^[A-Za-z0-9_-]{38}$/

/**
 * A text for a vendor to hand back with a solved challenge. It tells the vendor nothing of the recipient, not even that
 * two are for the same one.
 */
export function makeBinding(keyring: Keyring, bound: Bound): string {
  const nonce = randomBytes(nonceBytes)
  return Buffer.concat([nonce, macOf(keyring.active('cookies'), nonce, bound)]).toString(
    'base64url',
  )
}

/** Whether a text was made for this very thing, by any key that is still held. */
export function isBinding(keyring: Keyring, text: string, bound: Bound): boolean {
  if (!shape.test(text)) return false
  const bytes = Buffer.from(text, 'base64url')
  const nonce = bytes.subarray(0, nonceBytes)
  return keyring
    .all('cookies')
    .some((key) => timingSafeEqual(bytes.subarray(nonceBytes), macOf(key, nonce, bound)))
}

const macOf = ({ key }: Key, nonce: Buffer, { app, action, recipient }: Bound): Buffer =>
  createHmac('sha256', key)
    .update('challenge/v1|binding|')
    .update(nonce)
    .update(JSON.stringify([app, action, recipient ?? null]))
    .digest()
    .subarray(0, macBytes)
