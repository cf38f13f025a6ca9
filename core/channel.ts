/** The ways a code can reach a recipient. */
export const channels = ['sms', 'voice', 'whatsapp', 'ussd', 'email'] as const
export type Channel = (typeof channels)[number]

export const recipientKinds = ['phone', 'email'] as const
export type RecipientKind = (typeof recipientKinds)[number]

/** Which kind of address a channel sends to. */
export const addressOf = (channel: Channel): RecipientKind =>
  channel === 'email' ? 'email' : 'phone'
