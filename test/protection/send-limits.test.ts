import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { loadPolicy } from '../../config/policy'
import { protectionOf } from '../../core/protection/protection'
import { createApiKey } from '../../db/apps/api-keys'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf, shown, visitorsOf } from '../harness/visitor'

let system: System
let backEnd: TestClient
let visitor: ReturnType<typeof visitorsOf>
type Protection = NonNullable<System['policy']['protection']>
/** As shipped. */
let shipped: Protection

beforeAll(async () => {
  system = await startSystem({ trustProxy: { hops: 1 } })
  shipped = system.policy.protection
  backEnd = clientOf(system)
  visitor = visitorsOf(system, await publishableKeyOf(system))
})
afterAll(() => system?.stop())
beforeEach(() => {
  system.policy.protection = { overrides: [] }
})

let lastAddress = 0
const freshAddress = () => `203.0.113.${++lastAddress}`
const elsewhere = { 'x-forwarded-for': '198.51.100.1' }

/** Calls by a back end that is not on this machine. */
const sendAll = async (count: number, given: Record<string, unknown>, client = backEnd) => {
  const words: string[] = []
  for (let n = 0; n < count; n++) words.push(shown(await client.send(freshPhone(), given)))
  return words
}

describe('by the end user’s address', () => {
  test('five in a minute, then 429 with the time, what to do, and the key’s own quota', async () => {
    const given = { ip_address: freshAddress() }
    expect(await sendAll(5, given)).toEqual(Array<string>(5).fill('200 sent'))
    const { status, body, headers } = await backEnd.send(freshPhone(), given)
    expect([status, body]).toMatchObject([
      429,
      {
        error_code: 'RATE_LIMITED',
        action: 'solve_challenge',
        detail: expect.stringContaining('ip_address'),
      },
    ])
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(30)
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(60)
    expect(headers.get('ratelimit-policy')).toBe('"key";q=6000;w=60')
  })

  test('a solved challenge lets one more pass', async () => {
    const given = { ip_address: freshAddress() }
    await sendAll(5, given)
    const challenge = await visitor().solve()
    expect(await sendAll(2, { ...given, challenge })).toEqual(['200 sent', '403 INVALID_CHALLENGE'])
    expect(await sendAll(1, given)).toEqual(['429 RATE_LIMITED'])
  })

  test('an IPv6 line is its /56', async () => {
    const of = (n: number) => ({ ip_address: `2001:db8:77:${n.toString(16)}::${n + 1}` })
    for (let n = 0; n < 5; n++) expect(await sendAll(1, of(n * 50))).toEqual(['200 sent'])
    expect(await sendAll(1, of(0xff))).toEqual(['429 RATE_LIMITED'])
    expect(await sendAll(1, of(0x100))).toEqual(['200 sent'])
  })

  test('the lines of one IPv6 /48 share eight times as much', async () => {
    const of = (line: number) => ({ ip_address: `2001:db8:78:${(line << 8).toString(16)}::1` })
    const once = { limits: { ip: [{ max: 1, seconds: 60 }] } }
    system.policy.protection = { overrides: [{ name: 'one', when: {}, ...once }] }
    for (let line = 0; line < 8; line++) expect(await sendAll(1, of(line))).toEqual(['200 sent'])
    expect(await sendAll(1, of(8))).toEqual(['429 RATE_LIMITED'])
    expect(await sendAll(1, { ip_address: '2001:db8:79::1' })).toEqual(['200 sent'])
  })

  test('this machine is exempt in development', async () => {
    expect(await sendAll(7, { ip_address: '127.0.0.1' })).toEqual(Array<string>(7).fill('200 sent'))
    expect(await sendAll(7, {})).toEqual(Array<string>(7).fill('200 sent'))
  })

  test('an override for an app and a country counts before the general setting', async () => {
    const once = [{ max: 1, seconds: 60 }]
    const override = (when: { apps?: string[]; countries?: string[] }) => ({
      overrides: [{ name: 'one', when, limits: { ip: once } }],
    })
    const results = async (protection: Protection) => {
      system.policy.protection = protection
      return sendAll(2, { ip_address: freshAddress() })
    }
    const limited = ['200 sent', '429 RATE_LIMITED']
    expect(await results(override({ apps: ['app'], countries: ['GH'] }))).toEqual(limited)
    expect(await results(override({ countries: ['africa'] }))).toEqual(limited)
    expect(await results(override({ apps: ['other'] }))).toEqual(['200 sent', '200 sent'])
    expect(await results(override({ countries: ['DE'] }))).toEqual(['200 sent', '200 sent'])
  })

  test('the shipped policy allows for carriers that many share an address of', () => {
    const loaded = loadPolicy(undefined)
    if (!loaded.success) throw new Error(loaded.faults.join('\n'))
    const limitIn = (country: string) =>
      protectionOf(loaded.policy, { app: 'app', country }).limits.ip
    expect(limitIn('GH')).toEqual([{ max: 60, seconds: 60 }])
    expect(limitIn('DE')).toEqual([{ max: 5, seconds: 60 }])
    expect(shipped.overrides).toEqual(loaded.policy.protection.overrides)
  })
})

