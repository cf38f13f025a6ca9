import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from '@jest/globals'
import { createPeers } from '../../api/client-address'
import { readTrustProxy } from '../../config/trust-proxy'
import { closeServer } from '../harness/listening'

const asked = (
  remoteAddress: string | undefined,
  forwardedFor?: string,
  forwardedProto?: string,
) => ({
  socket: { remoteAddress },
  headers: {
    ...(forwardedFor !== undefined && { 'x-forwarded-for': forwardedFor }),
    ...(forwardedProto !== undefined && { 'x-forwarded-proto': forwardedProto }),
  },
})
const peersOf = (trust: string) => createPeers(trust === '' ? undefined : readTrustProxy(trust))

describe('the client’s address', () => {
  const cidr = '10.0.0.0/8,fd00::/8'
  const cases: [
    name: string,
    trust: string,
    socket: string,
    forwarded: string | undefined,
    address: string,
  ][] = [
    ['no proxy, no header', '', '198.51.100.7', undefined, '198.51.100.7'],
    ['no proxy, a header of the caller’s own', '', '198.51.100.7', '1.1.1.1', '198.51.100.7'],
    ['no proxy, loopback is no proxy either', '', '127.0.0.1', '1.1.1.1', '127.0.0.1'],
    ['one proxy', '1', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['one proxy, no header', '1', '10.0.0.1', undefined, '10.0.0.1'],
    ['one proxy, an empty header', '1', '10.0.0.1', '', '10.0.0.1'],
    [
      'one proxy, what the caller put in front',
      '1',
      '10.0.0.1',
      '1.1.1.1, 203.0.113.9',
      '203.0.113.9',
    ],
    ['one proxy, junk in front', '1', '10.0.0.1', 'evil, 203.0.113.9', '203.0.113.9'],
    ['one proxy, junk', '1', '10.0.0.1', 'evil', '10.0.0.1'],
    // The forms of RFC 7239: so write Azure's gateways, IIS and others.
    ['one proxy, a port behind', '1', '10.0.0.1', '1.1.1.1:80', '1.1.1.1'],
    ['one proxy, brackets', '1', '10.0.0.1', '[2001:db8::1]', '2001:db8::1'],
    ['one proxy, brackets and a port', '1', '10.0.0.1', '[2001:db8::1]:4711', '2001:db8::1'],
    ['one proxy, quoted', '1', '10.0.0.1', '"[2001:db8::1]:4711"', '2001:db8::1'],
    ['one proxy, quoted IPv4', '1', '10.0.0.1', '"1.1.1.1:80"', '1.1.1.1'],
    ['one proxy, a hidden port', '1', '10.0.0.1', '1.1.1.1:_port', '1.1.1.1'],
    ['one proxy, IPv4 as IPv6 with a port', '1', '10.0.0.1', '[::ffff:1.2.3.4]:80', '1.2.3.4'],
    ['one proxy, unknown', '1', '10.0.0.1', 'unknown', '10.0.0.1'],
    ['one proxy, a hidden name', '1', '10.0.0.1', '_hidden', '10.0.0.1'],
    ['one proxy, a port that is none', '1', '10.0.0.1', '1.1.1.1:80:80', '10.0.0.1'],
    ['one proxy, half a bracket', '1', '10.0.0.1', '[2001:db8::1', '10.0.0.1'],
    ['one proxy, brackets around IPv4', '1', '10.0.0.1', '[10.1.1.1', '10.0.0.1'],
    ['two proxies, ports', '2', '10.0.0.1', '203.0.113.9:1, 10.0.0.2:2', '203.0.113.9'],
    ['networks, ports', cidr, '10.0.0.1', '203.0.113.9:1, 10.9.9.9:2', '203.0.113.9'],
    ['one proxy, a zone', '1', '10.0.0.1', 'fe80::1%eth0', '10.0.0.1'],
    ['one proxy, another way to write numbers', '1', '10.0.0.1', '0x7f.1', '10.0.0.1'],
    ['one proxy, octal', '1', '10.0.0.1', '010.0.0.1', '10.0.0.1'],
    ['one proxy, SQL', '1', '10.0.0.1', "1.1.1.1'; drop table apps", '10.0.0.1'],
    ['one proxy, an empty last entry', '1', '10.0.0.1', '1.1.1.1,', '10.0.0.1'],
    ['two proxies', '2', '10.0.0.1', '203.0.113.9, 10.0.0.2', '203.0.113.9'],
    [
      'two proxies, three entries',
      '2',
      '10.0.0.1',
      '1.1.1.1, 203.0.113.9, 10.0.0.2',
      '203.0.113.9',
    ],
    ['two proxies, one of them passed by', '2', '10.0.0.1', '1.1.1.1', '10.0.0.1'],
    ['two proxies, junk between', '2', '10.0.0.1', '1.1.1.1, unknown', '10.0.0.1'],
    ['networks', cidr, '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['networks, two inside', cidr, '10.0.0.1', '1.1.1.1, 203.0.113.9, 10.9.9.9', '203.0.113.9'],
    ['networks, a caller who is no proxy', cidr, '198.51.100.7', '1.1.1.1', '198.51.100.7'],
    ['networks, IPv6', cidr, 'fd00::1', '2001:db8:1:2::3', '2001:db8:1:2::3'],
    ['networks, a caller inside', cidr, '10.0.0.1', '10.2.3.4', '10.2.3.4'],
    ['networks, junk', cidr, '10.0.0.1', 'evil', '10.0.0.1'],
    [
      'networks, a proxy’s IPv4 address written as IPv6',
      cidr,
      '::ffff:10.0.0.1',
      '203.0.113.9',
      '203.0.113.9',
    ],
    ['IPv4 written as IPv6', '', '::ffff:1.2.3.4', undefined, '1.2.3.4'],
    ['IPv4 written as IPv6, forwarded', '1', '10.0.0.1', '::ffff:102:304', '1.2.3.4'],
    ['IPv6 written in full', '1', '::1', '2001:0DB8:0000:0000:0000:0000:0000:0001', '2001:db8::1'],
    ['a link-local caller', '', 'fe80::1%eth0', undefined, 'fe80::1'],
  ]
  test.each(cases)('%s', (_name, trust, socket, forwarded, address) => {
    expect(peersOf(trust).clientOf(asked(socket, forwarded)).address).toBe(address)
  })

  test('what a proxy writes that is no address is told once, whatever callers put in front', () => {
    let told = 0
    const trust = readTrustProxy('1')
    const peers = createPeers(trust, () => (told += 1))
    for (const fine of [undefined, '', '1.1.1.1', 'evil, 1.1.1.1:80', '[2001:db8::1]:80'])
      peers.clientOf(asked('10.0.0.1', fine))
    expect(told).toBe(0)
    for (const odd of ['unknown', '_hidden', 'evil', 'app.internal:80'])
      peers.clientOf(asked('10.0.0.1', odd))
    expect(told).toBe(1)
  })

  test('a socket that is gone has none, and it is no error', () => {
    const nobody = { address: '0.0.0.0', network: '0.0.0.0' }
    expect(peersOf('').clientOf(asked(undefined))).toEqual(nobody)
  })

  test('the header given twice is one list', async () => {
    const seen: string[] = []
    const peers = peersOf('1')
    const server = createServer((request, response) => {
      seen.push(peers.clientOf(request).address)
      response.end()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const headers = ['X-Forwarded-For', '1.1.1.1', 'X-Forwarded-For', '203.0.113.9']
    const call = httpRequest({ port, host: '127.0.0.1', headers: ['Host', 'x', ...headers] }).end()
    const [response] = (await once(call, 'response')) as [NodeJS.ReadableStream]
    response.resume()
    await once(response, 'end')
    await closeServer(server)
    expect(seen).toEqual(['203.0.113.9'])
  })
})

describe('the network that limits count for', () => {
  const networkOf = (address: string) => peersOf('').clientOf(asked(address)).network

  test('65,536 addresses of one /56 are one', () => {
    const networks = new Set(
      Array.from({ length: 65_536 }, (_, i) =>
        networkOf(`2001:db8:0:${(0x100 + (i % 256)).toString(16)}::${i.toString(16)}`),
      ),
    )
    expect([...networks]).toEqual(['2001:db8:0:100::/56'])
  })

  test('the next /56 is another, and every IPv4 address is its own', () => {
    expect(networkOf('2001:db8:0:200::1')).toBe('2001:db8:0:200::/56')
    expect(networkOf('1.2.3.4')).toBe('1.2.3.4')
    expect(networkOf('::ffff:1.2.3.4')).toBe('1.2.3.4')
  })
})

describe('whether the client’s connection is encrypted', () => {
  const cases: [trust: string, socket: string, proto: string | undefined, https: boolean][] = [
    ['', '127.0.0.1', 'https', false],
    ['1', '10.0.0.1', 'https', true],
    ['1', '10.0.0.1', 'HTTPS', true],
    ['1', '10.0.0.1', 'http', false],
    ['1', '10.0.0.1', undefined, false],
    ['1', '10.0.0.1', 'https, http', false],
    ['2', '10.0.0.1', 'https, https', true],
    ['10.0.0.0/8', '10.0.0.1', 'https', true],
    ['10.0.0.0/8', '198.51.100.7', 'https', false],
  ]
  test.each(cases)('trust %j, from %s, %j: %s', (trust, socket, proto, https) => {
    expect(peersOf(trust).saysHttps(asked(socket, undefined, proto))).toBe(https)
  })
})

describe('OTPILOT_TRUST_PROXY', () => {
  test.each(['1', '9', '10.0.0.1', '10.0.0.0/8, fd00::/8', '::1', '2001:db8::/32'])(
    '%s',
    (text) => {
      expect(readTrustProxy(text)).toBeDefined()
    },
  )
  test.each([
    'true',
    '0',
    '10',
    '-1',
    '1.5',
    ' ',
    ',',
    '10.0.0.0/8,',
    '10.0.0.0/0',
    '::/0',
    '10.0.0.0/33',
    '::/129',
    '10.0.0/8',
    'proxy.local',
    'loopback',
    '10.0.0.0/8/8',
    '0x0a.1',
    'fe80::1%eth0',
    '10.0.0.0/',
  ])('%j is refused', (text) => {
    expect(readTrustProxy(text)).toBeUndefined()
  })
})
