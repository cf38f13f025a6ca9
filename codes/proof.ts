import { createHmac, hkdfSync } from 'node:crypto'
import type { Keyring } from './keyring'

/**
 * What only the page that gave the right code is told of a request. Its id is not enough to tell that page by: another
 * one that sent to the same number meanwhile got the same live request.
 */
export function proofOf(keyring: Keyring, requestId: string): string {
  const { key } = keyring.active('cookies')
  const secret = Buffer.from(hkdfSync('sha256', key, '', 'proof/v1', 32))
  return createHmac('sha256', secret).update(requestId).digest('base64url')
}
