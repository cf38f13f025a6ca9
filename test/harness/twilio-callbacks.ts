import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks'
import { createProviders } from '../../providers'
import {
  ForgedCallback,
  type InboundCallback,
  type ProviderAccount,
} from '../../providers/provider'

export const token = 'the-auth-token'
export const messageSid = `SM${'a'.repeat(32)}`
export const callSid = `CA${'a'.repeat(32)}`
export const publicUrl = 'https://otp.example.com/webhooks/twilio/Tok-en_1'

export function account(authToken = token): ProviderAccount {
  const made = createProviders(
    [{ name: 'twilio', adapter: 'twilio', channels: ['sms', 'voice'], test: false }],
    {
      TWILIO_ACCOUNT_SID: `AC${'0'.repeat(32)}`,
      TWILIO_AUTH_TOKEN: authToken,
      TWILIO_FROM: '+14155550100',
      TWILIO_VOICE_FROM: '+14155550100',
    },
  ).get('twilio')
  if (!made) throw new Error('no account')
  return made
}

export const ours = account()

export type Fields = Record<string, string | string[]>

/** A callback as Twilio makes it: the signature is the SDK's. */
export function form(
  fields: Fields,
  {
    url = publicUrl,
    signedUrl = url,
    by = token,
    headers = {},
  }: { url?: string; signedUrl?: string; by?: string; headers?: Record<string, string> } = {},
): InboundCallback {
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(fields))
    for (const each of [value].flat()) body.append(name, each)
  return {
    method: 'POST',
    url,
    headers: {
      'content-type': 'application/x-www-form-urlencoded; charset=UTF-8',
      'x-twilio-signature': getExpectedTwilioSignature(by, signedUrl, fields),
      ...headers,
    },
    body: Buffer.from(body.toString()),
  }
}

export const receiptsOf = (callback: InboundCallback, of = ours) =>
  of.receipts?.readReceipts(callback)
export const delivered = { MessageSid: messageSid, MessageStatus: 'delivered', To: '+233241234567' }
export const isRead = (callback: InboundCallback, of = ours) => {
  try {
    return receiptsOf(callback, of)?.length === 1
  } catch (error) {
    if (error instanceof ForgedCallback) return false
    throw error
  }
}
