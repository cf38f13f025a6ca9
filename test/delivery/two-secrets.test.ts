import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pino from 'pino'
import { Webhook } from 'standardwebhooks'
import { makeSecret } from '../../codes/standard-webhook'
import { readConfig } from '../../config'
import { createProviders } from '../../providers'
import { ForgedCallback, type Message } from '../../providers/provider'
import { createSandbox } from '../../sandbox'
import { until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

const [old, fresh, foreign] = [makeSecret(), makeSecret(), makeSecret()]

const message = (callbackUrl: string): Message => ({
  requestId: 'otp_1',
  attemptId: 'att_1',
  channel: 'sms',
  to: '+233241234567',
  code: '482913',
  text: 'Your code is 482913',
  locale: 'en',
  brand: 'Acme',
  callbackUrl,
  validForSeconds: 300,
  notAfter: Infinity,
})

/** Keeps what is posted to it. */
async function startListener() {
  const posted: { headers: IncomingHttpHeaders; body: Buffer; url: string }[] = []
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      posted.push({ headers: request.headers, body: Buffer.from(body), url: '' })
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  return { posted, url: await listen(server), close: () => closeServer(server) }
}

describe('the sandbox and its adapter, while SANDBOX_SECRET is being replaced', () => {
  let product: Awaited<ReturnType<typeof startListener>>
  beforeAll(async () => {
    product = await startListener()
  })
  afterAll(() => product.close())

  const adapterWith = (sandboxSecret: string, sandboxUrl = 'http://127.0.0.1:9') => {
    const account = createProviders(
      [{ name: 'sandbox-a', adapter: 'sandbox', channels: ['sms'], test: true }],
      { SANDBOX_URL: sandboxUrl, SANDBOX_SECRET: sandboxSecret },
    ).get('sandbox-a')
    if (!account) throw new Error('no account')
    return account
  }

  // In the order of the steps in docs/operations.md: neither side is ever ahead of the other by more than one.
  test.each([
    ['old', 'both', old, `${old} ${fresh}`],
    ['both', 'old', `${old} ${fresh}`, old],
    ['both, new first', 'both', `${fresh} ${old}`, `${old} ${fresh}`],
    ['both', 'both, new first', `${old} ${fresh}`, `${fresh} ${old}`],
    ['new', 'both, new first', fresh, `${fresh} ${old}`],
    ['both, new first', 'new', `${fresh} ${old}`, fresh],
  ])('otpilot has %s, the sandbox has %s', async (_ours, _theirs, ours, theirs) => {
    product.posted.length = 0
    const logger = pino({ level: 'silent' })
    const sandbox = createSandbox({ secret: theirs, otpilotUrl: product.url, logger })
    const server = createServer(sandbox.app as RequestListener)
    const account = adapterWith(ours, await listen(server))
    await account.sender.send(message(`${product.url}/webhooks/x`), AbortSignal.timeout(5_000))
    const callback = await until(async () => product.posted[0])
    expect(account.receipts?.readReceipts(callback)).toMatchObject([{ status: 'delivered' }])
    expect(() => adapterWith(foreign).receipts?.readReceipts(callback)).toThrow(ForgedCallback)
    await sandbox.close()
    await closeServer(server)
  })
})

test('a gateway may hold either secret: both sign', async () => {
  const gateway = await startListener()
  const account = createProviders(
    [{ name: 'gateway', adapter: 'webhook', channels: ['sms'], test: false }],
    { OTPILOT_GATEWAY_URL: gateway.url, OTPILOT_GATEWAY_SECRET: `${fresh} ${old}` },
  ).get('gateway')
  await account?.sender.send(message('http://127.0.0.1:9/webhooks/x'), AbortSignal.timeout(5_000))
  const [handed] = gateway.posted
  const verify = (by: string) =>
    new Webhook(by).verify(handed?.body ?? '', handed?.headers as Record<string, string>)
  expect(verify(old)).toEqual(verify(fresh))
  expect(() => verify(foreign)).toThrow()
  await gateway.close()
})

describe('receipts, while OTPILOT_RECEIPT_SECRET is being replaced', () => {
  let system: System
  beforeAll(async () => {
    system = await startSystem({
      withWorker: false,
      variables: {
        OTPILOT_GATEWAY_URL: 'http://127.0.0.1:9',
        OTPILOT_GATEWAY_SECRET: foreign,
        OTPILOT_RECEIPT_SECRET: `${fresh} ${old}`,
      },
    })
  })
  afterAll(() => system.stop())

  // Only who holds a secret is told that a request is not known.
  test.each([
    ['the new one', [fresh], 404],
    ['the old one', [old], 404],
    ['both', [fresh, old], 404],
    ['another one', [foreign], 401],
  ])('signed with %s', async (_name, secrets, status) => {
    const at = new Date()
    const body = JSON.stringify({
      request_id: `otp_${'a'.repeat(26)}`,
      phone_number: '+233241234567',
      status: 'delivered',
      timestamp: at.toISOString(),
    })
    const response = await fetch(`${system.url}/webhooks/otp-status`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': 'evt_1',
        'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
        'webhook-signature': secrets.map((by) => new Webhook(by).sign('evt_1', at, body)).join(' '),
      },
      body,
    })
    expect(response.status).toBe(status)
  })
})

describe('the settings', () => {
  const variables = ['SANDBOX_SECRET', 'OTPILOT_GATEWAY_SECRET', 'OTPILOT_RECEIPT_SECRET'] as const
  const read = (value: string) => () =>
    readConfig({
      OTPILOT_ENV: 'development',
      DATABASE_URL: 'postgres://127.0.0.1/otpilot',
      ...Object.fromEntries(variables.map((name) => [name, value])),
    })

  test('take one secret or two', () => {
    expect(read(old)().variables).toMatchObject({ SANDBOX_SECRET: old })
    expect(read(`${fresh} ${old}`)().variables).toMatchObject({
      OTPILOT_RECEIPT_SECRET: `${fresh} ${old}`,
    })
  })

  test.each([
    ['three', [old, fresh, foreign].join(' ')],
    ['one and something else', `${old} secret`],
    ['a comma between', `${old},${fresh}`],
    ['a short one', `${old} whsec_c2hvcnQ=`],
  ])('refuse %s, and name no secret', (_name, value) => {
    for (const name of variables) expect(read(value)).toThrow(name)
    expect(read(value)).not.toThrow(old.slice(6, 16))
  })
})
