import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { connect, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { createPeers } from '../../api/client-address'
import { createHttpServer } from '../../api/server'
import { readTrustProxy } from '../../config/trust-proxy'
import { startApiProcess } from '../harness/api-process'
import { until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

let system: System
let api: Awaited<ReturnType<typeof startApiProcess>>

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  // A process of its own: what is measured is its memory and its event loop, not this one's.
  api = await startApiProcess(system)
})
afterAll(async () => {
  await api.stop()
  await system.stop()
})

const post = (headers: Record<string, string>, body: string | Buffer) =>
  fetch(`${api.url}/otp/search`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${system.key}`,
      'content-type': 'application/json',
      ...headers,
    },
    body,
  })

/** How long calls of a well-behaved caller take: the slowest of a hundred, less one, in milliseconds. */
async function p99(): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < 100; i++) {
    const since = performance.now()
    const { status } = await post({}, '{}')
    times.push(performance.now() - since)
    expect(status).toBe(200)
  }
  return times.sort((a, b) => a - b)[98] ?? 0
}

const open = (port: number, bytes = '') =>
  new Promise<Socket>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      if (bytes) socket.write(bytes)
      resolve(socket)
    })
    socket.once('error', reject).on('error', () => undefined)
  })
const closedOf = (sockets: Socket[]) => sockets.filter(({ closed }) => closed).length

describe('slow callers', () => {
  test('500 of them change nothing for others, and are gone within 20 s', async () => {
    const before = await p99()
    const head = 'POST /otp/send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
    const kinds = [
      // Says nothing; stops in a header; adds a header now and then; stops in a body, known or not.
      '',
      'POST /otp/send HTTP/1.1\r\nHost: x\r\nX-',
      head,
      `${head}Content-Length: 100\r\n\r\n{`,
      `${head}Authorization: Bearer ${system.key}\r\nContent-Length: 100\r\n\r\n{`,
    ]
    const sockets = await Promise.all(
      Array.from({ length: 500 }, (_, i) => open(api.port, kinds[i % kinds.length])),
    )
    for (const socket of sockets) socket.resume()
    const since = performance.now()
    const dripping = setInterval(() => {
      for (const [i, socket] of sockets.entries())
        if (i % kinds.length === 2 && socket.writable) socket.write(`X-${i}: 1\r\n`)
    }, 1_000)
    try {
      const during = await p99()
      // Generous, since other tests run beside this one: without limits the calls would not be answered at all.
      expect(during).toBeLessThan(Math.max(4 * before, 500))
      expect(closedOf(sockets)).toBeLessThan(500)
      await until(() => Promise.resolve(closedOf(sockets) === 500), {
        within: 30_000,
        what: 'the end of all slow connections',
      })
      expect(performance.now() - since).toBeLessThan(20_000)
    } finally {
      clearInterval(dripping)
      for (const socket of sockets) socket.destroy()
    }
  })

  test('callers who do not read their answers hold no memory worth the name', async () => {
    const call = 'GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n'
    await post({}, '{}')
    const before = await api.keptMegabytes()
    const sockets = await Promise.all(
      Array.from({ length: 100 }, () => open(api.port, call.repeat(20))),
    )
    for (const socket of sockets) socket.pause()
    // Their calls are with the API before these, and would be answered before these if nothing held them back.
    expect(await p99()).toBeLessThan(1_000)
    expect((await api.keptMegabytes()) - before).toBeLessThan(50)
    for (const socket of sockets) socket.destroy()
  })
})

describe('connections of one peer', () => {
  const most = 2_000
  async function openAll(server: ReturnType<typeof createHttpServer>) {
    const port = Number(new URL(await listen(server)).port)
    const sockets: Socket[] = []
    for (let i = 0; i < most + 50; i += 50)
      sockets.push(...(await Promise.all(Array.from({ length: 50 }, () => open(port)))))
    for (const socket of sockets) socket.resume()
    return { port, sockets }
  }
  const answers = (_request: unknown, response: { end(text: string): void }) => response.end('ok')

  test('are limited, so that it cannot keep others out', async () => {
    const server = createHttpServer(answers)
    const { port, sockets } = await openAll(server)
    await until(() => Promise.resolve(closedOf(sockets) >= 50), {
      what: 'the end of those too many',
    })
    expect(closedOf(sockets)).toBe(50)
    for (const socket of sockets) socket.destroy()
    await until(
      () =>
        fetch(`http://127.0.0.1:${port}`).then(
          ({ ok }) => ok,
          () => false,
        ),
      { what: 'an answer once the others are gone' },
    )
    await closeServer(server)
  })

  test('are not limited for a proxy, which brings many callers', async () => {
    const peers = createPeers(readTrustProxy('127.0.0.1'))
    const server = createHttpServer(answers, { peers })
    const { port, sockets } = await openAll(server)
    expect((await fetch(`http://127.0.0.1:${port}`)).ok).toBe(true)
    expect(closedOf(sockets)).toBe(0)
    for (const socket of sockets) socket.destroy()
    await closeServer(server)
  })
})

describe('bodies that are meant to hurt', () => {
  const zeros = Buffer.alloc(50_000_000)
  const deepest = 8_000
  const bombs: [string, () => Promise<Response>, number][] = [
    ['48 KB that unpack to 50 MB', () => post({ 'content-encoding': 'gzip' }, gzipped), 415],
    ['20 MB', () => post({}, zeros.subarray(0, 20_000_000)), 413],
    ['brackets to the brim', () => post({}, '['.repeat(deepest) + ']'.repeat(deepest)), 400],
    ['one field a thousand times', () => post({}, `{${'"limit":1,'.repeat(1_000)}"limit":1}`), 400],
    ['a prototype', () => post({}, '{"__proto__":{"limit":1}}'), 400],
    ['bytes that are no UTF-8', () => post({}, Buffer.alloc(16_000, 0xff)), 400],
    ['quotes without an end', () => post({}, `"${'\\"'.repeat(8_000)}`), 400],
    ['a number of 16,000 digits', () => post({}, `{"limit":${'9'.repeat(16_000)}}`), 400],
    ['a thousand unknown fields', () => post({}, JSON.stringify(Object.fromEntries(names))), 400],
  ]
  const gzipped = gzipSync(zeros)
  const names = Array.from({ length: 1_000 }, (_, i) => [`f${i}`, 1])

  test.each(bombs)('%s', async (_name, send, status) => {
    const since = performance.now()
    // The connection may end while the body is still being sent; then the answer was written before.
    const answer = await send().catch(() => undefined)
    if (status !== 413) expect(answer?.status).toBe(status)
    else if (answer) expect(answer.status).toBe(413)
    expect(performance.now() - since).toBeLessThan(5_000)
  })

  test('leave the process as large as before', async () => {
    const throwAll = async (rounds: number) => {
      for (let round = 0; round < rounds; round++)
        await Promise.all(
          bombs.map(([, send]) =>
            send().then(
              (r) => r.text(),
              () => '',
            ),
          ),
        )
    }
    await throwAll(20)
    const before = await api.keptMegabytes()
    await throwAll(80)
    // The bodies of these rounds that are read to their end are 8 MB together.
    expect((await api.keptMegabytes()) - before).toBeLessThan(4)
    expect((await post({}, '{}')).status).toBe(200)
  }, 120_000)
})
