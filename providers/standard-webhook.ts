import { createHash } from 'node:crypto'
import { Webhook, WebhookVerificationError } from 'standardwebhooks'
import { z } from 'zod'
import { ForgedCallback, type InboundCallback } from './provider'

/** Two while one is being replaced: see docs/operations.md, "Rotate keys". */
export const webhookSecret = z
  .string()
  .regex(
    /^whsec_[A-Za-z0-9+/]{32,}={0,2}( whsec_[A-Za-z0-9+/]{32,}={0,2})?$/,
    'must be whsec_ and base64, or two of them separated by one blank',
  )

/** Of one secret, or of two separated by a blank: while one is being replaced, both are good. */
export const webhooksOf = (secrets: string): Webhook[] =>
  secrets.split(' ').map((secret) => new Webhook(secret))

/** @throws {ForgedCallback} when no secret made the signature, it is missing, or older than five minutes. */
export function checkSignature(
  webhooks: readonly Webhook[],
  { headers, body }: InboundCallback,
): void {
  const single = Object.fromEntries(
    Object.entries(headers).filter((header): header is [string, string] => {
      return typeof header[1] === 'string'
    }),
  )
  const faults = webhooks.map((webhook) => faultOf(webhook, body, single))
  if (faults.includes(undefined)) return
  const [cause] = faults
  throw new ForgedCallback(`The callback is not authentic: ${cause?.message}.`, { cause })
}

function faultOf(
  webhook: Webhook,
  body: Buffer,
  headers: Record<string, string>,
): WebhookVerificationError | undefined {
  try {
    webhook.verify(body, headers, { jsonParse: false })
    return undefined
  } catch (error) {
    if (error instanceof WebhookVerificationError) return error
    throw error
  }
}

/** When a callback was signed, once its signature was checked. */
export const signedAt = ({ headers }: InboundCallback): Date =>
  new Date(Number(headers['webhook-timestamp']) * 1_000)

/** What tells a callback from all others once its signature was checked: its id is signed together with its body. */
export const signedId = ({ headers, body }: InboundCallback): string =>
  `${String(headers['webhook-id'])}.${createHash('sha256').update(body).digest('hex')}`
