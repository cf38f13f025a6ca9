/** Why a message was not sent although its claim was in order: the step ends, and the plan goes on. */
export const messageSkips = [
  /** The number, or the mailbox, has got as many messages as it may. */
  'message_cap',
  /** A block or a list keeps the recipient from getting more. */
  'blocked',
] as const
export type MessageSkip = (typeof messageSkips)[number]
