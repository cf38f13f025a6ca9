import ipaddr from 'ipaddr.js'
import { isSupportedCountry } from 'libphonenumber-js/max'
import { type ListKind, prefixDigits, recipientValues } from '../core/protection/lists'
import { foldExceptJoiners, foldTyped } from '../core/input/fold'
import { withoutSeparators } from '../core/input/typed-number'
import type { ListValue } from '../db/protection/lists'
import { readDomainName } from './email-address'
import { type Reading, readPhoneNumber } from './phone-number'
import { Problem } from './problem'
import { type RecipientAddress, readAddress } from './recipient-address'

/** Networks that an entry can be about. Few lengths of IPv6, since each is looked up with every send. */
const ipv4Bits = { least: 8, most: 32 } as const
const ipv6Bits = [16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 128]

/**
 * Reads what an entry of a list is about.
 * @throws {Problem} INVALID_NUMBER, INVALID_EMAIL or INVALID_REQUEST unless it is of its kind.
 */
export function readListValue(kind: ListKind, text: string, by: Reading | null): ListValue {
  return readers[kind](foldExceptJoiners(text).trim(), by)
}

const readers: Readonly<Record<ListKind, (value: string, by: Reading | null) => ListValue>> = {
  phone_number: (value, by) => ({
    kind: 'phone_number',
    value: readPhoneNumber(value, by).number,
    length: 0,
  }),
  prefix: readPrefix,
  country: (value) => readCountry(foldTyped(value)),
  network: (value) => readNetwork(foldTyped(value)),
  email: (value) => ({
    kind: 'email',
    value: readAddress({ email: value }, null).value,
    length: 0,
  }),
  domain: readDomain,
}

const refuse = (message: string) =>
  new Problem('INVALID_REQUEST', {
    detail: `value: ${message}.`,
    errors: [{ field: 'value', message }],
  })

function readPrefix(text: string): ListValue {
  const { least, most } = prefixDigits
  const value = withoutSeparators(text)
  if (!/^\+[1-9]\d{1,13}$/.test(value))
    throw refuse(`must be + and the first ${least} to ${most} digits of a number, as in +23324`)
  return { kind: 'prefix', value, length: value.length - 1 }
}

function readCountry(value: string): ListValue {
  if (!isSupportedCountry(value)) throw refuse('is no country’s two letters, as in GH')
  return { kind: 'country', value, length: 0 }
}

function readDomain(text: string): ListValue {
  const value = readDomainName(text)
  if (value === undefined) throw refuse('must be a domain, as in example.com')
  return { kind: 'domain', value, length: value.split('.').length }
}

function readNetwork(value: string): ListValue {
  const [address = '', bits] = value.split('/')
  if (!ipaddr.isValid(address) || address.includes('%') || !/^\d{1,3}$/.test(bits ?? '0'))
    throw refuse('must be an address, or a network as in 203.0.113.0/24')
  const parsed = ipaddr.process(address)
  const isIpv4 = parsed.kind() === 'ipv4'
  const length = Number(bits ?? (isIpv4 ? ipv4Bits.most : 128))
  if (isIpv4 && (length < ipv4Bits.least || length > ipv4Bits.most))
    throw refuse(`an IPv4 network has ${ipv4Bits.least} to ${ipv4Bits.most} bits`)
  if (!isIpv4 && !ipv6Bits.includes(length))
    throw refuse(`an IPv6 network has one of ${ipv6Bits.join(', ')} bits`)
  return { kind: 'network', value: networkOf(parsed, length), length }
}

type Address = ReturnType<typeof ipaddr.process>

const networkOf = (address: Address, bits: number): string => {
  const cidr = `${address.toString()}/${bits}`
  const family = address.kind() === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6
  return `${family.networkAddressFromCIDR(cidr).toString()}/${bits}`
}

/** Every value that an entry about a send could have. */
export function listValuesOf(
  { kind, value, country }: RecipientAddress,
  ip: string | undefined,
): Omit<ListValue, 'length'>[] {
  return [
    ...recipientValues({ kind, value, country }),
    ...(ip === undefined ? [] : networksOf(ipaddr.process(ip))),
  ]
}

function networksOf(address: Address) {
  const { least, most } = ipv4Bits
  const lengths =
    address.kind() === 'ipv4'
      ? Array.from({ length: most - least + 1 }, (_, index) => least + index)
      : ipv6Bits
  return lengths.map((bits) => ({ kind: 'network' as const, value: networkOf(address, bits) }))
}

/** Few countries have numbers that short. */
const shownOfPrefix = '+'.length + 8

/**
 * What an entry is about, for people: the last digits of a number, and most of a mailbox, are not shown; of a prefix
 * neither what may be the last digits of a number.
 */
export function shownListValue({ kind, value }: Pick<ListValue, 'kind' | 'value'>): string {
  if (kind === 'phone_number') return `${value.slice(0, -4)}****`
  if (kind === 'prefix')
    return value.slice(0, shownOfPrefix) + '*'.repeat(Math.max(value.length - shownOfPrefix, 0))
  return kind === 'email' ? value.replace(/^(.).*@/, '$1***@') : value
}