describe('ip_address', () => {
  const send = (given = {}) => backEnd.send(freshPhone(), given, elsewhere)
  const warning = { code: 'IP_ADDRESS_MISSING', message: expect.stringContaining('ip_address') }

  test('is missed in the answer, where the policy says nothing else', async () => {
    expect(await send()).toMatchObject({ status: 200, body: { warnings: [warning] } })
    expect((await send({ ip_address: freshAddress() })).body).not.toHaveProperty('warnings')
    // The quick start, on one's own machine, and pages, whose address is known.
    expect((await backEnd.send(freshPhone())).body).not.toHaveProperty('warnings')
    expect((await visitor().send(freshPhone())).body).not.toHaveProperty('warnings')
  })

  test('is not missed where it is optional, and required where the app says so', async () => {
    system.policy.protection = { ipAddress: 'optional' }
    expect((await send()).body).not.toHaveProperty('warnings')
    system.policy.protection = {
      overrides: [{ name: 'strict', when: { apps: ['app'] }, ipAddress: 'required' }],
    }
    expect(await send()).toMatchObject({
      status: 400,
      body: { error_code: 'INVALID_REQUEST', errors: [{ field: 'ip_address' }] },
    })
    expect((await send({ ip_address: freshAddress() })).status).toBe(200)
    expect((await visitor().send(freshPhone())).status).toBe(200)
    const other = clientOf(system, system.otherKey)
    expect((await other.send(freshPhone(), {}, elsewhere)).status).toBe(200)
  })
})

describe('rate_limit_keys', () => {
  const limits = { keys: { device: [{ max: 2, seconds: 60 }], session: [{ max: 1, seconds: 60 }] } }

  test('are counted by name and value, and nobody reads them in the database', async () => {
    system.policy.protection = { limits }
    const by = (device: string) => ({ rate_limit_keys: { device } })
    expect(await sendAll(3, by('phone-of-ama'))).toEqual([
      '200 sent',
      '200 sent',
      '429 RATE_LIMITED',
    ])
    const { body } = await backEnd.send(freshPhone(), by('phone-of-ama'))
    expect(body).toMatchObject({ detail: expect.stringContaining('device') })
    expect(body).not.toHaveProperty('action')
    expect(await sendAll(1, by('phone-of-kofi'))).toEqual(['200 sent'])
    expect(await sendAll(1, { rate_limit_keys: { session: 'phone-of-ama' } })).toEqual(['200 sent'])
    const [row] = await system.db.many<{ text: string }>(
      sql`select jsonb_agg(w)::text as text from send_windows w`,
    )
    expect(row?.text).toContain('key|staging|app|device|')
    expect(row?.text).not.toContain('phone-of')
  })

  test('of a name that has no limit are refused with those that have', async () => {
    system.policy.protection = { limits }
    const refusal = (rate_limit_keys: object) => backEnd.send(freshPhone(), { rate_limit_keys })
    expect(await refusal({ devise: 'a' })).toMatchObject({
      status: 400,
      body: {
        detail: expect.stringContaining('device, session'),
        errors: [{ field: 'rate_limit_keys.devise' }],
      },
    })
    system.policy.protection = {}
    expect((await refusal({ device: 'a' })).body).toMatchObject({
      detail: expect.stringContaining('has none'),
    })
    for (const wrong of [
      { device: '' },
      { device: 1 },
      { Device: 'a' },
      { device: 'a'.repeat(201) },
    ])
      expect((await refusal(wrong)).status).toBe(400)
    const names = Object.fromEntries(['a', 'b', 'c', 'd', 'e', 'f'].map((name) => [name, 'x']))
    expect((await refusal(names)).status).toBe(400)
  })

  test('are not for pages', async () => {
    system.policy.protection = { limits }
    const { status } = await visitor().send(freshPhone(), { rate_limit_keys: { device: 'a' } })
    expect(status).toBe(400)
  })
})

