import type { Fault } from '../core/fault'

/** A server's refusal: its reply, and what it was the reply to. */
export interface Refusal {
  /** RFC 5321, section 4.2. */
  code: number
  /** RFC 3463, such as `5.1.1`, where the server sends one. */
  enhanced?: string | undefined
  /** Nodemailer's word for the command that was refused, such as `RCPT TO`. */
  command?: string | undefined
}

/** Enhanced status codes (RFC 3463; 5.7.x also RFC 5248, 7372): they say more than the three digits. */
const faultOfEnhanced: ReadonlyMap<string, Fault> = new Map([
  ['5.1.0', 'invalid_number'],
  ['5.1.1', 'invalid_number'], // no such mailbox
  ['5.1.2', 'invalid_number'], // no such domain
  ['5.1.3', 'invalid_number'], // bad syntax
  ['5.1.6', 'invalid_number'], // moved away
  ['5.1.10', 'invalid_number'], // the domain takes no mail (RFC 7505)
  ['5.1.7', 'config'], // the sender's address
  ['5.1.8', 'config'],
  ['5.2.1', 'invalid_number'], // mailbox disabled
  ['5.2.2', 'unroutable'], // mailbox full
  ['5.2.3', 'unroutable'], // message too long for it
  ['5.3.4', 'unroutable'],
  ['5.7.8', 'config'], // credentials
  ['5.7.9', 'config'],
  ['5.7.23', 'config'], // SPF
  ['5.7.26', 'config'], // neither SPF nor DKIM
  ['5.7.60', 'config'], // may not send as this sender
])

/** Without an enhanced code. */
const faultOfCode: ReadonlyMap<number, Fault> = new Map([
  [530, 'config'], // authentication or encryption needed
  [534, 'config'],
  [535, 'config'],
  [538, 'config'],
  [550, 'invalid_number'],
  [551, 'invalid_number'],
  [553, 'invalid_number'],
  [521, 'invalid_number'], // the host takes no mail (RFC 7504)
  [556, 'invalid_number'], // the domain takes no mail (RFC 7504)
])

/** Commands that are about the sender: a lasting refusal of one is the account's fault. */
const aboutSender = new Set(['CONN', 'EHLO', 'HELO', 'STARTTLS', 'MAIL FROM'])

/**
 * What a refusal means. Not known: for now, `unavailable`; for good, `unroutable`, since filters refuse by every code
 * there is and neither the address nor the account need be at fault.
 */
export function faultOfRefusal({ code, enhanced = '', command = '' }: Refusal): Fault {
  // Greylisting and limits on the rate.
  if (code < 500) return enhanced.startsWith('4.7.') ? 'throttled' : 'unavailable'
  const named = faultOfEnhanced.get(enhanced)
  if (named) return named
  if (command.startsWith('AUTH') || aboutSender.has(command)) return 'config'
  return (enhanced === '' && faultOfCode.get(code)) || 'unroutable'
}

/** The refusal in a server's reply, `550 5.1.1 …`; nothing else of the text is read. */
export function refusalIn(reply: string, command?: string): Refusal | undefined {
  const [, code, enhanced] = /^([45]\d\d)(?:[ -]([45]\.\d{1,3}\.\d{1,3})\b)?/.exec(reply) ?? []
  return code === undefined ? undefined : { code: Number(code), enhanced, command }
}
