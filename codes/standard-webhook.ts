import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'

const secretBytes = 32

/** A secret as Standard Webhooks writes it. */
export const makeSecret = (): string => `whsec_${randomBytes(secretBytes).toString('base64')}`

/**
 * The headers that prove an outgoing body, by every secret of `webhooks`: two while a receiver changes over.
 * @param id the same for every try of one message, so that a receiver can drop repeats
 */
export function signatureHeaders(
  webhooks: readonly Webhook[],
  { id, body }: { id: string; body: string },
) {
  const at = new Date()
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': webhooks.map((webhook) => webhook.sign(id, at, body)).join(' '),
  }
}
