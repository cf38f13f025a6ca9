import { Webhook, WebhookVerificationError } from 'standardwebhooks'
import { ForgedCallback, type InboundCallback } from './provider'

/** Signature headers of an outgoing body, as Standard Webhooks defines them. */
export function signatureHeaders(webhook: Webhook, id: string, body: string) {
  const at = new Date()
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': webhook.sign(id, at, body),
  }
}

/** @throws {ForgedCallback} when the signature is missing, wrong or older than five minutes. */
export function checkSignature(webhook: Webhook, { headers, body }: InboundCallback): void {
  const single = Object.entries(headers).filter((header): header is [string, string] => {
    return typeof header[1] === 'string'
  })
  try {
    webhook.verify(body, Object.fromEntries(single), { jsonParse: false })
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error
    throw new ForgedCallback(`The callback is not authentic: ${error.message}.`, { cause: error })
  }
}
