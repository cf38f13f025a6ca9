import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createApiKey } from '../../db/apps/api-keys'
import { maxTestNumbers } from '../../db/protection/test-numbers'
import { sumProviderHours } from '../../db/delivery/provider-hours'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf, visitorsOf } from '../harness/visitor'

let system: System
let client: TestClient
let live: TestClient
let operator: TestClient

beforeAll(async () => {
  system = await startSystem({ channels: ['sms', 'voice'], trustProxy: { hops: 1 } })
  client = clientOf(system)
  // The app has no account that a live key could reach: not one call could be made.
  live = clientOf(system, system.liveKey)
  operator = clientOf(system, system.operatorKey)
})
afterAll(() => system.stop())

interface Added {
  test_number_id: string
  phone_number: string
  error_code?: string
}
const add = (phone_number: string, code = '246810', app_id = 'app', by = operator) =>
  by.call<Added>('POST', '/admin/test-numbers', { app_id, phone_number, code })
async function freshTestNumber(code?: string): Promise<string> {
  const phone = freshPhone()
  expect(await add(phone, code)).toMatchObject({ status: 200, body: { phone_number: phone } })
  return phone
}
const deliveredBy = async (by: TestClient, requestId: string) =>
  until(
    async () => {
      const { steps } = await by.status(requestId)
      const attempts = steps.flatMap((step) => step.attempts)
      return (
        attempts.some(({ status }) => status === 'delivered' || status === 'answered') && attempts
      )
    },
    { what: 'the delivery' },
  )

