import { createHash, timingSafeEqual } from 'node:crypto'
import ipaddr from 'ipaddr.js'
import { z } from 'zod'
import { type CallbackHead, ForgedCallback } from './provider'

type Network = ReturnType<typeof ipaddr.parseCIDR>

/** How a provider that signs nothing is told from everybody else. */
export interface PathSecret {
  /** Any of them is good: two while one is being replaced. */
  secrets: readonly string[]
  /** Where callbacks may come from; none means anywhere. */
  networks: readonly Network[]
}

/** The secret in a callback address, of at least 128 bits; two separated by a blank while one is being replaced. */
export const pathSecrets = z
  .string()
  .regex(
    /^[\w-]{22,128}( [\w-]{22,128})?$/,
    'must be 22 or more letters, digits, - and _, or two of these separated by a blank',
  )
  .transform((text) => text.split(' '))

/** Addresses and networks separated by commas, such as `192.0.2.7,2001:db8::/32`; none when absent. */
export const networks = z
  .string()
  .default('')
  .transform((text, context): Network[] => {
    const parts = text.split(',').map((part) => part.trim())
    const read = parts.filter((part) => part !== '').map(readNetwork)
    const known = read.filter((network) => network !== undefined)
    if (known.length < read.length)
      context.addIssue({ code: 'custom', message: 'must be addresses or networks, with commas' })
    return known
  })

function readNetwork(text: string): Network | undefined {
  // The short forms of IPv4 (`10.1`) mean something else to everybody.
  if (!/^(\d+\.\d+\.\d+\.\d+|[\da-f:.]*:[\da-f:.]*)(\/\d{1,3})?$/i.test(text)) return undefined
  try {
    if (text.includes('/')) return ipaddr.parseCIDR(text)
    const address = ipaddr.parse(text)
    return [address, address.kind() === 'ipv4' ? 32 : 128]
  } catch {
    return undefined
  }
}

/**
 * Lets a callback pass that came to the address with the secret, from where the provider calls from.
 * @throws {ForgedCallback} for any other.
 */
export function checkPathSecret(
  { secrets, networks: allowed }: PathSecret,
  { pathSecret = '', clientIp }: CallbackHead,
): void {
  // Digests are of one length, and each is compared: neither tells how much of a guess was right.
  const given = digest(pathSecret)
  const right = secrets.map((secret) => timingSafeEqual(given, digest(secret)))
  if (!right.includes(true)) throw new ForgedCallback('The address does not hold the secret.')
  if (allowed.length > 0 && !isWithin(allowed, clientIp))
    throw new ForgedCallback('The callback comes from an address that is not allowed.')
}

const digest = (text: string) => createHash('sha256').update(text).digest()

function isWithin(allowed: readonly Network[], clientIp: string | undefined): boolean {
  if (clientIp === undefined || !ipaddr.isValid(clientIp)) return false
  // An IPv4 address may come as `::ffff:192.0.2.7`.
  const address = ipaddr.process(clientIp)
  return allowed.some(
    ([network, bits]) => network.kind() === address.kind() && address.match(network, bits),
  )
}

/** For addresses whose answer holds a code: whoever could call them with a number or a call would be told it. */
export function requirePathSecret(
  { CALLBACK_SECRET, ALLOWED_IPS }: { CALLBACK_SECRET?: unknown; ALLOWED_IPS: readonly Network[] },
  { what, context }: { what: string; context: z.RefinementCtx },
): void {
  const missing = (name: string) =>
    context.addIssue({ code: 'custom', path: [name], message: `is needed for ${what}` })
  if (CALLBACK_SECRET === undefined) missing('CALLBACK_SECRET')
  if (ALLOWED_IPS.length === 0) missing('ALLOWED_IPS')
}
