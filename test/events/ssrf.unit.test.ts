import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import dns, { type LookupAddress } from 'node:dns'
import type { LookupFunction, Socket } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import type { Dispatcher } from 'undici'
import { freePort } from '../../cli/ports'
import {
  faultOfUrl,
  guardLookup,
  isReachable,
  leadsAstray,
  resolverLookup,
} from '../../events/address'
import { createGuardedDispatcher } from '../../events/dispatcher'
import { post } from '../../events/post'
import { until } from '../harness/client'
import { startNameServer } from '../harness/name-server'
import { type Receiver, startReceiver } from '../harness/receiver'

const production = { isProduction: true }
const development = { isProduction: false }

/** A resolver that answers each time with the next list, and with its last one from then on. */
function resolver(...answers: string[][]): LookupFunction {
  let turn = 0
  return (_host, _options, done) => {
    const answer = answers[Math.min(turn++, answers.length - 1)] ?? []
    const found = answer.map((address): LookupAddress => ({
      address,
      family: address.includes(':') ? 6 : 4,
    }))
    done(null, found)
  }
}

const forbidden = [
  '127.0.0.1',
  '127.255.255.254',
  '10.1.2.3',
  '172.16.0.1',
  '192.168.1.1',
  '100.64.0.1',
  '169.254.169.254',
  '168.63.129.16',
  '::ffff:168.63.129.16',
  '0.0.0.0',
  '0.1.2.3',
  '192.0.0.1',
  '192.0.2.1',
  '192.88.99.1',
  '198.18.0.1',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '::1',
  '::',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::ffff:a9fe:a9fe',
  '::7f00:1',
  '::ffff:0:127.0.0.1',
  '64:ff9b::7f00:1',
  '64:ff9b::a9fe:a9fe',
  '64:ff9b:1::1',
  '2002:7f00:1::',
  '2001::1',
  '2001:db8::1',
  '100::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'fe80::1%lo',
  'fec0::1',
  'ff02::1',
  '4000::1',
]

describe('addresses', () => {
  test.each(forbidden)('%s is not of the public internet', (address) => {
    expect(isReachable(address, production)).toBe(false)
  })

  test.each(['8.8.8.8', '93.184.216.34', '::ffff:8.8.8.8', '2606:4700:4700::1111', '2a00:1450::1'])(
    '%s is',
    (address) => expect(isReachable(address, production)).toBe(true),
  )

  test('development reaches this machine, and nothing else that is private', () => {
    for (const own of ['127.0.0.1', '::1', '::ffff:127.0.0.1'])
      expect(isReachable(own, development)).toBe(true)
    for (const address of ['10.1.2.3', '169.254.169.254', '0.0.0.0', '::', '64:ff9b::7f00:1'])
      expect(isReachable(address, development)).toBe(false)
  })
})

describe('URLs as they are written', () => {
  test.each([
    'https://127.0.0.1/',
    'https://127.1/',
    'https://0x7f000001/',
    'https://0177.0.0.1/',
    'https://2130706433/',
    'https://[::1]/',
    'https://[::ffff:7f00:1]/',
    'https://[::ffff:127.0.0.1]:8443/',
    'https://[64:ff9b::7f00:1]/',
    'https://169.254.169.254/latest/meta-data',
    'https://①②⑦.0.0.1/',
    'http://shop.example/',
    'ftp://shop.example/',
    'file:///etc/passwd',
    'gopher://shop.example/',
    'https://user@shop.example/',
    'https://user:password@shop.example/',
    'https://shop.example:22/',
    'https://shop.example:25/',
    'https://shop.example:80/',
    'https://shop.example:1023/',
    'not a url',
    '//shop.example/',
  ])('%s is refused with a sentence', (url) => {
    expect(faultOfUrl(url, production)).toMatch(/^[A-Z].*\.$/)
  })

  test.each([
    'https://shop.example/webhooks/otp-status?a=1',
    'https://shop.example:443/',
    'https://shop.example:8443/',
    'https://shop.example:1024/',
    'https://8.8.8.8/',
    'https://[2606:4700:4700::1111]/',
  ])('%s is well', (url) => expect(faultOfUrl(url, production)).toBeUndefined())

  test('development takes http and this machine', () => {
    expect(faultOfUrl('http://localhost:3000/hook', development)).toBeUndefined()
    expect(faultOfUrl('http://127.0.0.1/hook', development)).toBeUndefined()
    expect(faultOfUrl('http://10.0.0.1:3000/hook', development)).toBeDefined()
  })
})

