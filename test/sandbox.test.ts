import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import pino from 'pino'
import { Webhook } from 'standardwebhooks'
import { createProviders } from '../providers'
import type { Message, Receipt } from '../providers/provider'
import { createSandbox } from '../sandbox'
import { createInbox } from '../sandbox/inbox'
import { reservedNumbers } from '../sandbox/numbers'
import { Script } from '../sandbox/scenario'
import { readAddress } from '../sandbox/words'

const secret = `whsec_${Buffer.alloc(32, 5).toString('base64')}`

interface Callback {
  path: string
  at: number
  status: string
  body: Record<string, unknown>
  receipts: Receipt[]
}

let url = ''
let productUrl = ''
/** What the product's endpoints got, and how they answer. */
const callbacks: Callback[] = []
let productStatus: number[] = []
let count = 0
/** Receipts of an earlier test's messages may still come. */
let countBefore = 0
let screen: { message: string; code: string | null } = {
  message: 'Your code is 482913',
  code: '482913',
}

const sandbox = createSandbox({
  secret,
  otpilotUrl: () => productUrl,
  logger: pino({ level: 'silent' }),
})
const servers: { close: () => void; closeAllConnections: () => void }[] = []

const product = createServer((req, res) => {
  void read(req).then((body) => {
    const headers = req.headers as Record<string, string>
    new Webhook(secret).verify(body, headers)
    const status = productStatus.shift() ?? 200
    const isOfThisTest = Number(/token-(\d+)/.exec(req.url ?? '')?.[1] ?? Infinity) > countBefore
    if (status === 200 && isOfThisTest) callbacks.push(callbackOf(req, body))
    res
      .writeHead(status)
      .end(req.url?.startsWith('/ussd') ? JSON.stringify({ ...screen, end: true }) : '')
  })
})

function callbackOf(req: IncomingMessage, text: string): Callback {
  const body = JSON.parse(text) as Record<string, unknown>
  const inbound = { headers: req.headers, body: Buffer.from(text), url: '' }
  const path = req.url ?? ''
  const receipts = path.startsWith('/ussd') ? [] : (adapter().receipts?.readReceipts(inbound) ?? [])
  return { path, at: Date.now(), status: String(body['status']), body, receipts }
}

async function read(req: IncomingMessage) {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

beforeAll(async () => {
  for (const server of [createServer(sandbox.app), product]) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    servers.push(server)
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    if (server === product) productUrl = address
    else url = address
  }
})
afterAll(async () => {
  await sandbox.close()
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
})
afterEach(async () => {
  await fetch(`${url}/scenarios`, { method: 'DELETE' })
  await fetch(`${url}/inbox`, { method: 'DELETE' })
  callbacks.length = 0
  countBefore = count
  productStatus = []
})

function adapter(name = 'sandbox-a') {
  const config = { name, adapter: 'sandbox', channels: ['sms' as const], test: true } as const
  const env = { sandboxUrl: url, sandboxSecret: secret }
  const account = createProviders([{ ...config, channels: [...config.channels] }], env).get(name)
  if (!account) throw new Error('no account')
  return account
}

async function send(
  to: string,
  more: Partial<Message> = {},
  { provider = 'sandbox-a', timeoutMs = 5_000 } = {},
) {
  const message: Message = {
    requestId: `otp_${++count}`,
    attemptId: `att_${count}`,
    channel: 'sms',
    to,
    code: '482913',
    text: 'Acme: your code is 482913',
    locale: 'en',
    brand: 'Acme',
    callbackUrl: `${productUrl}/webhooks/${provider}/token-${count}`,
    validForSeconds: 300,
    ...more,
  }
  return adapter(provider)
    .sender.send(message, AbortSignal.timeout(timeoutMs))
    .then(
      (sent) => ({ result: 'accepted', ...sent }),
      (error: { fault: string }) => ({ result: error.fault, providerMessageId: '' }),
    )
}