describe('a test number', () => {
  test('gets its code, and no message, by a live key', async () => {
    const phone = await freshTestNumber()
    const requestId = await live.sent(phone)
    expect(await deliveredBy(live, requestId)).toMatchObject([
      { channel: 'sms', provider: 'test-number', status: 'delivered' },
    ])
    expect((await live.verify({ phone_number: phone, code: '246811' })).body).toMatchObject({
      status: 'rejected',
      attempts_remaining: 4,
    })
    // Nobody was sent anything: the right code proves nothing.
    const proven = { assurance: 'none', test: true }
    expect((await live.verify({ phone_number: phone, code: '246810' })).body).toMatchObject({
      status: 'verified',
      ...proven,
    })
    expect(await untilState(live, requestId)).toMatchObject({ state: 'verified', ...proven })
    const found = await live.call<{ requests: object[] }>('POST', '/otp/search', {
      phone_number: phone,
    })
    expect(found.body.requests).toMatchObject([{ request_id: requestId, ...proven }])
    expect(await live.inbox(phone)).toEqual([])
  })

  test('a test key, another channel, a resend and the next channel: nothing leaves', async () => {
    const phone = await freshTestNumber('135790')
    const requestId = await client.sent(phone, { channel: 'voice' })
    expect(await deliveredBy(client, requestId)).toMatchObject([
      { channel: 'voice', provider: 'test-number', status: 'answered' },
    ])
    const resent = await client.call('POST', `/otp/${requestId}/resend`, { channel: 'whatsapp' })
    expect(resent).toMatchObject({ status: 200, body: { resend: 'sent', channel: 'whatsapp' } })
    expect((await client.send(phone, { channel: 'sms' })).status).toBe(200)
    expect((await client.call('POST', `/otp/${requestId}/next`)).status).toBe(200)
    await until(async () => {
      const { steps } = await client.status(requestId)
      return steps.flatMap(({ attempts }) => attempts).length >= 3
    })
    const providers = await system.db.many(sql`
      select distinct provider from attempts where request_id = ${requestId}`)
    expect(providers).toEqual([{ provider: 'test-number' }])
    expect((await client.verify({ phone_number: phone, code: '135790' })).body.status).toBe(
      'verified',
    )
    expect(await client.inbox(phone)).toEqual([])
  })

  test('of a page, with a publishable key', async () => {
    const phone = await freshTestNumber()
    const visitor = visitorsOf(system, await publishableKeyOf(system))()
    const { status, body } = await visitor.send(phone)
    expect(status).toBe(200)
    const answer = await visitor.verify({ request_id: body.request_id, code: '246810' })
    expect(answer.body).toMatchObject({ status: 'verified', assurance: 'none', test: true })
    expect(await client.inbox(phone)).toEqual([])
  })

  test('counts neither as a send nor as a code that came back', async () => {
    const phone = await freshTestNumber()
    const ip = '203.0.113.77'
    for (let i = 0; i < 8; i++) {
      const requestId = await client.sent(phone, {
        purpose: `p${i}`,
        ip_address: `${ip.slice(0, -1)}${i}`,
      })
      await client.verify({ request_id: requestId, code: '246810' })
    }
    const decisions = await system.db.many(sql`
      select from send_decisions d join otp_requests r on r.id = d.request_id where r.test_number`)
    expect(decisions).toEqual([])
    const known = await system.db.many(sql`
      select from recipient_verifications v join otp_requests r using (recipient_id) where r.test_number`)
    expect(known).toEqual([])
    await sumProviderHours(system.db)
    const hours = await system.db.many(
      sql`select from provider_hours where provider = 'test-number'`,
    )
    expect(hours).toEqual([])
  })

  test('meets its own limits with resends too, and no cap of messages', async () => {
    const phone = await freshTestNumber()
    let requestId = ''
    for (let i = 0; i < 10; i++) requestId = await client.sent(phone, { purpose: `again${i}` })
    await deliveredBy(client, requestId)
    const resend = () => client.call('POST', `/otp/${requestId}/resend`, { channel: 'whatsapp' })
    expect((await resend()).status).toBe(200)
    const windows = await system.db.many(
      sql`select name from send_windows where name like 'messages|%'`,
    )
    expect(windows).toEqual([])
  })

  test('the limits of checks hold', async () => {
    const phone = await freshTestNumber()
    const requestId = await client.sent(phone)
    for (let i = 0; i < 5; i++) await client.verify({ request_id: requestId, code: '000000' })
    const { status, body } = await client.verify({ request_id: requestId, code: '246810' })
    expect({ status, code: body.error_code }).toEqual({ status: 429, code: 'LOCKED' })
  })

  test('that it becomes one, or ceases to be one, is of effect on the next send', async () => {
    const phone = freshPhone()
    const usual = await client.sent(phone)
    const sent = await until(async () => (await client.inbox(phone))[0])
    const { body } = await add(phone)
    const test = await client.sent(phone)
    expect(test).not.toBe(usual)
    expect((await client.status(usual)).state).toBe('cancelled')
    expect((await client.verify({ phone_number: phone, code: sent.code })).body.status).toBe(
      'rejected',
    )
    const path = `/admin/test-numbers/${body.test_number_id}`
    expect((await operator.call('DELETE', path)).status).toBe(200)
    const again = await client.sent(phone)
    expect(again).not.toBe(test)
    const entry = await until(async () =>
      (await client.inbox(phone)).find(({ code }) => code !== sent.code),
    )
    expect((await client.verify({ phone_number: phone, code: entry.code })).body.status).toBe(
      'verified',
    )
  })

  test('a usual number’s code proves what it did before', async () => {
    const phone = freshPhone()
    const requestId = await client.sent(phone)
    const { code } = await until(async () => (await client.inbox(phone))[0])
    const { body } = await client.verify({ request_id: requestId, code })
    expect(body).toMatchObject({ status: 'verified', assurance: 'restricted' })
    expect(body).not.toHaveProperty('test')
    expect(await client.status(requestId)).not.toHaveProperty('test')
  })

  test('another app, where it is a number as any other', async () => {
    const phone = await freshTestNumber()
    const other = clientOf(system, system.otherKey)
    await other.sent(phone)
    expect(await until(async () => (await client.inbox(phone))[0])).toMatchObject({ to: phone })
  })
})

