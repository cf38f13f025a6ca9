import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { addressIndex } from '../../codes/address-index'
import type { Keyring } from '../../codes/keyring'
import { addressLimits } from '../../core/limits'
import { takeAddressCall } from '../../db/protection/address-windows'
import { deleteOutlived } from '../../db/upkeep/cleanup'
import { startApiProcess } from '../harness/api-process'
import { clientOf, freshPhone, type TestClient } from '../harness/client'
import { dumpPostgres, findLeaks } from '../harness/leaks'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf, shown, visitorsOf } from '../harness/visitor'

let system: System
let second: Awaited<ReturnType<typeof startApiProcess>>
let backEnd: TestClient
let visitor: ReturnType<typeof visitorsOf>
let publishableKey: string

beforeAll(async () => {
  system = await startSystem({ trustProxy: { hops: 1 }, withWorker: false })
  second = await startApiProcess(system, { OTPILOT_TRUST_PROXY: '1' })
  backEnd = clientOf(system)
  publishableKey = await publishableKeyOf(system)
  visitor = visitorsOf(system, publishableKey)
})
afterAll(async () => {
  await second?.stop()
  await system?.stop()
})

describe('an address', () => {
  test('sends ten times an hour, over two processes, whatever the order', async () => {
    const { address } = visitor()
    const bodies = Array.from({ length: 40 }, () => ({ phone_number: freshPhone() }))
    const answers = await Promise.all(
      bodies.map((body, n) =>
        visitor({ address, url: n % 2 ? second.url : system.url }).call('POST', '/otp/send', body),
      ),
    )
    expect(answers.filter(({ status }) => status === 403)).toHaveLength(10)
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused).toHaveLength(30)
    for (const { body, headers } of refused) {
      expect(body.error_code).toBe('RATE_LIMITED')
      const wait = Number(headers.get('retry-after'))
      expect(wait).toBeGreaterThan(3_590)
      expect(wait).toBeLessThanOrEqual(3_600)
    }
    // Another address, checks of this one and the app's back end go on.
    expect((await visitor().call('POST', '/otp/send', bodies[0])).status).toBe(403)
    expect(
      (await visitor({ address }).verify({ request_id: 'otp_x', code: '123456' })).status,
    ).toBe(200)
    expect((await backEnd.send(freshPhone(), {}, { 'x-forwarded-for': address })).status).toBe(200)
  })

  test('checks 30 times in ten minutes', async () => {
    const page = visitor()
    const answers = await Promise.all(
      Array.from({ length: 45 }, () => page.verify({ request_id: 'otp_x', code: '123456' })),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(30)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(15)
  })

  test('of IPv6 is its /56', async () => {
    const statuses = await Promise.all(
      Array.from({ length: 14 }, async (_, n) => {
        const page = visitor({ address: `2001:db8:77:${(0xab00 + n).toString(16)}::${n + 1}` })
        return (await page.call('POST', '/otp/send', { phone_number: freshPhone() })).status
      }),
    )
    expect(statuses.filter((status) => status === 403)).toHaveLength(10)
    const neighbour = visitor({ address: '2001:db8:77:ac00::1' })
    expect((await neighbour.call('POST', '/otp/send', {})).status).not.toBe(429)
  })

  test('of IPv6 shares a larger bound with the others of its /48', async () => {
    const send = async (line: number) => {
      const page = visitor({ address: `2001:db8:4848:${(line << 8).toString(16)}::1` })
      return (await page.call('POST', '/otp/send', { phone_number: freshPhone() })).status
    }
    const lines = Array.from({ length: 100 }, (_, n) => n)
    const statuses = await Promise.all(lines.map(send))
    expect(statuses.filter((status) => status === 403)).toHaveLength(80)
    expect(statuses.filter((status) => status === 429)).toHaveLength(20)
    const elsewhere = visitor({ address: '2001:db8:4849::1' })
    expect((await elsewhere.call('POST', '/otp/send', {})).status).not.toBe(429)
  })

  test('that is refused uses up nothing of what its /48 shares', async () => {
    const send = async (line: number) => {
      const page = visitor({ address: `2001:db8:5050:${(line << 8).toString(16)}::1` })
      return (await page.call('POST', '/otp/send', { phone_number: freshPhone() })).status
    }
    await Promise.all(Array.from({ length: 150 }, () => send(1)))
    expect(await send(2)).toBe(403)
  })

  test('of this machine is exempt in development', async () => {
    const local = clientOf(system, publishableKey)
    const bodies = Array.from({ length: 15 }, () => ({ phone_number: freshPhone() }))
    const answers = await Promise.all(bodies.map((body) => local.call('POST', '/otp/send', body)))
    expect(new Set(answers.map(shown))).toEqual(new Set(['403 CHALLENGE_REQUIRED']))
  })

  test('is nowhere in the database', async () => {
    const page = visitor({ address: '203.0.113.77' })
    await page.send(freshPhone())
    const places = await dumpPostgres(system.databaseUrl)
    expect(places.some(({ name }) => name.includes('address_windows'))).toBe(true)
    expect(findLeaks(places, ['203.0.113.77'])).toEqual([])
  })
})

describe('the window of an address', () => {
  const { max, windowSeconds } = addressLimits.send
  const indexOf = (network: string, keyring: Keyring = system.keyring) =>
    addressIndex(keyring, network)
  const take = (network: string, keyring?: Keyring) =>
    takeAddressCall(system.db, {
      index: indexOf(network, keyring),
      environment: 'staging',
      kind: 'send',
    })
  const shift = (network: string, seconds: number) =>
    system.db
      .many(sql`update address_windows set expires_at = expires_at - make_interval(secs => ${seconds}),
      calls = array(select t - make_interval(secs => ${seconds}) from unnest(calls) t)
      where index = ${indexOf(network).now}`)

  test('slides: the wait is until the oldest call leaves it', async () => {
    for (let n = 0; n < max / 2; n++) expect(await take('one')).toBeUndefined()
    await shift('one', 1_000)
    for (let n = 0; n < max / 2; n++) expect(await take('one')).toBeUndefined()
    const wait = await take('one')
    expect(wait).toBeGreaterThan(windowSeconds - 1_010)
    expect(wait).toBeLessThanOrEqual(windowSeconds - 1_000)
    await shift('one', windowSeconds - 1_000)
    for (let n = 0; n < max / 2; n++) expect(await take('one')).toBeUndefined()
    expect(await take('one')).toBeGreaterThan(0)
  })

  test('holds no more than it has to, and goes when it is over', async () => {
    for (let n = 0; n < max; n++) await take('two')
    await shift('two', windowSeconds + 1)
    expect(await take('two')).toBeUndefined()
    const row = sql`select cardinality(calls) as calls from address_windows where index = ${indexOf('two').now}`
    expect(await system.db.one(row)).toEqual({ calls: 1 })
    await shift('two', windowSeconds + 1)
    await deleteOutlived(system.db, 1_000)
    expect(await system.db.one(row)).toBeUndefined()
  })

  test('does not begin anew when the key of its index is replaced', async () => {
    for (let n = 0; n < max - 1; n++) await take('three')
    const newer = { kid: 'newer', key: Buffer.alloc(32, 9) }
    const rotated: Keyring = {
      ...system.keyring,
      active: () => newer,
      all: (purpose) => [newer, ...system.keyring.all(purpose)],
    }
    const tries = await Promise.all(Array.from({ length: 5 }, () => take('three', rotated)))
    expect(tries.filter((wait) => wait === undefined)).toHaveLength(1)
    expect(tries.filter((wait) => wait !== undefined && wait > windowSeconds - 10)).toHaveLength(4)
  })
})
