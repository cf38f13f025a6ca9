import type { RecipientKind } from './channel'

/** Two names of one domain: an address at the one is the same mailbox at the other. */
const gmailDomains: readonly string[] = ['gmail.com', 'googlemail.com']

/** The domain of an e-mail address, in lower case. */
export const domainOf = (address: string): string =>
  address.slice(address.lastIndexOf('@') + 1).toLowerCase()

/**
 * What a recipient's limits are counted under: a phone number as it is; of an e-mail address the mailbox that its
 * messages arrive in, so that one mailbox does not get as many codes as it has spellings. A sub-address (`+tag`) and case
 * are dropped everywhere, dots at Gmail, which ignores them; other domains tell `a.b` from `ab`. Only for counting: a code
 * goes to, and is checked by, the address as it was typed.
 */
export function limitKeyOf({ kind, value }: { kind: RecipientKind; value: string }): string {
  if (kind === 'phone') return value
  const domain = domainOf(value)
  const local = value.slice(0, value.lastIndexOf('@')).toLowerCase()
  // An address that begins with + has no mailbox without it.
  const plus = local.indexOf('+', 1)
  const user = plus < 0 ? local : local.slice(0, plus)
  if (!gmailDomains.includes(domain)) return `${user}@${domain}`
  return `${user.replaceAll('.', '') || user}@gmail.com`
}
