import ipaddr from 'ipaddr.js'

type Network = ReturnType<typeof ipaddr.parseCIDR>

/** Which proxies in front of the API are believed: the nearest so many, or those of these networks. */
export type TrustProxy = { hops: number } | { networks: Network[] }

const mostHops = 9

/** Reads `1`, or `10.0.0.0/8,fd00::/8`; undefined for anything else, "all of them" included. */
export function readTrustProxy(text: string): TrustProxy | undefined {
  if (/^\d+$/.test(text)) {
    const hops = Number(text)
    return hops >= 1 && hops <= mostHops ? { hops } : undefined
  }
  const networks = text.split(',').map((part) => readNetwork(part.trim()))
  const known = networks.filter((network) => network !== undefined)
  return known.length === networks.length ? { networks: known } : undefined
}

/** One address counts as a network of its own; a network of length 0 would believe everybody. */
function readNetwork(text: string): Network | undefined {
  const [address = '', length, ...more] = text.split('/')
  if (more.length > 0 || !/^([\d.]+|[\da-f:.]+)$/i.test(address)) return undefined
  const isFourPart = ipaddr.IPv4.isValidFourPartDecimal(address)
  if (!isFourPart && !ipaddr.IPv6.isValid(address)) return undefined
  const bits = length === undefined ? (isFourPart ? 32 : 128) : Number(length)
  if (!/^\d{1,3}$/.test(length ?? '0') || bits < 1 || bits > (isFourPart ? 32 : 128))
    return undefined
  return [ipaddr.parse(address), bits]
}
