import { type CodeMeaning, type CodeTable, codeTable, meanings } from '../error-codes'

const { badNumber, elsewhere, credentials, setup, throttled, outage, unknown } = meanings

/** A server's refusal: its reply, and what it was the reply to. */
export interface Refusal {
  /** RFC 5321, section 4.2. */
  code: number
  /** RFC 3463, such as `5.1.1`, where the server sends one. */
  enhanced?: string | undefined
  /** Nodemailer's word for the command that was refused, such as `RCPT TO`. */
  command?: string | undefined
}

/**
 * Enhanced status codes (RFC 3463; 5.7.x also RFC 5248, 7372), which say more than the three digits, and the three digits
 * where a server sends none.
 */
export const smtpCodes: CodeTable = codeTable(
  // No such mailbox or domain, bad syntax, moved away, a domain that takes no mail (RFC 7505), mailbox disabled.
  [badNumber, '5.1.0', '5.1.1', '5.1.2', '5.1.3', '5.1.6', '5.1.10', '5.2.1'],
  // No mailbox; a host, or a domain, that takes no mail (RFC 7504).
  [badNumber, 550, 551, 553, 521, 556],
  // The mailbox is full, the mail too long for it.
  [elsewhere, '5.2.2', '5.2.3', '5.3.4'],
  [credentials, '5.7.8', '5.7.9', 530, 534, 535, 538],
  // The sender's address; SPF, and neither SPF nor DKIM; may not send as this sender.
  [setup, '5.1.7', '5.1.8', '5.7.23', '5.7.26', '5.7.60'],
)

/** Commands that are about the sender: a lasting refusal of one is the account's fault. */
const aboutSender = new Set(['CONN', 'EHLO', 'HELO', 'STARTTLS', 'MAIL FROM'])

/** A mailbox that cannot take it now, greylisting included: what the reply to a recipient says is about that one. */
const isOfMailbox = ({ enhanced = '', command = '' }: Refusal): boolean =>
  /^[45]\.2\./.test(enhanced) || /^[45]\.1\.(?![78]$)/.test(enhanced) || command === 'RCPT TO'

/**
 * What a refusal means. Not known: for now, `unavailable`; for good, `unroutable`, since filters refuse by every code
 * there is and neither the address nor the account need be at fault.
 */
export function meaningOfRefusal(refusal: Refusal): CodeMeaning {
  const { code, enhanced = '', command = '' } = refusal
  if (code < 500) {
    // Greylisting and limits on the rate.
    const meaning = enhanced.startsWith('4.7.') ? throttled : outage
    return isOfMailbox(refusal) ? { ...meaning, about: 'number' } : meaning
  }
  const named = smtpCodes.get(enhanced)
  if (named) return named
  if (command.startsWith('AUTH') || aboutSender.has(command)) return setup
  return (enhanced === '' && smtpCodes.get(String(code))) || unknown
}

/** The refusal in a server's reply, `550 5.1.1 …`; nothing else of the text is read. */
export function refusalIn(reply: string, command?: string): Refusal | undefined {
  const [, code, enhanced] = /^([45]\d\d)(?:[ -]([45]\.\d{1,3}\.\d{1,3})\b)?/.exec(reply) ?? []
  return code === undefined ? undefined : { code: Number(code), enhanced, command }
}
