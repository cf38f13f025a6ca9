import { expect } from '@jest/globals'
import { createProviders, type AccountConfig } from '../../providers'
import type { Variables } from '../../providers/adapter'
import { type Message, ProviderFault, StaleClaim } from '../../providers/provider'

/** The shipped account. */
export const config: AccountConfig = {
  name: 'smtp',
  adapter: 'smtp',
  channels: ['email'],
  test: false,
}
/** One to send. */
export const message: Message = {
  requestId: 'otp_abc',
  attemptId: 'att_1',
  channel: 'email',
  to: 'ama@example.org',
  code: '482913',
  text: 'Your code is 482913. É bom.',
  locale: 'en',
  brand: 'Acme',
  callbackUrl: 'https://otp.example.com/webhooks/smtp/token',
  validForSeconds: 300,
  notAfter: Infinity,
}

/** An account whose mail server is at this port of 127.0.0.1. */
export const accountAt = (port: number, more: Variables = {}) => {
  const account = createProviders([config], {
    SMTP_HOST: '127.0.0.1',
    SMTP_PORT: String(port),
    SMTP_TLS: 'off',
    SMTP_FROM: 'Acme <otp@example.com>',
    ...more,
  }).get('smtp')
  if (!account) throw new Error('no account')
  return account
}
/** In one word; a fault holds nothing of the mail. */
export const outcome = (sending: Promise<unknown>) =>
  sending.then(
    () => 'accepted',
    (error: unknown) => {
      if (!(error instanceof ProviderFault)) throw error
      expect(`${error.message} ${JSON.stringify(error)}`).not.toMatch(/482913|ama@|example\.org/)
      expect(error.cause).toBeUndefined()
      return error instanceof StaleClaim ? 'stale' : error.fault
    },
  )
export const soon = () => AbortSignal.timeout(5_000)
