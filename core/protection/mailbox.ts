import type { RecipientKind } from '../channel'
import { spellingsOf } from '../recipients/subscriber'

/**
 * Domains of one provider, by the one that stands for them: whoever has a name at one of them has it at the others, or
 * nobody has. Google, Apple, Proton and Yandex say so in their help pages.
 */
const sameDomains: Readonly<Record<string, string>> = {
  'gmail.com': 'googlemail.com',
  'icloud.com': 'me.com mac.com',
  'proton.me': 'protonmail.com protonmail.ch pm.me',
  'yandex.ru': 'ya.ru yandex.com yandex.by yandex.kz yandex.ua',
}
const domainFor: ReadonlyMap<string, string> = new Map(
  Object.entries(sameDomains).flatMap(([main, others]) =>
    others.split(' ').map((other) => [other, main] as const),
  ),
)

/** The domain of an e-mail address, in lower case. */
export const domainOf = (address: string): string =>
  address.slice(address.lastIndexOf('@') + 1).toLowerCase()

/**
 * What a recipient's limits are counted under: a phone number as its plan of today spells it; of an e-mail address the
 * mailbox that its messages arrive in, so that one mailbox does not get as many codes as it has spellings. A sub-address
 * (`+tag`) and case are dropped everywhere, dots at Gmail, which ignores them; other domains tell `a.b` from `ab`. Domains
 * of one provider that share their names are one. Only for counting: a code goes to, and is checked by, the address as it
 * was typed.
 */
export function limitKeyOf({ kind, value }: { kind: RecipientKind; value: string }): string {
  if (kind === 'phone') return spellingsOf(value)[0] ?? value
  const domain = domainFor.get(domainOf(value)) ?? domainOf(value)
  const local = value.slice(0, value.lastIndexOf('@')).toLowerCase()
  // An address that begins with + has no mailbox without it.
  const plus = local.indexOf('+', 1)
  const user = plus < 0 ? local : local.slice(0, plus)
  return `${(domain === 'gmail.com' && user.replaceAll('.', '')) || user}@${domain}`
}