describe('what a name leads to', () => {
  const ask = (lookup: LookupFunction, all: boolean) =>
    new Promise<unknown>((resolve) => {
      guardLookup(production, lookup)('shop.example', { all }, (error, address) =>
        resolve(error ? error.name : address),
      )
    })

  test('one address that is not allowed spoils the name', async () => {
    expect(await ask(resolver(['93.184.216.34', '10.0.0.1']), true)).toBe('AddressRefused')
    expect(await ask(resolver(['10.0.0.1']), false)).toBe('AddressRefused')
    expect(await ask(resolver([]), true)).toBe('AddressRefused')
    expect(await ask(resolver(['93.184.216.34']), false)).toBe('93.184.216.34')
    expect(await ask(resolver(['93.184.216.34', '2606:4700::1']), true)).toHaveLength(2)
  })

  test('it is told at registration; a name that leads nowhere may do so later', async () => {
    expect(await leadsAstray('shop.example', production, resolver(['10.0.0.1']))).toBe(true)
    expect(await leadsAstray('shop.example', production, resolver(['93.184.216.34']))).toBe(false)
    const unknown: LookupFunction = (_host, _options, done) =>
      done(Object.assign(new Error('unknown'), { code: 'ENOTFOUND' }), [])
    expect(await leadsAstray('shop.example', production, unknown)).toBe(false)
    expect(await leadsAstray('localhost', production)).toBe(true)
    expect(await leadsAstray('localhost', development)).toBe(false)
  })
})

describe('who is asked for a name', () => {
  const ask = (lookup: LookupFunction, host: string) =>
    new Promise<unknown>((resolve) => {
      guardLookup(production, lookup)(host, { all: true }, (error, found) =>
        resolve(error ? (error.code ?? error.name) : found),
      )
    })

  test('name servers, and what they say is checked', async () => {
    const server = await startNameServer((name) => {
      if (name === 'inside.example') return ['93.184.216.34', '10.0.0.1']
      return name === 'shop.example' ? ['93.184.216.34'] : []
    })
    const lookup = resolverLookup([server.address])
    expect(await ask(lookup, 'shop.example')).toEqual([{ address: '93.184.216.34', family: 4 }])
    expect(await ask(lookup, 'inside.example')).toBe('ADDRESS_REFUSED')
    expect(await ask(lookup, 'nowhere.example')).toBe('ENOTFOUND')
    expect(await ask(lookup, 'localhost')).toBe('ADDRESS_REFUSED')
    await server.close()
  })

  test('in production never the system, which can be kept busy by names that are not answered', async () => {
    const system = jest.spyOn(dns, 'lookup')
    for (const host of ['nowhere.invalid', 'localhost'])
      await new Promise((resolve) => guardLookup(production)(host, { all: true }, resolve))
    await leadsAstray('nowhere.invalid', production)
    expect(system).not.toHaveBeenCalled()
    system.mockRestore()
  })

  test('one that never answers is given up, and keeps no other name waiting', async () => {
    const silent = await startNameServer(() => undefined)
    const lookup = resolverLookup([silent.address])
    const since = performance.now()
    const hanging = Array.from({ length: 20 }, (_, index) =>
      ask(lookup, `x${index}.hostile.example`),
    )
    await dns.promises.lookup('localhost')
    expect(performance.now() - since).toBeLessThan(1_000)
    expect(new Set(await Promise.all(hanging))).toEqual(new Set(['ENOTFOUND']))
    expect(performance.now() - since).toBeLessThan(4_500)
    await silent.close()
  })
})

