import { createHash, createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { allNumbers, bruteForce, digestsIn } from '../harness/brute-force'
import { clientOf, type TestClient, until } from '../harness/client'
import { dumpPostgres, dumpTemporal, type Place } from '../harness/leaks'
import { startSystem, type System } from '../harness/system'

/** The thief knows that customers have numbers of this block. */
const block = '+23324'
const phone = `${block}1234567`

let system: System
let client: TestClient
let stolen: Place[]
let requestId: string
let code: string
let salt: Buffer

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  requestId = await client.sent(phone, {
    channels: ['sms', 'ussd'],
    metadata: { order: '17' },
    ip_address: '203.0.113.7',
  })
  ;({ code } = await until(async () => (await client.inbox(phone))[0], { what: 'a message' }))
  await client.call('PUT', '/preferences', { phone_number: phone, channel: 'sms' })
  await client.call(
    'POST',
    '/otp/send',
    { phone_number: phone },
    { 'idempotency-key': 'a-key-of-mine' },
  )
  // The request is still pending: its salt and MAC are there to be stolen.
  await client.verify({ request_id: requestId, code: code === '000000' ? '000001' : '000000' })
  stolen = [...(await dumpPostgres(system.databaseUrl)), ...(await dumpTemporal([requestId]))]
  const row = await system.db.one<{ salt: Buffer }>(
    sql`select code_salt as salt from otp_requests where id = ${requestId}`,
  )
  if (!row) throw new Error('The request is gone.')
  salt = row.salt
})
afterAll(() => system.stop())

const digestPlaces = (places: Place[]) => [...new Set(digestsIn(places).values())]

describe('a stolen dump of Postgres and Temporal, without the key file', () => {
  test('holds digests, the MAC of the code and the indexes of the number among them', () => {
    expect(digestPlaces(stolen)).toEqual(
      expect.arrayContaining([
        'public.otp_requests.code_mac',
        'public.recipients.index',
        'public.idempotency_keys.key_mac',
        'public.attempts.callback_digest',
      ]),
    )
  })

  test('gives no code to somebody who tries all of them', () => {
    const surroundings = { texts: [requestId], salts: [salt] }
    expect(bruteForce(digestsIn(stolen), allNumbers(6), surroundings)).toEqual([])
  }, 300_000)

  test('gives no code to somebody who knows the number, and no number of its block', () => {
    const digests = digestsIn(stolen)
    const numbers = { texts: ['app'], salts: [] }
    // The block's last five digits, with the customer's among them; `npm run attack:dump` tries all seven.
    expect(bruteForce(digests, allNumbers(5, phone.slice(0, -5)), numbers)).toEqual([])
    expect(bruteForce(digests, allNumbers(5, phone.slice(1, -5)), numbers)).toEqual([])
    const codes = [...allNumbers(4, code.slice(0, 2))]
    expect(codes).toContain(code)
    expect(bruteForce(digests, codes, { texts: [phone, phone.slice(1)], salts: [] })).toEqual([])
  }, 300_000)

  test.each<[string, () => Buffer | string, string]>([
    ['a bare digest of the code', () => createHash('sha256').update(code).digest(), 'code'],
    [
      'one with the request id before it, as base64',
      () =>
        createHash('sha1')
          .update(requestId + code)
          .digest('base64'),
      'code',
    ],
    [
      'one keyed by the salt of its row',
      () => createHmac('sha256', salt).update(code).digest(),
      'code',
    ],
    ['a bare digest of the number', () => createHash('md5').update(phone).digest('hex'), 'number'],
  ])('the attack finds %s where somebody plants it', async (_what, digest, secret) => {
    const made = digest()
    const planted: Place = {
      name: 'planted',
      text: typeof made === 'string' ? made : `${made.toString('hex')} ${made.toString('latin1')}`,
    }
    const digests = digestsIn([...stolen, planted])
    const cracked =
      secret === 'code'
        ? bruteForce(digests, allNumbers(4, code.slice(0, 2)), {
            texts: [requestId],
            salts: [salt],
          })
        : bruteForce(digests, allNumbers(3, phone.slice(0, -3)), { texts: [], salts: [] })
    expect(cracked).toContainEqual({ name: 'planted', candidate: secret === 'code' ? code : phone })
  })
})
