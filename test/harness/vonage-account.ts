import { generateKeyPairSync } from 'node:crypto'
import type { AccountConfig } from '../../providers'

export const vonageConfig: AccountConfig = {
  name: 'vonage',
  adapter: 'vonage',
  channels: ['sms', 'voice', 'whatsapp'],
  test: false,
}
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
/** Of the application's tokens. */
export const applicationKey = publicKey
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
/** Signs callbacks. */
export const signatureSecret = 'a-signature-secret-of-32-letters'
/** An account with all three channels. */
export const vonageVariables = {
  VONAGE_API_KEY: 'abcd1234',
  VONAGE_API_SECRET: 'a-secret',
  VONAGE_APPLICATION_ID: 'app-1',
  VONAGE_PRIVATE_KEY: pem,
  VONAGE_SIGNATURE_SECRET: signatureSecret,
  VONAGE_SMS_FROM: 'Acme',
  VONAGE_VOICE_FROM: '+447700900001',
  VONAGE_WHATSAPP_FROM: '447700900002',
  VONAGE_WHATSAPP_TEMPLATE: 'otp_code',
  VONAGE_WHATSAPP_LANGUAGES: 'en_US, fr, pt_BR',
}