describe('sends of pages', () => {
  test('are paced, and told nothing but the time; a back end is only advised', async () => {
    const phone = freshPhone()
    const page = visitor()
    expect((await page.send(phone)).body).toMatchObject({ status: 'sent', resend_after: 30 })
    // Its code is live: the page gets an id over it, and no message.
    const { status, body } = await page.send(phone)
    expect([status, body]).toMatchObject([200, { status: 'sent', resend: 'already_sending' }])
    expect(body.resend_after).toBeGreaterThan(20)
    expect(body.resend_after).toBeLessThanOrEqual(30)
    await system.db.many(sql`update otp_requests set created_at = now() - interval '1 hour',
      expires_at = now() where state = 'pending'`)
    const refused = await page.send(phone)
    expect([refused.status, refused.body]).toMatchObject([
      429,
      { error_code: 'RATE_LIMITED', detail: 'Too many sends for now.' },
    ])
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(20)
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(30)
    expect((await backEnd.send(phone)).status).toBe(200)
    await system.db.many(
      sql`update send_windows set sends = array(select t - interval '31 s' from unnest(sends) t)`,
    )
    expect((await page.send(phone)).body).toMatchObject({ status: 'sent', resend_after: 60 })
  })
})

describe('checks', () => {
  test('have nothing to do with limits of sends that are spent', async () => {
    const phone = freshPhone()
    const given = { ip_address: freshAddress() }
    const id = await backEnd.sent(phone, given)
    const { code } = await until(async () => (await backEnd.inbox(phone))[0])
    while ((await backEnd.send(phone, given)).status === 200);
    expect(await sendAll(6, given)).toContain('429 RATE_LIMITED')
    expect((await backEnd.verify({ phone_number: phone, code: 'x'.repeat(6) })).status).not.toBe(
      429,
    )
    expect((await backEnd.verify({ request_id: id, code })).body.status).toBe('verified')
  })
})

test('an app’s sends are counted over all of its keys, and its checks are not', async () => {
  const { key } = await createApiKey(system.db, {
    appId: 'other',
    environment: 'staging',
    scopes: ['send', 'verify'],
  })
  const [one, two] = [clientOf(system, system.otherKey), clientOf(system, key)]
  const phone = freshPhone()
  const id = await one.sent(phone)
  const { code } = await until(async () => (await backEnd.inbox(phone))[0])
  system.policy.protection = {
    overrides: [{ name: 'small', when: { apps: ['other'] }, sendsPerMinute: 3 }],
  }
  const words: string[] = []
  // More than a minute's, should the minute end meanwhile.
  for (let n = 0; n < 4; n++) words.push(...(await sendAll(1, {}, n % 2 ? one : two)))
  for (let n = 0; n < 4; n++) words.push(...(await sendAll(1, {}, n % 2 ? one : two)))
  expect(words).toContain('429 QUOTA_EXCEEDED')
  expect(words.filter((word) => word === '200 sent').length).toBeLessThanOrEqual(6)
  expect((await two.verify({ request_id: id, code })).body.status).toBe('verified')
  expect(await sendAll(4, {})).toEqual(Array<string>(4).fill('200 sent'))
})

test('a resend meets the fraud rules: refused behind a block, and told how a challenge passes one', async () => {
  system.policy.protection = { mode: { test: 'block' } }
  // Nobody typed in a code of the tests before: together they are an attack.
  await system.db.many(sql`delete from send_standings`)
  const phone = '+233508881234'
  const { body } = await backEnd.send(phone, {}, elsewhere)
  await until(async () => (await backEnd.inbox(phone))[0])
  await system.db.many(sql`update attempts set claimed_at = claimed_at - interval '20 seconds'
    where request_id = ${body.request_id}`)
  const raise = (asks: string) =>
    clientOf(system, system.operatorKey).call('POST', '/admin/blocks', {
      ...{ app_id: 'app', environment: 'staging', scope: 'block', prefix: '+23350888', asks },
    })
  const resend = (headers: Record<string, string>) =>
    backEnd.call('POST', `/otp/${body.request_id}/resend`, {}, headers)
  expect((await raise('block')).status).toBe(200)
  const refused = await resend(elsewhere)
  expect(shown(refused)).toBe('403 BLOCKED')
  expect(refused.body.detail).toBe('Refused by the fraud rules: blocked (block).')
  await raise('challenge')
  expect(await resend(elsewhere)).toMatchObject({
    status: 403,
    body: {
      error_code: 'CHALLENGE_REQUIRED',
      action: 'solve_challenge',
      request_id: body.request_id,
      detail: expect.stringContaining('POST /otp/send'),
    },
  })
  // On one's own machine.
  expect((await resend({})).body).toMatchObject({ status: 'sent', resend: 'sent' })
})
