import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { documentedCalls, openApiCheck } from '../harness/documented'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let other: TestClient
let call: Awaited<ReturnType<typeof documentedCalls>>

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  other = clientOf(system, system.otherKey)
  call = await documentedCalls(system.url, client)
})
afterAll(() => system.stop())

type Body = Record<string, unknown>

const send = (phone: string, given: Body = {}, headers: Record<string, string> = {}) =>
  call<Body & { request_id: string }>(
    'POST',
    '/otp/send',
    { phone_number: phone, ...given },
    { headers },
  )
const sent = async (phone: string, given: Body = {}) => {
  const { status, body } = await send(phone, given)
  expect(status).toBe(200)
  return body.request_id
}
interface Status {
  state: string
  version: number
  steps: { channel: string; status: string; attempts: Body[] }[]
}
const read = (id: string, query = '') => call<Status & Body>('GET', `/otp/${id}${query}`)
const codeFor = async (phone: string, messages = 1) =>
  (
    await until(async () => {
      const inbox = await client.inbox(phone)
      return inbox.length >= messages && inbox[0]
    })
  ).code

test.concurrent('the document is held against every answer here, and would tell', async () => {
  const check = await openApiCheck(system.url)
  const contentType = 'application/json'
  const answer = { method: 'POST', path: '/otp/verify', status: 200, contentType }
  const body = { status: 'verified', request_id: 'otp_1', assurance: 'restricted' }
  expect(check({ ...answer, body })).toBeUndefined()
  expect(check({ ...answer, body: { status: 'verified' } })).toContain('verify 200: ')
  expect(check({ ...answer, body, status: 201 })).toContain('not documented')
})

const unknown = 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa'

describe('the status of a request', () => {
  test.concurrent('tells its steps, attempts, costs and events', async () => {
    const phone = freshPhone()
    const id = await sent(phone, { metadata: { order: '17' }, purpose: 'login' })
    const { body } = await until(async () => {
      const seen = await read(id)
      return seen.body.steps[0]?.status === 'succeeded' && seen
    })
    expect(body).toMatchObject({
      state: 'pending',
      reason: null,
      purpose: 'login',
      metadata: { order: '17' },
      checks: { used: 0, max: 5 },
      resend_after: 30,
      ended_at: null,
      delivered_at: expect.any(String),
    })
    expect(body.steps[0]?.attempts).toMatchObject([
      { provider: 'sandbox-a', status: 'delivered', cost: { currency: 'USD' } },
    ])
    const events = body.events as { sequence: number; type: string }[]
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => index + 1))
    expect(body.version).toBe(events.length)
    expect(JSON.stringify(body)).not.toContain(phone.slice(4))
    await call('POST', '/otp/verify', { request_id: id, code: await codeFor(phone) })
    expect((await read(id)).body).toMatchObject({ state: 'verified', reason: 'code_matched' })
  })

  test.concurrent('with wait, is answered when something happens', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await sent(phone)
    await codeFor(phone)
    const { version } = await until(async () => {
      const { body } = await read(id)
      return body.steps[0]?.status === 'sent' && body
    })
    const asked = Date.now()
    const waiting = read(id, `?wait=30&since=${version}`)
    // For so long nothing happens, and the call is to go on waiting.
    await new Promise((resolve) => setTimeout(resolve, 700))
    await call('POST', `/otp/${id}/cancel`)
    const { body } = await waiting
    expect(body.version).toBeGreaterThan(version)
    expect(body.state).toBe('cancelled')
    expect(Date.now() - asked).toBeGreaterThan(650)
    expect(Date.now() - asked).toBeLessThan(10_000)
  })

  test.concurrent('with wait and no news, is answered after the wait, unchanged', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await sent(phone, { channels: ['sms'] })
    await codeFor(phone)
    await until(async () => (await read(id)).body.steps[0]?.status === 'sent')
    const { version } = (await read(id)).body
    const asked = Date.now()
    expect((await read(id, '?wait=2')).body.version).toBe(version)
    expect(Date.now() - asked).toBeGreaterThanOrEqual(1_990)
    expect(Date.now() - asked).toBeLessThan(8_000)
  })

  test.concurrent(
    'with wait, is answered at once for news already there and for the end',
    async () => {
      const id = await sent(freshPhone())
      const asked = Date.now()
      expect((await read(id, '?wait=30&since=0')).status).toBe(200)
      await call('POST', `/otp/${id}/cancel`)
      expect((await read(id, '?wait=30')).body.state).toBe('cancelled')
      expect(Date.now() - asked).toBeLessThan(10_000)
    },
  )
})

