import { createProviders, type AccountConfig } from '../../providers'
import type { Variables } from '../../providers/adapter'
import type { Message, ProviderAccount } from '../../providers/provider'

const config: AccountConfig = {
  name: 'infobip',
  adapter: 'infobip',
  channels: ['sms', 'voice', 'whatsapp'],
  test: false,
}
const variables: Variables = {
  INFOBIP_API_KEY: 'an-api-key',
  INFOBIP_SMS_FROM: 'Acme',
  INFOBIP_VOICE_FROM: '+447700900011',
  INFOBIP_WHATSAPP_FROM: '447700900012',
  INFOBIP_WHATSAPP_TEMPLATE: 'otp_code',
  INFOBIP_WHATSAPP_LANGUAGES: 'en,fr',
}
/** One to send. */
export const message: Message = {
  requestId: 'otp_abc',
  attemptId: 'att_1',
  channel: 'sms',
  to: '+233241234567',
  code: '482913',
  text: 'Your code is 482913',
  locale: 'fr-CI',
  brand: 'Acme',
  callbackUrl: 'https://otp.example.com/webhooks/infobip/token',
  validForSeconds: 290,
  notAfter: Infinity,
}
export const soon = () => AbortSignal.timeout(5_000)

/** An account at Infobip, whose service is at `url`. */
export function accountAt(url: string, more: Variables = {}): ProviderAccount {
  const given = { ...variables, INFOBIP_BASE_URL: url, ...more }
  const account = createProviders([config], given).get('infobip')
  if (!account) throw new Error('no account')
  return account
}