describe('those who administer them', () => {
  test('read, and remove; nothing is in clear in the tables', async () => {
    const phone = await freshTestNumber()
    const { body } = await operator.call<{ test_numbers: Added[] }>(
      'GET',
      '/admin/test-numbers?app_id=app',
    )
    expect(body.test_numbers).toContainEqual(
      expect.objectContaining({ phone_number: phone, code: '246810', app_id: 'app' }),
    )
    const rows = await system.db.many(sql`select * from test_numbers`)
    expect(JSON.stringify(rows)).not.toContain(phone.slice(1))
    const [last] = await system.db.many(sql`
      select type, detail from audit_events where type = 'test_number_changed' order by id desc limit 1`)
    expect(last).toMatchObject({ detail: { change: 'added' } })
    expect(JSON.stringify(last)).not.toContain(phone.slice(1))
  })

  test.each(['24681', '2468100', '24681a', ''])('%j is no code of the app’s', async (code) => {
    expect(await add(freshPhone(), code)).toMatchObject({ status: 400 })
  })

  test.each([
    '123456',
    '000000',
    '111111',
    '654321',
    '890123',
    '121212',
    '123123',
    '112233',
    '123321',
  ])('%s is refused: anybody would try it first', async (code) => {
    expect(await add(freshPhone(), code)).toMatchObject({
      status: 400,
      body: {
        error_code: 'INVALID_REQUEST',
        detail: expect.stringMatching(/^code: .*fictional number/),
      },
    })
  })

  test('a number at which somebody verified a code is refused', async () => {
    const phone = freshPhone()
    const requestId = await client.sent(phone)
    const { code } = await until(async () => (await client.inbox(phone))[0])
    expect((await client.verify({ request_id: requestId, code })).body.status).toBe('verified')
    const refused = await until(async () => {
      const answer = await add(phone)
      return answer.status === 400 && answer
    })
    expect(refused.body).toMatchObject({
      error_code: 'INVALID_REQUEST',
      detail: expect.stringMatching(/^phone_number: .*verified.*fictional number/),
    })
    expect((await add(freshPhone())).status).toBe(200)
  })

  test('nor under another spelling of it', async () => {
    const phone = '+24166011223'
    const requestId = await client.sent(phone)
    const { code } = await until(async () => (await client.inbox(phone))[0])
    expect((await client.verify({ request_id: requestId, code })).body.status).toBe('verified')
    const refused = await until(async () => {
      const answer = await add('+24106011223')
      return answer.status === 400 && answer
    })
    expect(refused.body).toMatchObject({
      detail: expect.stringMatching(/^phone_number: .*verified/),
    })
  })

  test('a test key of the app has no say, a live one only about its own', async () => {
    const keyOf = async (environment: 'staging' | 'production') =>
      clientOf(
        system,
        (await createApiKey(system.db, { appId: 'app', environment, scopes: ['admin'] })).key,
      )
    const phone = freshPhone()
    expect((await add(phone, '246810', 'app', await keyOf('staging'))).status).toBe(403)
    const own = await keyOf('production')
    expect((await add(phone, '246810', 'app', own)).status).toBe(200)
    const { body } = await add(phone, '246810', 'other')
    const path = `/admin/test-numbers/${body.test_number_id}`
    expect((await own.call('DELETE', path)).status).toBe(404)
    expect((await operator.call('DELETE', path)).status).toBe(200)
  })

  test(`${maxTestNumbers} are the most, also of those who ask at once`, async () => {
    const phones = Array.from({ length: maxTestNumbers + 5 }, freshPhone)
    const answers = await Promise.all(phones.map((phone) => add(phone, '246810', 'other')))
    const taken = answers.filter(({ status }) => status === 200)
    expect(taken).toHaveLength(maxTestNumbers)
    // One that is there may get another code all the same.
    const [first] = taken
    expect((await add(first?.body.phone_number ?? '', '135790', 'other')).status).toBe(200)
  })

  test('an erasure forgets a number here too', async () => {
    const phone = await freshTestNumber()
    await operator.call('POST', '/admin/erasures', { phone_number: phone })
    const { body } = await operator.call<{ test_numbers: Added[] }>(
      'GET',
      '/admin/test-numbers?app_id=app',
    )
    expect(body.test_numbers.map(({ phone_number }) => phone_number)).not.toContain(phone)
  })
})
