import { domainToASCII } from 'node:url'
import { foldExceptJoiners, foldTyped } from '../core/input/fold'
import { domainShape } from '../core/messages/autofill'
import { Problem } from './problem'

/** In octets (RFC 5321, section 4.5.3.1); the whole address has to fit into a path of 256 with its brackets. */
const longest = { local: 64, domain: 253, address: 254 } as const

const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
const dotAtom = new RegExp(`^${atom}(\\.${atom})*$`)
/** Japanese carriers gave out addresses with dots in a row or at the end, before they kept to the standard. */
const dotted = new RegExp(`^${atom}(\\.+${atom})*\\.*$`)
const dottedDomains =
  /^(docomo|([a-z]+\.)?ezweb|softbank|disney|([a-z]|jp-[a-z])\.vodafone|jp-[a-z]|([a-z0-9]+\.)?pdx|wcm|ymobile|emnet)\.ne\.jp$|^(i\.softbank|uqmobile)\.jp$|^(au|willcom)\.com$/

/**
 * Reads an e-mail address as RFC 5321 has it: a dot-atom and a domain, whose letters may be of any script (IDNA). It is
 * given back in one form, in small letters and with the domain in ASCII, which limits and indexes go by.
 * @throws {Problem} INVALID_EMAIL
 */
export function readEmail(text: string): string {
  const typed = foldExceptJoiners(text).trim()
  const at = typed.lastIndexOf('@')
  if (at < 0) throw refuse('An e-mail address has an @.')
  const local = foldTyped(typed.slice(0, at)).toLowerCase()
  const domain = readDomainName(typed.slice(at + 1))
  if (domain === undefined) throw refuse('There can be no such domain after the @.')
  if (local.startsWith('"')) throw refuse('Quoted names before the @ are not sent to.')
  if (/[^ -~]/.test(local)) throw refuse('Before the @ only letters of ASCII are sent to.')
  if (!(dottedDomains.test(domain) ? dotted : dotAtom).test(local))
    throw refuse('What is before the @ is no name of a mailbox.')
  const address = `${local}@${domain}`
  if (local.length > longest.local || address.length > longest.address)
    throw refuse(
      `An address has at most ${longest.address} characters, ${longest.local} of them before the @.`,
    )
  return address
}

const refuse = (detail: string) => new Problem('INVALID_EMAIL', { detail })

/**
 * A domain in the form that is compared, `xn--e1aybc.example` for `тест.example`.
 * @param text may hold joiners, which are part of some scripts' domains
 * @returns undefined for what can be no registered domain
 */
export function readDomainName(text: string): string | undefined {
  // The full stop of a sentence, or that of the root.
  const written = text.trim().toLowerCase().replace(/\.$/, '')
  // Node's function reads URLs: of ASCII it would take escapes, and other ways to write an IP address.
  const isAscii = /^[ -~]*$/.test(written)
  const domain = isAscii ? written : domainToASCII(written) || domainToASCII(foldTyped(written))
  return domain.length <= longest.domain && domainShape.test(domain) ? domain : undefined
}
