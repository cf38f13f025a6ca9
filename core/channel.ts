/** The ways a code can reach a recipient. */
export const channels = ['sms', 'voice', 'whatsapp', 'ussd', 'email'] as const
export type Channel = (typeof channels)[number]

export const recipientKinds = ['phone', 'email'] as const
export type RecipientKind = (typeof recipientKinds)[number]

/** Which kind of address a channel sends to. */
export const addressOf = (channel: Channel): RecipientKind =>
  channel === 'email' ? 'email' : 'phone'

/**
 * What a verified code proves (NIST SP 800-63B-4, 3.1.3): over the telephone network a restricted authenticator; by
 * e-mail none at all, only that the contact works; of a test number nothing, since no message was sent.
 */
export const assurances = ['restricted', 'contact_check', 'none'] as const
export type Assurance = (typeof assurances)[number]

export function assuranceOf({ channel, isTest }: { channel: Channel; isTest: boolean }): Assurance {
  if (isTest) return 'none'
  return addressOf(channel) === 'email' ? 'contact_check' : 'restricted'
}
