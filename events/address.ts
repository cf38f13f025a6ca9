import { type LookupAddress, lookup as systemLookup } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { callbackify } from 'node:util'
import ipaddr from 'ipaddr.js'

/** Where calls of ours may go. Development reaches receivers on this machine, also without TLS. */
export interface Reach {
  isProduction: boolean
}

/** An address that nothing of ours may connect to. */
export class AddressRefused extends Error {
  override name = 'AddressRefused'
  readonly code = 'ADDRESS_REFUSED'
}

/** All that IPv6 has given out for the public internet; ipaddr.js calls the unassigned rest unicast too. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')

/** Public by its number only: machines of Azure reach services of their host there. */
const reachedInside = '168.63.129.16'

/** Whether an IP address, in any of its spellings, is one of the public internet. */
export function isReachable(address: string, { isProduction }: Reach): boolean {
  if (!ipaddr.isValid(address)) return false
  const plain = ipaddr.process(address)
  const range = plain.range()
  if (!isProduction && range === 'loopback') return true
  if (range !== 'unicast' || plain.toString() === reachedInside) return false
  return plain.kind() === 'ipv4' || plain.match(globalUnicast)
}

/** Below these live other protocols, which nobody wants to be made to speak to. */
const firstFreePort = 1024

/**
 * What is wrong with a URL as it is written, as a sentence; undefined: nothing. Where its name leads to is checked when
 * the socket is opened.
 */
export function faultOfUrl(text: string, reach: Reach): string | undefined {
  const url = URL.parse(text)
  if (!url) return 'This is no URL.'
  const schemes = reach.isProduction ? ['https:'] : ['https:', 'http:']
  if (!schemes.includes(url.protocol)) return 'Only https addresses are called.'
  if (url.username || url.password) return 'The URL must not hold a name or a password.'
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80))
  const isOwnPort = url.port === '' || port === 443
  if (!isOwnPort && port < firstFreePort) return 'The port must be 443, or 1024 and above.'
  const literal = literalOf(url.hostname)
  if (literal !== undefined && !isReachable(literal, reach))
    return 'This is not an address of the public internet.'
  return undefined
}

/** The address that a URL's host is, when it is not a name. `URL` has made plain IPv4 of every odd spelling. */
export function literalOf(host: string): string | undefined {
  const bare = host.replace(/^\[|\]$/g, '')
  return isIP(bare) ? bare : undefined
}

/** A name server has this long to answer, in milliseconds, and is asked once. */
const nameServerMs = 2_000

/**
 * Asks the name servers, and nobody else. The system's look-up has a few threads for all of the process: names whose
 * servers never answer would keep it from every other name, those of providers and of Postgres too.
 * @param servers instead of those that the machine knows
 */
export function resolverLookup(servers?: readonly string[]): LookupFunction {
  const ask = callbackify(askNameServers)
  return (host, _options, done) =>
    ask(host, servers, (error, found) => (error ? done(error, []) : done(null, found)))
}

/** @throws when no name server knows an address in time */
async function askNameServers(
  host: string,
  servers: readonly string[] | undefined,
): Promise<LookupAddress[]> {
  // This machine by definition; no name server is to say otherwise.
  if (/(^|\.)localhost\.?$/i.test(host)) return [{ address: '127.0.0.1', family: 4 }]
  // A new one for each name knows the name servers of now.
  const resolver = new Resolver({ timeout: nameServerMs, tries: 1 })
  if (servers) resolver.setServers(servers)
  const [four, six] = await Promise.all([
    resolver.resolve4(host).catch(() => []),
    resolver.resolve6(host).catch(() => []),
  ])
  const found = [
    ...four.map((address) => ({ address, family: 4 })),
    ...six.map((address) => ({ address, family: 6 })),
  ]
  if (found.length === 0)
    throw Object.assign(new Error('The name leads nowhere.'), { code: 'ENOTFOUND' })
  return found
}

/** In development names of the machine's own are known too, as those in /etc/hosts. */
const lookupFor = ({ isProduction }: Reach): LookupFunction =>
  isProduction ? resolverLookup() : systemLookup

/**
 * The lookup that a socket makes itself: there is no second one that could be answered differently. One address that
 * is not allowed spoils the name.
 */
export function guardLookup(reach: Reach, lookup = lookupFor(reach)): LookupFunction {
  return (host, options, done) => {
    lookup(host, { ...options, all: true }, (error, found) => {
      if (error) return done(error, [])
      const addresses = Array.isArray(found) ? found : []
      const [first] = addresses
      if (!first || !addresses.every(({ address }) => isReachable(address, reach)))
        return done(new AddressRefused('The name leads to an address that is not allowed.'), [])
      if (options.all) done(null, addresses)
      else done(null, first.address, first.family)
    })
  }
}

const patienceMs = 2_000

/** Whether a name leads to an address that is not allowed now. One that leads nowhere may do so later. */
export function leadsAstray(host: string, reach: Reach, lookup?: LookupFunction): Promise<boolean> {
  const answered = new Promise<boolean>((resolve) => {
    guardLookup(reach, lookup)(host, { all: true }, (error) =>
      resolve(error instanceof AddressRefused),
    )
    setTimeout(resolve, patienceMs, false).unref()
  })
  return answered
}
