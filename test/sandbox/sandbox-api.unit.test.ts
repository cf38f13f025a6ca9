import { readFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import pino from 'pino'
import { request } from 'undici'
import { createSandbox } from '../../sandbox'
import { reservedNumbers } from '../../sandbox/numbers'
import { createInbox } from '../../sandbox/inbox'
import { readAddress } from '../../sandbox/words'
import { closeServer, listen } from '../harness/listening'
import { ordinary, sandboxRig, settled } from '../harness/sandbox-rig'

const rig = sandboxRig()

describe('the inbox', () => {
  test.each([
    ['%2B233241234567'],
    ['+233241234567'],
    ['233241234567'],
    ['00233241234567'],
    ['233%2024-123.4567'],
  ])('reads the address %s', async (form) => {
    await rig.send(ordinary)
    expect(await rig.inboxOf(form)).toHaveLength(1)
  })

  test.each([
    ['evil.example', 403],
    ['127.0.0.1.evil.example:8081', 403],
    ['localhost.evil.example', 403],
    ['user@evil.example', 403],
    ['', 403],
    ['127.0.0.1:8081', 200],
    ['[::1]:8081', 200],
    ['localhost:8081', 200],
    ['phones.localhost', 200],
    ['sandbox:8081', 200],
  ])('is shown to who asks for %j: %d', async (host, status) => {
    const { statusCode, body } = await request(`${rig.url}/inbox`, { headers: { host } })
    await body.dump()
    expect(statusCode).toBe(status)
  })

  test('is shown by a longer name only where that is its own', async () => {
    const logger = pino({ level: 'silent' })
    const options = { secret: rig.secret, otpilotUrl: rig.productUrl, logger }
    const sandbox = createSandbox({ ...options, url: 'http://phones.test.example:8081' })
    const server = createServer(sandbox.app as RequestListener)
    const url = await listen(server)
    const statusOf = async (host: string) => {
      const { statusCode, body } = await request(`${url}/inbox`, { headers: { host } })
      await body.dump()
      return statusCode
    }
    expect(await statusOf('phones.test.example:8081')).toBe(200)
    expect(await statusOf('evil.example')).toBe(403)
    await sandbox.close()
    await closeServer(server)
  })

  test('lists newest first, everybody without an address, and can be emptied', async () => {
    await rig.send(ordinary, { text: 'first' })
    await rig.send('+233200000001', { text: 'second' })
    await rig.send('ama@example.com', { channel: 'email', text: 'third' })
    const texts = async () => (await rig.inboxOf()).map(({ text }) => text)
    expect(await texts()).toEqual(['third', 'second', 'first'])
    expect(await rig.inboxOf('AMA@example.com')).toHaveLength(1)
    expect(await (await fetch(`${rig.url}/inbox?limit=1`)).json()).toHaveLength(1)
    expect((await fetch(`${rig.url}/inbox`, { method: 'DELETE' })).status).toBe(204)
    expect(await texts()).toEqual([])
  })

  test.each(['to=abc', 'to=', 'to=1', 'to=1&to=2', 'limit=0', 'limit=x', 'phone=1'])(
    '400 for ?%s',
    async (query) => {
      const answer = await fetch(`${rig.url}/inbox?${query}`)
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
    expect((await rig.put('sandbox-a', { accept: { status: 503, times: 2 } })).status).toBe(200)
    const results = []
    for (const provider of ['sandbox-a', 'sandbox-b', 'sandbox-a', 'sandbox-a']) {
      results.push((await rig.send(ordinary, {}, { provider })).result)
    }
    expect(results).toEqual(['unavailable', 'accepted', 'unavailable', 'accepted'])
  })

  test('a number scripted by channel and provider; the first rule that matches applies', async () => {
    await rig.put(ordinary, [
      { on: { channel: 'sms', provider: 'sandbox-a' }, accept: { error_code: 'BLOCKED' } },
      { on: { channel: 'sms' }, receipt: 'failed', receipt_after_ms: 0 },
    ])
    expect((await rig.send(ordinary)).result).toBe('blocked')
    expect((await rig.send(ordinary, {}, { provider: 'sandbox-b' })).result).toBe('accepted')
    expect(await settled(() => rig.callbacks.length === 1)).toBe(true)
    expect((await rig.send(ordinary, { channel: 'whatsapp' })).result).toBe('accepted')
    expect(await settled(() => rig.callbacks.length === 2)).toBe(true)
    expect(rig.statuses()).toEqual(['failed', 'delivered'])
  })

  test('latency, and a receipt list of its own', async () => {
    await rig.put(ordinary, {
      latency_ms: 120,
      receipts: [
        { status: 'sent', after_ms: 0 },
        { status: 'read', after_ms: 60 },
      ],
    })
    const startedAt = Date.now()
    await rig.send(ordinary)
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(115)
    await settled(() => rig.callbacks.length === 2)
    expect(rig.statuses()).toEqual(['sent', 'read'])
  })

  test('an error rate', async () => {
    await rig.put('sandbox-a', { error_rate: 0.5 })
    const results = await Promise.all(Array.from({ length: 100 }, () => rig.send(ordinary)))
    const refused = results.filter(({ result }) => result === 'unavailable').length
    expect(refused).toBeGreaterThan(20)
    expect(refused).toBeLessThan(80)
  })

  test('are listed and removed', async () => {
    await rig.put('00233241234567', { accept: { hang: true } })
    const list = () => fetch(`${rig.url}/scenarios`).then((answer) => answer.json())
    expect(await list()).toEqual([{ key: ordinary, rules: [{ accept: { hang: true } }] }])
    const remove = () => fetch(`${rig.url}/scenarios/233241234567`, { method: 'DELETE' })
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
    expect((await rig.put('sandbox-a', script)).status).toBe(400)
  })

  test('400: a key that is neither number nor provider', async () => {
    expect((await rig.put('No Such!', { receipt: 'none' })).status).toBe(400)
  })
})

describe('bad input', () => {
  const raw = (path: string, init: RequestInit) =>
    fetch(rig.url + path, init).then((answer) => answer.status)
  const json = { 'content-type': 'application/json', authorization: `Bearer ${rig.secret}` }
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

test('docs/sandbox.md has the table of numbers, word for word', () => {
  const docs = readFileSync(join(__dirname, '../../docs/sandbox.md'), 'utf8').replaceAll('`', '')
  const rows = [...docs.matchAll(/^\| (\+\d+) \| (.*) \|$/gm)].map(([, ...row]) => row)
  const normal = (text = '') => text.charAt(0).toUpperCase() + text.slice(1).trimEnd()
  expect(rows.map(([number, behaviour]) => [number, normal(behaviour)])).toEqual(
    reservedNumbers.map(({ number, behaviour }) => [number, normal(behaviour)]),
  )
})
