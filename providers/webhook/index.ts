import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { signatureHeaders } from '../../codes/standard-webhook'
import { type AccountBase, adapter } from '../adapter'
import { Accepted, acceptedBody, ownCodes } from '../answer'
import { postJson } from '../http'
import type { Message, ProviderAccount } from '../provider'
import { webhookSecret, webhooksOf } from '../standard-webhook'

const settings = z.object({
  GATEWAY_URL: z.url({ protocol: /^https?$/, error: 'must be an http or https address' }),
  GATEWAY_SECRET: webhookSecret,
  RECEIPT_SECRET: webhookSecret.optional(),
})

/** Hands messages to a gateway of the operator's own, as signed JSON; receipts come to `/webhooks/otp-status`. */
export const webhook = adapter({
  name: 'webhook',
  channels: ['sms', 'voice', 'whatsapp', 'email'],
  settings,
  codes: ownCodes,
  prefix: 'OTPILOT',
  create: (account, given, { dispatcher }) => createAccount(account, given, dispatcher),
})

function createAccount(
  { name, channels, test }: AccountBase,
  {
    GATEWAY_URL: url,
    GATEWAY_SECRET: secret,
    RECEIPT_SECRET: receiptSecret,
  }: z.infer<typeof settings>,
  dispatcher: Dispatcher,
): ProviderAccount {
  const webhooks = webhooksOf(secret)

  async function send(message: Message, signal: AbortSignal) {
    const body = JSON.stringify(wireMessage(message))
    // The attempt's id as webhook-id lets a gateway drop a message that it already has.
    const headers = signatureHeaders(webhooks, { id: message.attemptId, body })
    const post = { url, headers, body, notAfter: message.notAfter }
    const answer = await postJson(dispatcher, post, signal)
    const { id, cost } = Accepted.parse(acceptedBody(answer))
    return { providerMessageId: id ?? message.attemptId, cost }
  }

  return {
    name,
    adapter: 'webhook',
    channels,
    test,
    sender: { send },
    ...(receiptSecret && { receiptSecret }),
  }
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
