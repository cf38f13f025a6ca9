import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll } from '@jest/globals'
import pino from 'pino'
import { Webhook } from 'standardwebhooks'
import { createProviders, type AccountConfig } from '../../providers'
import type { Message, Receipt } from '../../providers/provider'
import { createSandbox } from '../../sandbox'

export interface SeenCallback {
  path: string
  at: number
  status: string
  body: Record<string, unknown>
  receipts: Receipt[]
}

/** A sandbox and the product's end of its callbacks, each on real HTTP; call it once at the top of a test file. */
export function sandboxRig() {
  const secret = `whsec_${Buffer.alloc(32, 5).toString('base64')}`
  const rig = {
    secret,
    url: '',
    productUrl: '',
    /** Callbacks that the product took in this test. */
    callbacks: [] as SeenCallback[],
    /** How the product answers the next callbacks; then 200. */
    productStatus: [] as number[],
    /** What the product shows on a USSD screen. */
    screen: { message: 'Your code is 482913', code: '482913' as string | null },
    /** Messages sent so far. */
    count: 0,
    adapter,
    send,
    inboxOf,
    put,
    post,
    statuses: () => rig.callbacks.map(({ status }) => status),
  }
  /** Receipts of an earlier test's messages may still come. */
  let countBefore = 0

  const sandbox = createSandbox({
    secret,
    otpilotUrl: () => rig.productUrl,
    logger: pino({ level: 'silent' }),
  })
  const sandboxServer = createServer(sandbox.app)
  const productServer = createServer((req, res) => {
    void read(req).then((text) => {
      new Webhook(secret).verify(text, req.headers as Record<string, string>)
      const status = rig.productStatus.shift() ?? 200
      const sent = Number(/token-(\d+)/.exec(req.url ?? '')?.[1] ?? Infinity)
      if (status === 200 && sent > countBefore) rig.callbacks.push(callbackOf(req, text))
      const isUssd = req.url?.startsWith('/ussd')
      res.writeHead(status).end(isUssd ? JSON.stringify({ ...rig.screen, end: true }) : '')
    })
  })

  function callbackOf(req: IncomingMessage, text: string): SeenCallback {
    const path = req.url ?? ''
    const body = JSON.parse(text) as Record<string, unknown>
    const inbound = { headers: req.headers, body: Buffer.from(text), url: '' }
    const receipts = path.startsWith('/ussd') ? [] : adapter().receipts?.readReceipts(inbound)
    return { path, at: Date.now(), status: String(body['status']), body, receipts: receipts ?? [] }
  }

  function adapter(name = 'sandbox-a') {
    const config: AccountConfig = { name, adapter: 'sandbox', channels: ['sms'], test: true }
    const env = { SANDBOX_URL: rig.url, SANDBOX_SECRET: secret }
    const account = createProviders([config], env).get(name)
    if (!account) throw new Error('no account')
    return account
  }

  async function send(
    to: string,
    more: Partial<Message> = {},
    { provider = 'sandbox-a', timeoutMs = 5_000 } = {},
  ) {
    const message: Message = {
      requestId: `otp_${++rig.count}`,
      attemptId: `att_${rig.count}`,
      channel: 'sms',
      to,
      code: '482913',
      text: 'Acme: your code is 482913',
      locale: 'en',
      brand: 'Acme',
      callbackUrl: `${rig.productUrl}/webhooks/${provider}/token-${rig.count}`,
      validForSeconds: 300,
      notAfter: Infinity,
      ...more,
    }
    return adapter(provider)
      .sender.send(message, AbortSignal.timeout(timeoutMs))
      .then(
        (sent) => ({ result: 'accepted', ...sent }),
        (error: { fault: string }) => ({ result: error.fault, providerMessageId: '' }),
      )
  }

  async function inboxOf(to?: string) {
    const answer = await fetch(`${rig.url}/inbox${to === undefined ? '' : `?to=${to}`}`)
    return (await answer.json()) as Record<string, unknown>[]
  }

  const json = (method: string, path: string, body: unknown) =>
    fetch(rig.url + path, {
      method,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  function put(key: string, script: unknown) {
    return json('PUT', `/scenarios/${encodeURIComponent(key)}`, script)
  }
  function post(path: string, body: unknown = {}) {
    return json('POST', path, body)
  }

  beforeAll(async () => {
    for (const server of [sandboxServer, productServer]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    }
    rig.url = addressOf(sandboxServer.address())
    rig.productUrl = addressOf(productServer.address())
  })
  afterAll(async () => {
    await sandbox.close()
    for (const server of [sandboxServer, productServer]) {
      server.closeAllConnections()
      server.close()
    }
  })
  afterEach(async () => {
    await fetch(`${rig.url}/scenarios`, { method: 'DELETE' })
    await fetch(`${rig.url}/inbox`, { method: 'DELETE' })
    rig.callbacks.length = 0
    rig.productStatus.length = 0
    countBefore = rig.count
  })

  return rig
}

const addressOf = (address: AddressInfo | string | null) =>
  `http://127.0.0.1:${(address as AddressInfo).port}`

/** The whole body as text. */
async function read(stream: IncomingMessage) {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

/** Waits until the condition holds; says whether it did. */
export async function settled(condition: () => boolean, withinMs = 3_000) {
  const until = Date.now() + withinMs
  while (!condition() && Date.now() < until) await pause(10)
  return condition()
}

/** A number of the reserved block. */
export const reserved = (suffix: string) => `+2335550000${suffix}`

/** A number without a behaviour of its own. */
export const ordinary = '+233241234567'
