import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { createDatabase } from '../../db'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { dumpPostgres, dumpTemporal, eventCount, findLeaks, type Place } from '../harness/leaks'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
const logged: string[] = []
const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) })
const logPlaces = () => logged.map((text, line): Place => ({ name: `log line ${line}`, text }))

beforeAll(async () => {
  system = await startSystem({
    steps: {
      sms: { timeoutMs: 3_000 },
      voice: { timeoutMs: 3_000 },
      whatsapp: { timeoutMs: 3_000 },
      ussd: { timeoutMs: 3_000 },
    },
    log,
  })
  client = clientOf(system)
  // Ten digits cannot occur by chance; six would.
  await system.db.many(sql`update apps set code_length = 10`)
})
afterAll(() => system.stop())

const codeFor = async (phone: string) =>
  (await until(async () => (await client.inbox(phone))[0], { what: 'a message' })).code

describe('the size of a run', () => {
  test('one SMS, delivered, verified: at most 26 events', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    const code = await codeFor(phone)
    await until(async () => (await client.status(id)).delivered_at)
    await client.verify({ request_id: id, code })
    await untilState(client, id, 'verified')
    await until(async () => !(await running(id)))
    expect(await eventCount(id)).toBeLessThanOrEqual(26)
  })

  test('all four channels silent to the end: at most 80 events', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone, { expiry_seconds: 35 })
    await untilState(client, id, 'exhausted', 45_000)
    await until(async () => !(await running(id)))
    expect((await client.status(id)).steps.map(({ attempts }) => attempts.length)).toEqual([
      1, 1, 1, 1,
    ])
    expect(await eventCount(id)).toBeLessThanOrEqual(80)
  }, 60_000)
})

const running = async (id: string) => {
  const [place] = (await dumpTemporal([id])).filter(({ name }) => name.startsWith('visibility'))
  return place?.text.includes('"status":1')
}

describe('what is written down', () => {
  test('a phone number and a code appear nowhere but encrypted', async () => {
    const ids: string[] = []
    const secrets: string[] = []
    for (const given of [
      { channels: ['sms'] },
      { channels: ['voice'], message: 'Ihr Code lautet {{code}}' },
      { channels: ['ussd'] },
      { channels: ['whatsapp'] },
    ]) {
      const phone = freshPhone()
      ids.push(await client.sent(phone, { ...given, metadata: { order: phone } }))
      const code = await codeFor(phone)
      secrets.push(phone.slice(1), code)
      await client.verify({ phone_number: phone, code: '0000000000' })
      await client.verify({ phone_number: phone, code })
    }
    const refused = '+233555000003'
    ids.push(await client.sent(refused))
    secrets.push(refused.slice(1))
    await client.send('233 24 12', { channel: 'sms' })
    await client.call('POST', '/otp/search', { phone_number: refused })

    const places = [
      ...(await dumpPostgres(system.databaseUrl)),
      ...(await dumpTemporal(ids)),
      ...logPlaces(),
    ]
    expect(places.length).toBeGreaterThan(200)
    expect(logged.length).toBeGreaterThan(10)
    expect(findLeaks(places, secrets)).toEqual([])
  })

  test('the search for leaks finds a planted one in every kind of place', async () => {
    const secret = '233241234567'
    const admin = createDatabase(system.adminUrl, { max: 1 })
    await admin.many(sql`create table planted (t text, b bytea, j jsonb)`)
    await admin.many(sql`insert into planted values (${secret}, ${Buffer.from(`x${secret}`)},
      ${JSON.stringify({ a: [Buffer.from(`to ${secret}`).toString('base64')] })}::jsonb)`)
    const leaks = findLeaks(await dumpPostgres(system.adminUrl), [secret])
    await admin.many(sql`drop table planted`)
    await admin.close()
    expect(leaks).toEqual(['public.planted.t', 'public.planted.b', 'public.planted.j'])

    const line = logged.length
    log.warn({ err: new Error(`no such user: +${secret}`) }, 'a call failed')
    expect(findLeaks(logPlaces(), [secret])).toEqual([`log line ${line}`])

    const id = `planted-${Date.now()}`
    await system.engine.start({
      input: { requestId: id, steps: [], expiresAt: Date.now() },
      appId: secret,
      country: null,
      queued: false,
    })
    // Only names and events matter here; the run itself finds no such request.
    expect(findLeaks(await dumpTemporal([id]), [secret])).toEqual([
      `history ${id}`,
      `visibility ${id}`,
    ])
  })
})
