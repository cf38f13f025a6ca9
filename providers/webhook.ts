import { Webhook } from 'standardwebhooks'
import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { acceptedBody, postJson } from './http'
import type { Message, ProviderAccount } from './provider'
import { signatureHeaders } from './standard-webhook'

const Accepted = z.object({
  id: z.string().min(1).max(200).optional().catch(undefined),
  cost: z.object({ amount: z.string(), currency: z.string() }).optional().catch(undefined),
})

type Account = Pick<ProviderAccount, 'name' | 'channels' | 'test'>

/** Hands messages to a gateway of the operator's own, as signed JSON; receipts come to `/webhooks/otp-status`. */
export function createWebhookAccount(
  { name, channels, test }: Account,
  { url, secret, receiptSecret }: { url: string; secret: string; receiptSecret?: string },
  dispatcher: Dispatcher,
): ProviderAccount {
  const webhook = new Webhook(secret)

  async function send(message: Message, signal: AbortSignal) {
    const body = JSON.stringify(wireMessage(message))
    // The attempt's id as webhook-id lets a gateway drop a message that it already has.
    const headers = signatureHeaders(webhook, message.attemptId, body)
    const answer = await postJson(dispatcher, { url, headers, body }, signal)
    const { data } = Accepted.safeParse(acceptedBody(answer))
    return { providerMessageId: data?.id ?? message.attemptId, cost: data?.cost }
  }

  return { name, adapter: 'webhook', channels, test, sender: { send }, receiptSecret }
}

const wireMessage = (message: Message) => ({
  type: 'otp.message',
  request_id: message.requestId,
  attempt_id: message.attemptId,
  channel: message.channel,
  to: message.to,
  text: message.text,
  code: message.code,
  locale: message.locale,
  brand: message.brand,
  valid_for_seconds: message.validForSeconds,
  receipt_url: new URL('/webhooks/otp-status', message.callbackUrl).href,
})
