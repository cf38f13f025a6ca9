import type { IncomingMessage } from 'node:http'
import { isIP, type Socket } from 'node:net'
import ipaddr from 'ipaddr.js'
import type { TrustProxy } from '../config/trust-proxy'

/** Where a call comes from. */
export interface Client {
  /** IPv4 or IPv6, never anything else: safe for an `inet` column. */
  address: string
  /** Whom limits are counted for: the IPv4 address, or the /56 that one IPv6 line is given. */
  network: string
}

type Address = ReturnType<typeof ipaddr.process>
type Peer = Pick<Socket, 'remoteAddress'>
type Asked = Pick<IncomingMessage, 'headers'> & { socket: Peer }

export interface Peers {
  /** The caller, seen through the proxies that are believed. */
  clientOf(request: Asked): Client
  /** Who holds the other end of a socket: the caller, or a proxy. */
  peerOf(socket: Peer): Client
  /** Whether that is a proxy that is believed. */
  isProxy(socket: Peer): boolean
  /** Whether a trusted proxy says that the client's connection is encrypted. */
  saysHttps(request: Asked): boolean
}

/** A socket that is gone has no address; its answer reaches nobody. */
const nowhere = ipaddr.IPv4.parse('0.0.0.0')
const ipv6LineBits = 56
/** What a provider gives to one customer at most, as a tunnel or as a site: it holds 256 lines. */
const ipv6SiteBits = 48

/**
 * Makes the reader of client addresses. Where the proxies' list is missing, too short or holds what is no
 * address, the socket's own address counts: a caller can make itself no other than who delivers its call.
 * @param trust none: what callers write into forwarding headers is ignored
 * @param onUnreadable called once, when a believed proxy writes what is no address: all of its callers count as one then
 */
export function createPeers(
  trust: TrustProxy | undefined,
  onUnreadable: () => void = () => undefined,
): Peers {
  let isTold = false
  const isTrusted = (address: Address, distance: number): boolean => {
    if (trust === undefined) return false
    if ('hops' in trust) return distance < trust.hops
    return trust.networks.some(
      ([network, bits]) => address.kind() === network.kind() && address.match(network, bits),
    )
  }
  const addressOf = (request: Asked): Address => {
    const socket = socketAddress(request.socket)
    if (!isTrusted(socket, 0)) return socket
    // Every proxy adds its caller at the right.
    const entries = String(request.headers['x-forwarded-for'] ?? '').split(',')
    const chain = entries.map(readNode).reverse()
    const end = chain.findIndex((address, index) => !address || !isTrusted(address, index + 1))
    // Inside trusted networks only: the first of them is the caller. A number of proxies has to be met, though.
    const isInside = end === -1 && trust !== undefined && 'networks' in trust
    const isUnreadable = end !== -1 && !chain[end] && entries.at(-1 - end)?.trim() !== ''
    if (isUnreadable && !isTold) {
      isTold = true
      onUnreadable()
    }
    return (isInside ? chain.at(-1) : chain[end]) ?? socket
  }
  return {
    clientOf: (request) => toClient(addressOf(request)),
    peerOf: (socket) => toClient(socketAddress(socket)),
    isProxy: (socket) => isTrusted(socketAddress(socket), 0),
    saysHttps: (request) => {
      if (!isTrusted(socketAddress(request.socket), 0)) return false
      // A proxy that adds to the list instead of replacing it leaves what the caller wrote at the left.
      const said = String(request.headers['x-forwarded-proto'] ?? '').split(',')
      return said.every((protocol) => protocol.trim().toLowerCase() === 'https')
    },
  }
}

const socketAddress = ({ remoteAddress }: Peer): Address =>
  readAddress((remoteAddress ?? '').split('%')[0] ?? '') ?? nowhere

/**
 * Who called, as proxies write it (RFC 7239, section 6): with or without a port, IPv6 in brackets, in quotation marks.
 * Undefined for `unknown` and for names that hide who it was.
 */
function readNode(text: string): Address | undefined {
  const node = text.trim().replace(/^"(.*)"$/, '$1')
  if (isIP(node) !== 0) return readAddress(node)
  const [, ipv6, ipv4] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:\d{1,5}|_[\w.-]+))?$/.exec(node) ?? []
  return readAddress(ipv6 ?? ipv4 ?? '')
}

/** An IPv4 address that is written as IPv6 is that IPv4 address. */
const readAddress = (text: string): Address | undefined =>
  isIP(text) === 0 || text.includes('%') ? undefined : ipaddr.process(text)

const toClient = (address: Address): Client => ({
  address: address.toString(),
  network: networkOf(address),
})

/**
 * The /48 of an IPv6 address: whoever holds one has 256 lines, each with a limit of its own. Undefined for IPv4, whose
 * neighbours are strangers.
 */
export function siteOf({ address }: Pick<Client, 'address'>): string | undefined {
  return isIP(address) === 6 ? ipv6Network(address, ipv6SiteBits) : undefined
}

/** The address in what a log or a forwarding header says of a caller; undefined where there is none in it. */
export const addressIn = (text: string): string | undefined => readNode(text)?.toString()

/** The same for an address that somebody else said; it must be one. */
export const clientAt = (text: string): Client => toClient(ipaddr.process(text))

function networkOf(address: Address): string {
  const text = address.toString()
  if (address.kind() === 'ipv4') return text
  return ipv6Network(text, ipv6LineBits)
}

const ipv6Network = (address: string, bits: number): string =>
  `${ipaddr.IPv6.networkAddressFromCIDR(`${address}/${bits}`).toString()}/${bits}`