describe('resend, next and cancel', () => {
  const commands = ['resend', 'next', 'cancel']
  test.concurrent.each(commands)(
    '%s: unknown and foreign requests are not there',
    async (command) => {
      const id = await sent(freshPhone())
      const notFound = { status: 404, body: { error_code: 'NOT_FOUND' } }
      expect(await call('POST', `/otp/${unknown}/${command}`)).toMatchObject(notFound)
      expect(await call('POST', `/otp/${id}/${command}`, undefined, { by: other })).toMatchObject(
        notFound,
      )
      expect(await call('GET', `/otp/${id}`, undefined, { by: other })).toMatchObject(notFound)
      expect((await read(id)).body.state).toBe('pending')
    },
  )

  test.concurrent.each(commands)('%s: an ended request stays ended', async (command) => {
    const id = await sent(freshPhone())
    expect(await call('POST', `/otp/${id}/cancel`)).toMatchObject({
      status: 200,
      body: { status: 'cancelled', request_id: id },
    })
    expect(await call('POST', `/otp/${id}/${command}`)).toMatchObject({
      status: 409,
      body: { error_code: 'REQUEST_ENDED', request_id: id },
    })
  })

  test.concurrent('next on the last channel is refused', async () => {
    const id = await sent(freshPhone(), { channels: ['sms'] })
    expect(await call('POST', `/otp/${id}/next`)).toMatchObject({
      status: 409,
      body: { error_code: 'NO_NEXT_CHANNEL' },
    })
  })

  test.concurrent('resend counts as a send, and cannot go to another kind of address', async () => {
    const phone = freshPhone()
    const id = await sent(phone)
    await codeFor(phone)
    expect(await call('POST', `/otp/${id}/resend`, { channel: 'email' })).toMatchObject({
      status: 400,
    })
    for (const [messages, channel] of ['voice', 'whatsapp'].entries()) {
      expect(await call('POST', `/otp/${id}/resend`, { channel })).toMatchObject({
        status: 200,
        body: { status: 'sent', resend: 'sent', channel, resend_after: messages === 0 ? 60 : 120 },
      })
      await codeFor(phone, messages + 2)
    }
    const refused = await call('POST', `/otp/${id}/resend`, { channel: 'ussd' })
    expect(refused).toMatchObject({
      status: 429,
      body: { error_code: 'RATE_LIMITED', request_id: id },
    })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  })
})

describe('search', () => {
  test.concurrent('finds by number, state, channel, purpose and time, page by page', async () => {
    const phone = freshPhone()
    const before = new Date(Date.now() - 60_000).toISOString()
    const ids: string[] = []
    for (const purpose of ['one', 'two', 'three']) ids.unshift(await sent(phone, { purpose }))
    await call('POST', `/otp/${ids[2]}/cancel`)
    await until(async () => (await client.inbox(phone)).length >= 2)
    type Page = { requests: { request_id: string }[]; next_cursor: string | null }
    const search = async (filter: Body, by = client) =>
      (await call<Page>('POST', '/otp/search', { phone_number: phone, ...filter }, { by })).body
    const idsOf = async (filter: Body, by = client) =>
      (await search(filter, by)).requests.map(({ request_id }) => request_id)

    expect(await idsOf({})).toEqual(ids)
    expect(await idsOf({}, other)).toEqual([])
    expect(await idsOf({ state: 'cancelled' })).toEqual([ids[2]])
    expect(await idsOf({ purpose: 'two' })).toEqual([ids[1]])
    expect(await idsOf({ channel: 'voice' })).toEqual([])
    expect(await idsOf({ created_from: before })).toEqual(ids)
    expect(await idsOf({ created_to: before })).toEqual([])
    expect(await idsOf({ phone_number: freshPhone() })).toEqual([])

    const first = await search({ limit: 2 })
    expect(first.requests.map(({ request_id }) => request_id)).toEqual(ids.slice(0, 2))
    expect(first.next_cursor).toEqual(expect.any(String))
    const last = await search({ limit: 2, cursor: first.next_cursor })
    expect(last.requests.map(({ request_id }) => request_id)).toEqual(ids.slice(2))
    expect(last.next_cursor).toBeNull()
    expect(JSON.stringify([first, last])).not.toContain(phone.slice(4))
  })
})
