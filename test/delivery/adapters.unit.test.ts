import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import {
  createServer as createTcpServer,
  type AddressInfo,
  type Server as TcpServer,
} from 'node:net'
import { afterEach, describe, expect, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { Agent, buildConnector } from 'undici'
import { accountsLeftOut, createProviders, type AccountConfig } from '../../providers'
import type { Variables } from '../../providers/adapter'
import { type Message, ProviderFault, StaleClaim } from '../../providers/provider'

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const accounts: AccountConfig[] = [
  { name: 'sandbox-a', adapter: 'sandbox', channels: ['sms', 'ussd'], test: true },
  { name: 'webhook', adapter: 'webhook', channels: ['sms'], test: false },
]
const message: Message = {
  requestId: 'otp_abc',
  attemptId: 'att_1',
  channel: 'sms',
  to: '+233241234567',
  code: '482913',
  text: 'Your code is 482913',
  locale: 'en',
  brand: 'Acme',
  callbackUrl: 'http://127.0.0.1:9/webhooks/sandbox-a/token',
  validForSeconds: 300,
  notAfter: Infinity,
}

const open: (Server | TcpServer)[] = []
afterEach(() => {
  for (const server of open.splice(0)) {
    if ('closeAllConnections' in server) server.closeAllConnections()
    server.close()
  }
})

const listen = async (server: Server | TcpServer) => {
  open.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Both adapters, pointed at one server. */
const adaptersAt = (url: string, more?: Variables) =>
  createProviders(accounts, {
    SANDBOX_URL: url,
    SANDBOX_SECRET: secret,
    OTPILOT_GATEWAY_URL: `${url}/gateway`,
    OTPILOT_GATEWAY_SECRET: secret,
    ...more,
  })

const account = (url: string, name: string) => {
  const found = adaptersAt(url).get(name)
  if (!found) throw new Error(`no account ${name}`)
  return found
}

const outcomeOf = (url: string, name: string, timeoutMs = 5_000) =>
  account(url, name)
    .sender.send(message, AbortSignal.timeout(timeoutMs))
    .then(
      (sent) => ({ sent }),
      (error: unknown) => {
        if (!(error instanceof ProviderFault)) throw error
        return { fault: error.fault, retryAfterMs: error.retryAfterMs, message: error.message }
      },
    )

const answering =
  (status: number, body: string, headers: Record<string, string> = {}): RequestListener =>
  (req, res) =>
    void (req.resume(), res.writeHead(status, headers).end(body))

const read = async (req: IncomingMessage) => {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

describe.each(['sandbox-a', 'webhook'])('what %s makes of an answer', (name) => {
  test.each<[string, number, string, string, Record<string, string>?]>([
    ['400 INVALID_NUMBER', 400, '{"error_code":"INVALID_NUMBER"}', 'invalid_number'],
    ['422 INVALID_NUMBER', 422, '{"error_code":"INVALID_NUMBER"}', 'invalid_number'],
    ['403 BLOCKED', 403, '{"error_code":"BLOCKED"}', 'blocked'],
    ['403 without a code', 403, '', 'config'],
    ['401', 401, '{"error_code":"UNAUTHENTICATED"}', 'config'],
    ['404 with HTML', 404, '<h1>no</h1>', 'config'],
    ['400 with a JSON null', 400, 'null', 'config'],
    ['a redirect', 302, '', 'config', { location: 'http://127.0.0.1:9/' }],
    ['429', 429, '', 'throttled'],
    ['500', 500, 'oops', 'unavailable'],
    ['500 that says INVALID_NUMBER', 500, '{"error_code":"INVALID_NUMBER"}', 'unavailable'],
    ['503', 503, '', 'unavailable'],
    ['502: an intermediary got nonsense', 502, '', 'in_doubt'],
    ['504: an intermediary gave up', 504, '', 'in_doubt'],
  ])('%s', async (...row) => {
    const [, status, body, fault, headers] = row
    const url = await listen(createServer(answering(status, body, headers)))
    expect(await outcomeOf(url, name)).toMatchObject({ fault })
  })

  test.each([
    ['2', 2_000, 2_000],
    [new Date(Date.now() + 600_000).toUTCString(), 400_000, 600_000],
    ['Mon, 01 Jan 2001 00:00:00 GMT', 0, 0],
    ['999999999', 3_600_000, 3_600_000],
  ])('429 with Retry-After: %s', async (header, least, most) => {
    const url = await listen(createServer(answering(429, '', { 'retry-after': header })))
    const { retryAfterMs = -1 } = (await outcomeOf(url, name)) as { retryAfterMs?: number }
    expect(retryAfterMs).toBeGreaterThanOrEqual(least)
    expect(retryAfterMs).toBeLessThanOrEqual(most)
  })

  test.each([
    ['an id', '{"id":"m1","cost":{"amount":"0.03","currency":"USD"}}', 'm1'],
    ['garbage', '<html>', 'att_1'],
    ['nothing', '', 'att_1'],
    ['an id of the wrong type', '{"id":7}', 'att_1'],
    ['a cost of the wrong type', '{"id":"m1","cost":7}', 'm1'],
  ])('2xx with %s is an acceptance', async (_title, body, providerMessageId) => {
    const url = await listen(createServer(answering(201, body)))
    expect(await outcomeOf(url, name)).toMatchObject({ sent: { providerMessageId } })
  })

  test('2xx with 100 MB is an acceptance, and is not read', async () => {
    let written = 0
    const server = createServer((req, res) => {
      req.resume()
      res.writeHead(200)
      const chunk = Buffer.alloc(64 * 1024, 'a')
      const pump = () => {
        while (written < 100e6 && !res.destroyed) {
          written += chunk.length
          if (!res.write(chunk)) break
        }
        if (written < 100e6) res.once('drain', pump)
        else res.end()
      }
      pump()
    })
    const url = await listen(server)
    expect(await outcomeOf(url, name)).toMatchObject({ sent: { providerMessageId: 'att_1' } })
    expect(written).toBeLessThan(50e6)
  })

  test('2xx whose body is cut short is an acceptance', async () => {
    const server = createServer((req, res) => {
      req.resume()
      res.writeHead(200, { 'content-length': '100' })
      res.write('{"id":', () => res.destroy())
    })
    expect(await outcomeOf(await listen(server), name)).toMatchObject({
      sent: { providerMessageId: 'att_1' },
    })
  })
})

describe.each(['sandbox-a', 'webhook'])('what %s makes of no answer', (name) => {
  test('a refused connection: nothing was sent', async () => {
    const server = createTcpServer()
    const url = await listen(server)
    await new Promise((resolve) => server.close(resolve))
    expect(await outcomeOf(url, name)).toMatchObject({ fault: 'unavailable' })
  })

  test('an unknown host: nothing was sent', async () => {
    expect(await outcomeOf('http://nowhere.invalid', name)).toMatchObject({ fault: 'unavailable' })
  })

  test('aborted before it began: nothing was sent, now or later', async () => {
    const paths: unknown[] = []
    const url = await listen(createServer((req, res) => void (paths.push(req.url), res.end())))
    const { sender } = account(url, name)
    const sending = sender.send(message, AbortSignal.abort())
    await expect(sending).rejects.toMatchObject({ fault: 'unavailable' })
    await sender.send(message, AbortSignal.timeout(5_000)).catch(() => undefined)
    expect(paths).toHaveLength(1)
  })

  test('given up while still connecting: nothing was sent', async () => {
    const url = 'http://127.0.0.1:9'
    const env = { SANDBOX_URL: url, SANDBOX_SECRET: secret }
    const gateway = { OTPILOT_GATEWAY_URL: url, OTPILOT_GATEWAY_SECRET: secret }
    const agent = new Agent({ connect: () => undefined })
    const stuck = createProviders(accounts, { ...env, ...gateway }, agent).get(name)
    const sending = stuck?.sender.send(message, AbortSignal.timeout(100))
    await expect(sending).rejects.toMatchObject({ fault: 'unavailable' })
    await agent.destroy()
  })

  test('a claim that grew old while connecting: nothing was sent, and the next send works', async () => {
    const paths: unknown[] = []
    const url = await listen(createServer((req, res) => void (paths.push(req.url), res.end())))
    const connect = buildConnector({})
    const agent = new Agent({ connect: (to, done) => void setTimeout(connect, 200, to, done) })
    const env = { SANDBOX_URL: url, SANDBOX_SECRET: secret }
    const gateway = { OTPILOT_GATEWAY_URL: url, OTPILOT_GATEWAY_SECRET: secret }
    const slow = createProviders(accounts, { ...env, ...gateway }, agent).get(name)
    const sendWithin = (ms: number) => {
      const notAfter = performance.now() + ms
      return slow?.sender.send({ ...message, notAfter }, AbortSignal.timeout(5_000))
    }
    await expect(sendWithin(100)).rejects.toThrow(StaleClaim)
    await expect(sendWithin(2_000)).resolves.toMatchObject({ providerMessageId: 'att_1' })
    expect(paths).toHaveLength(1)
    await agent.close()
  })

  test('no answer in time: in doubt', async () => {
    const url = await listen(createServer((req) => void req.resume()))
    expect(await outcomeOf(url, name, 200)).toMatchObject({ fault: 'in_doubt' })
  })

  test.each([
    ['closed after the request was read', ''],
    ['garbage instead of HTTP', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ['a status line that ends too early', 'HTTP/1.1 20'],
  ])('%s: in doubt, and sent once', async (_title, reply) => {
    let connections = 0
    const server = createTcpServer((socket) => {
      connections++
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end(reply))
    })
    const url = await listen(server)
    expect(await outcomeOf(url, name)).toMatchObject({ fault: 'in_doubt' })
    expect(connections).toBe(1)
  })

  test('a connection that is reset: in doubt, and the next send works', async () => {
    let count = 0
    const server = createServer((req, res) => {
      req.resume()
      if (count++ === 1) req.socket.resetAndDestroy()
      else res.end('{"id":"m"}')
    })
    const { sender } = account(await listen(server), name)
    const results = []
    for (let i = 0; i < 3; i++) {
      results.push(
        await sender.send(message, AbortSignal.timeout(5_000)).then(
          () => 'sent',
          (error: ProviderFault) => error.fault,
        ),
      )
    }
    expect({ results, count }).toEqual({ results: ['sent', 'in_doubt', 'sent'], count: 3 })
  })

  test('faults hold nothing of the message', async () => {
    const url = await listen(createServer(answering(500, 'to +233241234567: 482913')))
    expect(JSON.stringify(await outcomeOf(url, name))).not.toMatch(/233241234567|482913|whsec_/)
  })
})

describe('the webhook account', () => {
  test('posts signed JSON whose webhook-id is the attempt', async () => {
    const seen: { body: unknown; headers: IncomingMessage['headers'] }[] = []
    const server = createServer((req, res) => {
      void read(req).then((body) => {
        const headers = req.headers as Record<string, string>
        seen.push({ body: new Webhook(secret).verify(body, headers), headers })
        res.end()
      })
    })
    await outcomeOf(await listen(server), 'webhook')
    expect(seen[0]?.headers['webhook-id']).toBe('att_1')
    expect(seen[0]?.body).toEqual({
      type: 'otp.message',
      request_id: 'otp_abc',
      attempt_id: 'att_1',
      channel: 'sms',
      to: '+233241234567',
      text: 'Your code is 482913',
      code: '482913',
      locale: 'en',
      brand: 'Acme',
      valid_for_seconds: 300,
      receipt_url: 'http://127.0.0.1:9/webhooks/otp-status',
    })
  })

  test('hands out its receipt secret', () => {
    const providers = adaptersAt('http://127.0.0.1:9', { OTPILOT_RECEIPT_SECRET: secret })
    expect(providers.get('webhook')).toMatchObject({ receiptSecret: secret, test: false })
  })
})

describe('the registry', () => {
  test('leaves out accounts without settings and says why', () => {
    expect([...createProviders(accounts, {}).keys()]).toEqual([])
    expect([
      ...accountsLeftOut(accounts, { SANDBOX_URL: 'http://x' }),
      ...accountsLeftOut(accounts, {
        SANDBOX_URL: 'http://x',
        SANDBOX_SECRET: secret,
        OTPILOT_GATEWAY_URL: 'http://y',
      }),
    ]).toEqual([
      {
        account: 'sandbox-a',
        reason: 'Provider account "sandbox-a" is off: SANDBOX_SECRET is not set.',
        begun: false,
      },
      {
        account: 'webhook',
        reason:
          'Provider account "webhook" is off: OTPILOT_GATEWAY_URL, OTPILOT_GATEWAY_SECRET are not set.',
        begun: false,
      },
      {
        account: 'webhook',
        reason: 'Provider account "webhook" is off: OTPILOT_GATEWAY_SECRET is not set.',
        begun: false,
      },
    ])
  })
})
