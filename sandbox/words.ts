/** What the sandbox reports about a message, in the order in which it happens to one. */
export const statuses = [
  'accepted',
  'queued',
  'sent',
  'ringing',
  'delivered',
  'dialled',
  'answered',
  'read',
  'declined',
  'failed',
  'expired',
] as const
export type Status = (typeof statuses)[number]

/** Position in a message's life: tells a late callback from a new one. */
export const sequenceOf = (status: Status): number => statuses.indexOf(status)

/**
 * A phone number as people write it (`+`, `00` or nothing in front) or an e-mail address, in one form.
 * A raw `+` in a query arrives as a space and is trimmed away.
 */
export function readAddress(raw: unknown): string | undefined {
  if (typeof raw !== 'string' || raw.length > 254) return undefined
  const text = raw.trim()
  if (text.includes('@')) return /^[^\s@]+@[^\s@]+$/.test(text) ? text.toLowerCase() : undefined
  const digits = text.replace(/[\s().-]/g, '').replace(/^(\+|00)/, '')
  return /^[1-9]\d{4,14}$/.test(digits) ? `+${digits}` : undefined
}

/** Names of provider accounts; no phone number or address looks like one. */
export const accountPattern = /^[a-z][a-z0-9-]{0,39}$/
