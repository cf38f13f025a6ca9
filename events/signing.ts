import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'

const secretBytes = 32

/** A secret as Standard Webhooks writes it. */
export const makeSecret = (): string => `whsec_${randomBytes(secretBytes).toString('base64')}`

/**
 * The headers that prove a body, by every secret given: two while a receiver changes over.
 * @param id the same for every try of one event, so that a receiver can drop repeats
 */
export function signed(secrets: readonly string[], { id, body }: { id: string; body: string }) {
  const at = new Date()
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
  }
}
