import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, type Socket } from 'node:net'
import { OpenBodies } from '../../api/open-bodies'
import { Problem } from '../../api/problem'
import { createHttpServer } from '../../api/server'
import { callbackToken } from '../../codes/random-id'
import { clientOf, freshPhone, until } from '../harness/client'
import { claimed, report, rig, statusOf, twilio } from '../harness/callback-rig'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

const megabyte = 1024 * 1024

/** A connection that reads what comes until its end. */
class Caller {
  readonly said: Promise<string>
  constructor(readonly socket: Socket) {
    let said = ''
    // What came before a reset counts too.
    socket.on('error', () => undefined).on('data', (chunk) => (said += String(chunk)))
    this.said = new Promise((resolve) => socket.once('close', () => resolve(said)))
  }
  /** The status of the answer, once the connection is closed. */
  async status() {
    return Number((await this.said).split(' ')[1])
  }
}

const call = (port: number, localAddress = '127.0.0.1') =>
  new Promise<Caller>((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress })
    socket.once('error', reject).once('connect', () => resolve(new Caller(socket)))
  })

const head = (path: string, length: number | 'chunked', more = '') =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\n${more}${length === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`}\r\n\r\n`

const portOf = (url: string) => Number(new URL(url).port)

describe('what nobody may send is not read', () => {
  let system: System
  beforeAll(async () => {
    const fakes = ['africas-talking', 'infobip', 'twilio']
    system = await startSystem({ fakes, withWorker: false })
  })
  afterAll(() => system.stop())

  test.each([
    ['a provider that there is not', () => '/webhooks/none', 404],
    ['a message of such a one', () => `/webhooks/none/${callbackToken()}`, 404],
    ['its secret', () => '/webhooks/none/secret/xyz', 404],
    ['its calls', () => `/webhooks/none/${callbackToken()}/answer`, 404],
    ['its replies', () => '/webhooks/none/inbound', 404],
    ['its sessions', () => '/ussd/none/session', 404],
    ['a token of no message', () => `/webhooks/sandbox-a/${callbackToken()}`, 401],
    ['one of a provider that signs addresses', () => `/webhooks/twilio/${callbackToken()}`, 413],
    ['a wrong secret', () => `/webhooks/africas-talking/secret/${'s'.repeat(22)}`, 401],
    ['none', () => '/webhooks/africas-talking', 401],
    ['a secret for calls', () => '/webhooks/africas-talking/secret/x/answer', 401],
    ['a secret for sessions', () => `/ussd/africas-talking/${'s'.repeat(22)}`, 401],
    ['no credentials', () => '/webhooks/infobip', 401],
  ])('%s', async (_what, pathOf, status) => {
    const caller = await call(portOf(system.url))
    caller.socket.write(`${head(pathOf(), megabyte)}{`)
    // Answered and closed although the rest never comes.
    expect(await caller.status()).toBe(status)
  })

  test.each([404, 401])('a body of no known length: %d', async (status) => {
    const caller = await call(portOf(system.url))
    const path = status === 404 ? '/webhooks/none' : `/webhooks/sandbox-a/${callbackToken()}`
    caller.socket.write(`${head(path, 'chunked')}5\r\nhello\r\n`)
    expect(await caller.status()).toBe(status)
  })

  test.each([
    ['compressed', 'Content-Encoding: gzip\r\n', 415],
    ['too long', '', 413],
  ])('what is %s is read off for a while only', async (_what, more, status) => {
    const { path } = await claimed()
    const caller = await call(portOf(rig.system.url))
    caller.socket.write(head(path, 1_000 * megabyte, more))
    const chunk = Buffer.alloc(megabyte)
    let written = 0
    while (!caller.socket.destroyed && written < 100) {
      written++
      if (!caller.socket.write(chunk))
        await Promise.race([
          once(caller.socket, 'drain').catch(() => undefined),
          once(caller.socket, 'close').catch(() => undefined),
        ])
    }
    expect(written).toBeLessThan(100)
    expect(await caller.status()).toBe(status)
  })

  test('a short one leaves the connection as it was', async () => {
    const caller = await call(portOf(system.url))
    caller.socket.write(`${head('/webhooks/none', 2)}{}`)
    caller.socket.write(`${head('/webhooks/none', 2, 'Connection: close\r\n')}{}`)
    expect((await caller.said).match(/HTTP\/1\.1 404/g)).toHaveLength(2)
  })
})

describe('300 connections of one address that dribble a megabyte each', () => {
  let server: Server
  let port: number
  beforeAll(async () => {
    server = createHttpServer(rig.system.makeApi())
    port = portOf(await listen(server))
  })
  afterAll(() => closeServer(server))

  test('hold 32 bodies at a time, for five seconds, and keep nobody else out', async () => {
    const { path } = await claimed()
    const attacker = '127.0.0.2'
    const callers = await Promise.all(Array.from({ length: 300 }, () => call(port, attacker)))
    const half = 'x'.repeat(megabyte / 2)
    for (const { socket } of callers) socket.write(`${head(path, megabyte)}${half}`)
    const isOpen = ({ socket }: Caller) => !socket.destroyed && !socket.readableEnded
    await until(async () => callers.filter(isOpen).length <= 32, { what: 'fewer connections' })
    const dribbling = setInterval(() => {
      for (const { socket } of callers.filter(isOpen)) socket.write('x')
    }, 200)
    try {
      const own = await claimed()
      expect((await twilio(own.path, report(own.messageId, 'delivered'))).status).toBe(200)
      expect(await statusOf(own.attemptId)).toBe('delivered')
      const sent = await clientOf(rig.system, rig.system.liveKey).send(freshPhone())
      expect(sent.status).toBe(200)
      // From the same address too: what is there at once is cut for nobody.
      const neighbour = await call(port, attacker)
      neighbour.socket.write(`${head(path, 2, 'Connection: close\r\n')}{}`)
      expect(await neighbour.status()).toBe(401)
      const statuses = await Promise.all(callers.map((caller) => caller.status()))
      expect(new Set(statuses)).toEqual(new Set([429, 408]))
      expect(statuses.filter((status) => status === 408).length).toBeLessThanOrEqual(32)
    } finally {
      clearInterval(dribbling)
      for (const { socket } of callers) socket.destroy()
    }
  })
})

describe('the room for bodies', () => {
  const limits = { bytes: 1_000, perNetwork: 3, calls: 4, readMs: 60_000 }
  let bodies = new OpenBodies(limits)
  /** Says its own network, and keeps its body until it is let go. */
  let handled: Promise<void> | undefined
  const server = createServer((request, response) => {
    const serve = async () => {
      const open = bodies.enter()
      try {
        await open.read(request, 800, request.headers['x-network'] as string | undefined)
        await handled
      } finally {
        open.leave()
      }
    }
    serve().then(
      () => response.setHeader('connection', 'close').end('ok'),
      (error: Problem) => response.writeHead(error.status, { connection: 'close' }).end(),
    )
  })
  const taken = new Map<number | undefined, Socket>()
  server.on('connection', (socket) => taken.set(socket.remotePort, socket))
  let port: number
  beforeAll(async () => {
    port = portOf(await listen(server))
  })
  afterAll(() => closeServer(server))

  async function sends(network: string, bytes: number, length = 800) {
    const caller = await call(port)
    const text =
      head('/', length, network === '' ? '' : `X-Network: ${network}\r\n`) + 'x'.repeat(bytes)
    const { localPort } = caller.socket
    caller.socket.write(text)
    // So that the order is that of the test.
    await until(async () => taken.get(localPort)?.bytesRead === text.length)
    return caller
  }
  const ends = (caller: Caller, bytes: number) => {
    caller.socket.write('x'.repeat(bytes))
    return caller.status()
  }

  test('that is full: the oldest unfinished one of who holds most makes room', async () => {
    bodies = new OpenBodies(limits)
    const [good, first, second] = [
      await sends('good', 100),
      await sends('bad', 400),
      await sends('bad', 400),
    ]
    const third = await sends('other', 200)
    expect(await first.status()).toBe(429)
    expect(await ends(good, 700)).toBe(429)
    expect(await ends(second, 400)).toBe(200)
    expect(await ends(third, 600)).toBe(200)
  })

  test('of one network: the oldest makes room for the newest', async () => {
    bodies = new OpenBodies(limits)
    const mine = [await sends('a', 1), await sends('a', 1), await sends('a', 1)]
    const other = await sends('b', 1)
    const fourth = await sends('a', 1)
    expect(await mine[0]?.status()).toBe(429)
    for (const caller of [...mine.slice(1), other, fourth])
      expect(await ends(caller, 799)).toBe(200)
  })

  test('of a proxy that calls for many is not counted by connections', async () => {
    bodies = new OpenBodies(limits)
    const many = [await sends('', 1), await sends('', 1), await sends('', 1), await sends('', 1)]
    for (const caller of many) expect(await ends(caller, 799)).toBe(200)
  })

  test('that comes too slowly is cut', async () => {
    bodies = new OpenBodies({ ...limits, readMs: 200 })
    const slow = await sends('a', 1)
    expect(await slow.status()).toBe(408)
    expect(await ends(await sends('a', 1), 799)).toBe(200)
  })

  test('that is handled still fills it, and so do calls', async () => {
    bodies = new OpenBodies(limits)
    let letGo = () => {}
    handled = new Promise((resolve) => {
      letGo = resolve
    })
    const held = await sends('a', 800)
    expect(await (await sends('b', 300)).status()).toBe(429)
    const more = [await sends('c', 1, 1), await sends('d', 1, 1), await sends('e', 1, 1)]
    expect(await (await sends('f', 0)).status()).toBe(429)
    letGo()
    for (const caller of [held, ...more]) expect(await caller.status()).toBe(200)
    handled = undefined
    expect(await ends(await sends('b', 300), 500)).toBe(200)
  })
})