const inboxOf = async (to?: string) => {
  const answer = await fetch(`${url}/inbox${to === undefined ? '' : `?to=${to}`}`)
  return (await answer.json()) as Record<string, unknown>[]
}
const settled = async (condition: () => boolean, withinMs = 3_000) => {
  const until = Date.now() + withinMs
  while (!condition() && Date.now() < until) await pause(10)
  return condition()
}
const statuses = () => callbacks.map(({ status }) => status)
const put = (key: string, script: unknown) =>
  fetch(`${url}/scenarios/${encodeURIComponent(key)}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(script),
  })
const number = (suffix: string) => `+2335550000${suffix}`
const ordinary = '+233241234567'

describe('an ordinary number', () => {
  test('shows the message at once and reports it delivered after 200 ms, signed', async () => {
    const { result, providerMessageId } = await send(ordinary)
    const acceptedAt = Date.now()
    expect({ result, inbox: await inboxOf('233241234567') }).toEqual({
      result: 'accepted',
      inbox: [
        {
          id: providerMessageId,
          provider: 'sandbox-a',
          channel: 'sms',
          to: ordinary,
          text: 'Acme: your code is 482913',
          code: '482913',
          at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
          status: 'accepted',
          request_id: `otp_${count}`,
        },
      ],
    })
    expect(await settled(() => callbacks.length === 1)).toBe(true)
    expect(callbacks[0]).toMatchObject({
      path: `/webhooks/sandbox-a/token-${count}`,
      body: { id: providerMessageId, reference: `att_${count}`, status: 'delivered' },
      receipts: [{ status: 'delivered', eventKey: `${providerMessageId}:delivered` }],
    })
    expect((callbacks[0]?.at ?? 0) - acceptedAt).toBeGreaterThanOrEqual(150)
    expect(await inboxOf(ordinary.slice(1))).toMatchObject([{ status: 'delivered' }])
  })

  test('a call rings, shows its code at once, and is answered by itself', async () => {
    await send(ordinary, { channel: 'voice', text: '4 8 2' })
    expect(await inboxOf('233241234567')).toMatchObject([{ channel: 'voice', code: '482913' }])
    expect(await settled(() => callbacks.length === 2)).toBe(true)
    expect(callbacks.map(({ receipts }) => receipts[0]?.status)).toEqual(['sent', 'answered'])
  })

  test('a USSD code appears at the dial, as the product says it', async () => {
    screen = { message: 'Your Acme code is 482913.', code: '482913' }
    const { providerMessageId } = await send(ordinary, { channel: 'ussd' })
    expect(await inboxOf('233241234567')).toEqual([])
    expect(await settled(() => callbacks.length === 1)).toBe(true)
    await pause(50)
    expect({ path: callbacks[0]?.path, dial: callbacks[0]?.body }).toEqual({
      path: '/ussd/sandbox-a/session',
      dial: {
        session_id: expect.any(String),
        phone_number: ordinary,
        service_code: '*920*1#',
        input: '',
      },
    })
    expect(await inboxOf('233241234567')).toMatchObject([
      {
        id: providerMessageId,
        channel: 'ussd',
        text: screen.message,
        code: '482913',
        status: 'dialled',
      },
    ])
  })

  test('the user dials again when the product was not ready', async () => {
    productStatus = [503]
    await send(ordinary, { channel: 'ussd' })
    expect(await settled(() => callbacks.length === 1)).toBe(true)
    await pause(50)
    expect(await inboxOf('233241234567')).toHaveLength(1)
  })

  test('a callback that got no 2xx comes again, the same', async () => {
    productStatus = [503, 500]
    await send(ordinary)
    expect(await settled(() => callbacks.length === 1)).toBe(true)
    expect(statuses()).toEqual(['delivered'])
  })
})

describe('reserved numbers', () => {
  const refusals: [string, string][] = [
    ['03', 'invalid_number'],
    ['04', 'blocked'],
    ['16', 'unavailable'],
    ['06', 'in_doubt'],
  ]
  test.each(refusals)('%s is refused: %s, and nothing arrives', async (suffix, result) => {
    for (const channel of ['sms', 'voice', 'whatsapp', 'ussd'] as const) {
      const sent = await send(
        number(suffix),
        { channel },
        { timeoutMs: suffix === '06' ? 150 : 5_000 },
      )
      expect(sent.result).toBe(result)
    }
    await pause(350)
    expect({ inbox: await inboxOf(number(suffix).slice(1)), callbacks }).toEqual({
      inbox: [],
      callbacks: [],
    })
  })

  const reports: [string, Message['channel'], string[]][] = [
    ['01', 'sms', []],
    ['01', 'voice', ['ringing', 'answered']],
    ['01', 'whatsapp', ['delivered']],
    ['02', 'sms', []],
    ['02', 'voice', []],
    ['02', 'whatsapp', []],
    ['09', 'sms', ['delivered', 'delivered', 'sent']],
    ['09', 'voice', ['answered', 'answered', 'ringing']],
    ['10', 'sms', []],
    ['11', 'sms', ['failed']],
    ['12', 'voice', ['failed']],
    ['13', 'voice', ['ringing', 'declined']],
    ['17', 'voice', ['ringing']],
    ['18', 'sms', ['sent']],
    ['20', 'sms', ['expired']],
  ]
  test.each(reports)('%s by %s is accepted and reports %j', async (suffix, channel, expected) => {
    expect(await send(number(suffix), { channel })).toMatchObject({ result: 'accepted' })
    await settled(() => callbacks.length >= expected.length, 2_000)
    await pause(suffix === '13' ? 0 : 400)
    const [entry] = await inboxOf(number(suffix).slice(1))
    expect({ reported: statuses(), code: entry?.['code'] }).toEqual({
      reported: expected,
      code: '482913',
    })
  })

  test('02 never dials', async () => {
    expect(await send(number('02'), { channel: 'ussd' })).toMatchObject({ result: 'accepted' })
    await pause(350)
    expect(callbacks).toEqual([])
  })

  test('09 keeps the status that it reached', async () => {
    await send(number('09'))
    await settled(() => callbacks.length === 3)
    expect(await inboxOf(number('09').slice(1))).toMatchObject([{ status: 'delivered' }])
    expect(new Set(callbacks.map(({ receipts }) => receipts[0]?.eventKey)).size).toBe(2)
  })

  test('05 fails twice for each request, over all providers, then accepts', async () => {
    const results = async (requestId: string) => {
      const seen = []
      for (const provider of ['sandbox-a', 'sandbox-b', 'sandbox-a', 'sandbox-b']) {
        seen.push((await send(number('05'), { requestId }, { provider })).result)
      }
      return seen
    }
    const expected = ['unavailable', 'unavailable', 'accepted', 'accepted']
    expect([await results('otp_x'), await results('otp_y')]).toEqual([expected, expected])
    expect(await inboxOf(number('05').slice(1))).toHaveLength(4)
  })

  test('07 takes the message, drops the connection, and delivers', async () => {
    expect(await send(number('07'))).toMatchObject({ result: 'in_doubt' })
    expect(await inboxOf(number('07').slice(1))).toHaveLength(1)
    expect(await settled(() => callbacks.length === 1)).toBe(true)
  })

  test('08 reports before it answers', async () => {
    let reportedFirst: boolean | undefined
    await send(number('08')).then(() => (reportedFirst = callbacks.length === 1))
    expect(reportedFirst).toBe(true)
  })

  test('14 accepts after 3 s', async () => {
    const startedAt = Date.now()
    expect(await send(number('14'))).toMatchObject({ result: 'accepted' })
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(2_990)
  })

  test('15 throttles twice, then accepts', async () => {
    const results = []
    for (let i = 0; i < 3; i++)
      results.push((await send(number('15'), { requestId: 'otp_t' })).result)
    expect(results).toEqual(['throttled', 'throttled', 'accepted'])
  })

  test('19 is refused by sandbox-a only', async () => {
    const [a, b] = [
      await send(number('19')),
      await send(number('19'), {}, { provider: 'sandbox-b' }),
    ]
    expect([a.result, b.result]).toEqual(['unavailable', 'accepted'])
  })

  test('all are in GET /numbers, in the words of the scenario API', async () => {
    const answer = (await (await fetch(`${url}/numbers`)).json()) as typeof reservedNumbers
    expect(answer).toEqual(reservedNumbers)
    expect(answer.map(({ number }) => number.slice(-2))).toEqual(
      Array.from({ length: 20 }, (_, index) => String(index + 1).padStart(2, '0')),
    )
    for (const { rules } of answer) expect(Script.safeParse(rules).success).toBe(true)
  })
})

describe('the inbox', () => {
  test.each([
    ['%2B233241234567'],
    ['+233241234567'],
    ['233241234567'],
    ['00233241234567'],
    ['233%2024-123.4567'],
  ])('reads the address %s', async (form) => {
    await send(ordinary)
    expect(await inboxOf(form)).toHaveLength(1)
  })

  test('lists newest first, everybody without an address, and can be emptied', async () => {
    await send(ordinary, { text: 'first' })
    await send('+233200000001', { text: 'second' })
    await send('ama@example.com', { channel: 'email', text: 'third' })
    const texts = async () => (await inboxOf()).map(({ text }) => text)
    expect(await texts()).toEqual(['third', 'second', 'first'])
    expect(await inboxOf('AMA@example.com')).toHaveLength(1)
    expect(await (await fetch(`${url}/inbox?limit=1`)).json()).toHaveLength(1)
    expect((await fetch(`${url}/inbox`, { method: 'DELETE' })).status).toBe(204)
    expect(await texts()).toEqual([])
  })

  test.each(['to=abc', 'to=', 'to=1', 'to=1&to=2', 'limit=0', 'limit=x', 'phone=1'])(
    '400 for ?%s',
    async (query) => {
      const answer = await fetch(`${url}/inbox?${query}`)
      expect({ status: answer.status, body: await answer.json() }).toEqual({
        status: 400,
        body: { error_code: expect.any(String), message: expect.any(String) },
      })
    },
  )

  test('keeps the newest 10,000', () => {
    const inbox = createInbox()
    const entry = {
      provider: 'a',
      channel: 'sms',
      text: '',
      code: '',
      at: '',
      status: 'accepted',
    } as const
    for (let i = 0; i < 10_005; i++) {
      inbox.add({ ...entry, id: String(i), to: i < 5 ? 'old' : 'new', request_id: `r${i % 7}` })
    }
    expect([inbox.list(undefined, 20_000).length, inbox.list('old', 10).length]).toEqual([
      10_000, 0,
    ])
  })

  test('addresses', () => {
    const forms = [
      '+1',
      '',
      '+23324123456789012',
      'a@b',
      'a@b@c',
      '(+233) 24 123-4567',
      7,
      undefined,
    ]
    expect(forms.map(readAddress)).toEqual([
      undefined,
      undefined,
      undefined,
      'a@b',
      undefined,
      '+233241234567',
      undefined,
      undefined,
    ])
  })
})

describe('scenarios', () => {
  test('an outage of a provider, for its first two sends', async () => {
    expect((await put('sandbox-a', { accept: { status: 503, times: 2 } })).status).toBe(200)
    const results = []
    for (const provider of ['sandbox-a', 'sandbox-b', 'sandbox-a', 'sandbox-a']) {
      results.push((await send(ordinary, {}, { provider })).result)
    }
    expect(results).toEqual(['unavailable', 'accepted', 'unavailable', 'accepted'])
  })

  test('a number scripted by channel and provider; the first rule that matches applies', async () => {
    await put(ordinary, [
      { on: { channel: 'sms', provider: 'sandbox-a' }, accept: { error_code: 'BLOCKED' } },
      { on: { channel: 'sms' }, receipt: 'failed', receipt_after_ms: 0 },
    ])
    expect((await send(ordinary)).result).toBe('blocked')
    expect((await send(ordinary, {}, { provider: 'sandbox-b' })).result).toBe('accepted')
    expect(await settled(() => callbacks.length === 1)).toBe(true)
    expect((await send(ordinary, { channel: 'whatsapp' })).result).toBe('accepted')
    expect(await settled(() => callbacks.length === 2)).toBe(true)
    expect(statuses()).toEqual(['failed', 'delivered'])
  })

  test('latency, and a receipt list of its own', async () => {
    await put(ordinary, {
      latency_ms: 120,
      receipts: [
        { status: 'sent', after_ms: 0 },
        { status: 'read', after_ms: 60 },
      ],
    })
    const startedAt = Date.now()
    await send(ordinary)
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(115)
    await settled(() => callbacks.length === 2)
    expect(statuses()).toEqual(['sent', 'read'])
  })

  test('an error rate', async () => {
    await put('sandbox-a', { error_rate: 0.5 })
    const results = await Promise.all(Array.from({ length: 100 }, () => send(ordinary)))
    const refused = results.filter(({ result }) => result === 'unavailable').length
    expect(refused).toBeGreaterThan(20)
    expect(refused).toBeLessThan(80)
  })

  test('are listed and removed', async () => {
    await put('00233241234567', { accept: { hang: true } })
    const list = () => fetch(`${url}/scenarios`).then((answer) => answer.json())
    expect(await list()).toEqual([{ key: ordinary, rules: [{ accept: { hang: true } }] }])
    const remove = () => fetch(`${url}/scenarios/233241234567`, { method: 'DELETE' })
    expect([(await remove()).status, (await remove()).status, await list()]).toEqual([204, 404, []])
  })

  test.each([
    ['unknown field', { hang: true }],
    ['unknown status', { receipt: 'teleported' }],
    ['two ways at once', { receipt: 'none', receipts: [] }],
    ['a status that is no refusal', { accept: { status: 200 } }],
    ['an impossible rate', { error_rate: 2 }],
    ['an empty list', []],
    ['no object', 'outage'],
  ])('400: %s', async (_title, script) => {
    expect((await put('sandbox-a', script)).status).toBe(400)
  })

  test('400: a key that is neither number nor provider', async () => {
    expect((await put('No Such!', { receipt: 'none' })).status).toBe(400)
  })
})

describe('the phone', () => {
  /** Opens the phone as the page does. */
  const openPhone = async (address: string) => {
    const events: { event: string; data: Record<string, unknown> }[] = []
    const request = get(`${url}/phones/${address}/events`)
    const response = await new Promise<IncomingMessage>((resolve) =>
      request.once('response', resolve),
    )
    response.setEncoding('utf8').on('data', (text: string) => {
      for (const frame of text.split('\n\n').filter((part) => part.startsWith('event'))) {
        const [event = '', data = ''] = frame.split('\n')
        events.push({
          event: event.slice(7),
          data: JSON.parse(data.slice(6)) as Record<string, unknown>,
        })
      }
    })
    response.on('error', () => undefined)
    return { events, close: () => request.destroy() }
  }
  const post = (path: string, body: unknown = {}) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })

  test('in hand, rings until it is answered', async () => {
    const page = await openPhone('233241234567')
    const { providerMessageId } = await send(ordinary, { channel: 'voice' })
    await pause(400)
    expect(statuses()).toEqual(['ringing'])
    expect(page.events.findLast(({ event }) => event === 'state')?.data).toMatchObject({
      ringing: [providerMessageId],
    })
    expect((await post(`/calls/${providerMessageId}/answer`)).status).toBe(204)
    await settled(() => callbacks.length === 2)
    expect(statuses()).toEqual(['ringing', 'answered'])
    expect((await post(`/calls/${providerMessageId}/answer`)).status).toBe(404)
    page.close()
  })

  test('in hand, can decline', async () => {
    const page = await openPhone('233241234567')
    const { providerMessageId } = await send(ordinary, { channel: 'voice' })
    await post(`/calls/${providerMessageId}/decline`)
    await settled(() => callbacks.length >= 1 && statuses().includes('declined'))
    await pause(300)
    expect(statuses()).not.toContain('answered')
    page.close()
  })

  test('put down while it rings, is answered by itself', async () => {
    const page = await openPhone('233241234567')
    await send(ordinary, { channel: 'voice' })
    await pause(300)
    page.close()
    expect(await settled(() => statuses().includes('answered'), 4_000)).toBe(true)
  })

  test('in hand, dials for itself', async () => {
    screen = { message: 'Your code is 482913', code: '482913' }
    const page = await openPhone('233241234567')
    await send(ordinary, { channel: 'ussd' })
    await pause(350)
    expect({ callbacks, inbox: await inboxOf('233241234567') }).toEqual({
      callbacks: [],
      inbox: [],
    })
    expect(page.events.at(-1)?.data).toMatchObject({ ussd_waiting: true, service_code: '*920*1#' })
    const dialled = await post('/phones/233241234567/dial', { service_code: '*920*1#' })
    expect(await dialled.json()).toEqual(screen)
    expect(await inboxOf('233241234567')).toMatchObject([{ code: '482913', status: 'dialled' }])
    page.close()
  })

  test('a number for which nothing waits asks all the same', async () => {
    screen = { message: 'No code is waiting.', code: null }
    const dialled = await post('/phones/233241234567/dial', { service_code: '*920*1#' })
    expect({ answer: await dialled.json(), inbox: await inboxOf() }).toEqual({
      answer: screen,
      inbox: [],
    })
    const wrong = await post('/phones/233241234567/dial', { service_code: '*1#' })
    expect(await wrong.json()).toMatchObject({ code: null })
  })

  test('shows what became of the request', async () => {
    const page = await openPhone('233241234567')
    await send(ordinary, { requestId: 'otp_done' })
    const report = { requestId: 'otp_done', outcome: 'verified' } as const
    await adapter().outcomes?.reportOutcome(report, AbortSignal.timeout(2_000))
    expect(await inboxOf('233241234567')).toMatchObject([{ outcome: 'verified' }])
    expect(
      await settled(() => page.events.some(({ data }) => data['outcome'] === 'verified')),
    ).toBe(true)
    page.close()
  })

  test('the page is served under a strict policy', async () => {
    for (const path of ['/', '/phone.js', '/phone.css', '/icon.svg']) {
      const answer = await fetch(url + path)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-security-policy')).toContain("script-src 'self'")
      expect(await answer.text()).not.toMatch(/<script>|onclick=|innerHTML/)
    }
  })
})

describe('bad input', () => {
  const raw = (path: string, init: RequestInit) =>
    fetch(url + path, init).then((answer) => answer.status)
  const json = { 'content-type': 'application/json', authorization: `Bearer ${secret}` }
  const body = { reference: 'r', channel: 'sms', to: ordinary, text: 't', code: '1' }
  const post = (value: unknown, headers: Record<string, string> = json, account = 'sandbox-a') =>
    raw(`/providers/${account}/messages`, { method: 'POST', headers, body: JSON.stringify(value) })

  test('gets its 4xx', async () => {
    expect({
      unauthenticated: await post(body, { 'content-type': 'application/json' }),
      wrongSecret: await post(body, { ...json, authorization: 'Bearer x' }),
      noBody: await post(undefined),
      wrongChannel: await post({ ...body, channel: 'fax' }),
      wrongNumber: await post({ ...body, to: 'ama' }),
      mailboxBySms: await post({ ...body, to: 'a@b.c' }),
      fileCallback: await post({ ...body, callback_url: 'file:///etc/passwd' }),
      account: await post(body, json, 'No%20Such'),
      malformed: await raw('/providers/a/messages', { method: 'POST', headers: json, body: '{' }),
      large: await post({ ...body, text: 'x'.repeat(70_000) }),
      otherSite: await raw('/inbox', {
        method: 'DELETE',
        headers: { 'sec-fetch-site': 'cross-site' },
      }),
      path: await raw('/nowhere', {}),
      health: await raw('/healthz', {}),
      good: await post(body),
    }).toEqual({
      unauthenticated: 401,
      wrongSecret: 401,
      noBody: 400,
      wrongChannel: 400,
      wrongNumber: 400,
      mailboxBySms: 400,
      fileCallback: 400,
      account: 404,
      malformed: 400,
      large: 413,
      otherSite: 403,
      path: 404,
      health: 200,
      good: 201,
    })
  })
})