describe('calls', () => {
  let receiver: Receiver
  let port: string
  let open: Dispatcher[] = []
  beforeAll(async () => {
    receiver = await startReceiver()
    port = new URL(receiver.url).port
  })
  afterAll(() => receiver.close())
  beforeEach(async () => {
    receiver.received.length = 0
    receiver.answer(() => ({}))
    for (const dispatcher of open) await dispatcher.destroy()
    open = []
  })

  const caller = (reach: typeof production, lookup?: LookupFunction) => {
    const dispatcher = createGuardedDispatcher(reach, { ...(lookup && { lookup }) })
    open.push(dispatcher)
    return (url: string, headers: Record<string, string> = {}) =>
      post({ dispatcher, reach }, { url, headers, body: '{"type":"test"}' })
  }

  test('the socket asks for itself: a name that was public at first is refused when it turns', async () => {
    const call = caller(development, resolver(['127.0.0.1'], ['169.254.169.254']))
    const url = `http://rebinding.example:${port}/`
    // Every call a connection of its own, so every one of them looks the name up.
    expect(await call(url, { connection: 'close' })).toMatchObject({ httpStatus: 200 })
    expect(await call(url)).toMatchObject({ fault: 'address_refused' })
    expect(receiver.received).toHaveLength(1)
  })

  test('in production no spelling of this machine is reached, by name or by number', async () => {
    const call = caller(production, resolver(['127.0.0.1']))
    for (const host of ['inside.example', '127.0.0.1', '[::1]', '[::ffff:7f00:1]', '0x7f000001']) {
      expect(await call(`https://${host}:${port}/`)).toMatchObject({ fault: 'address_refused' })
    }
    expect(receiver.received).toEqual([])
  })

  test('the dispatcher alone refuses addresses too, whatever was checked before it', async () => {
    const dispatcher = createGuardedDispatcher(production)
    open.push(dispatcher)
    for (const host of ['127.0.0.1', '[::1]', '[::ffff:7f00:1]', 'localhost']) {
      const call = dispatcher.request({
        origin: `http://${host}:${port}`,
        path: '/',
        method: 'GET',
      })
      await expect(call).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' })
    }
    expect(receiver.received).toEqual([])
  })

  test('a redirect is an answer, not a way', async () => {
    receiver.answer(({ path }) =>
      path === '/start' ? { status: 307, headers: { location: `${receiver.url}/inside` } } : {},
    )
    expect(await caller(development)(`${receiver.url}/start`)).toMatchObject({ httpStatus: 307 })
    expect(receiver.received.map(({ path }) => path)).toEqual(['/start'])
  })

  test('no proxy of the environment is used', async () => {
    const settings = {
      HTTP_PROXY: 'http://127.0.0.1:9',
      http_proxy: 'http://127.0.0.1:9',
      NODE_USE_ENV_PROXY: '1',
    }
    const before = Object.keys(settings).map((name) => [name, process.env[name]] as const)
    Object.assign(process.env, settings)
    try {
      expect(await caller(development)(`${receiver.url}/`)).toMatchObject({ httpStatus: 200 })
    } finally {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    }
  })

  test('an answer of any length costs little more than 64 KB', async () => {
    receiver.answer(() => ({ body: 'x'.repeat(20_000_000) }))
    const sockets: Socket[] = []
    const onConnected = (message: unknown) =>
      void sockets.push((message as { socket: Socket }).socket)
    subscribe('undici:client:connected', onConnected)
    expect(await caller(development)(`${receiver.url}/`)).toMatchObject({ httpStatus: 200 })
    unsubscribe('undici:client:connected', onConnected)
    expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true])
    expect(sockets[0]?.bytesRead).toBeGreaterThan(0)
    expect(sockets[0]?.bytesRead).toBeLessThan(1_000_000)
  })

  test('paths of a host that hang block no other of its paths', async () => {
    receiver.answer(({ path }) => (path === '/hangs' ? { after: 20_000 } : {}))
    const call = caller(development)
    const hanging = Array.from({ length: 60 }, () => call(`${receiver.url}/hangs`))
    await until(async () => receiver.received.length === 60)
    const { milliseconds, httpStatus } = await call(`${receiver.url}/quick`)
    expect(httpStatus).toBe(200)
    expect(milliseconds).toBeLessThan(10_000)
    for (const dispatcher of open.splice(0)) await dispatcher.destroy()
    await Promise.all(hanging)
  })

  test('why there was no answer is told in our own words', async () => {
    const call = caller(development)
    const closed = `http://127.0.0.1:${await freePort()}/`
    expect(await call(closed)).toMatchObject({ fault: 'connection_refused' })
    expect(await call(`https://127.0.0.1:${port}/`)).toMatchObject({ fault: 'certificate_refused' })
    expect(await call('http://nowhere.invalid/')).toMatchObject({ fault: 'name_not_found' })
  })
})
