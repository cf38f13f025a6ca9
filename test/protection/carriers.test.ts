import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createApi } from '../../api/app'
import { openKeyFile } from '../../codes/key-file'
import { addKeys } from '../../codes/key-rotation'
import type { Policy } from '../../config/policy'
import { createApiKey } from '../../db/apps/api-keys'
import { deleteOutlived } from '../../db/upkeep/cleanup'
import { apiDepsOf } from '../harness/api-deps'
import { clientOf, freshPhone, type TestClient, timed } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'
import { visitorsOf } from '../harness/visitor'

let system: System
let live: TestClient
let client: TestClient
let shipped: Policy['protection']

/** Plays the look-ups of Twilio: what was asked, and what is answered. */
const carrier = {
  asked: [] as string[],
  answer: {} as object,
  status: 200,
  delayMs: 0,
}
const server = createServer(
  (request: IncomingMessage, response: ServerResponse) => void reply(request, response),
)
async function reply({ url = '' }: IncomingMessage, response: ServerResponse): Promise<void> {
  carrier.asked.push(decodeURIComponent(url.replace('/v2/PhoneNumbers/', '')))
  if (carrier.delayMs > 0) await pause(carrier.delayMs)
  response.writeHead(carrier.status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ valid: true, ...carrier.answer }))
}

beforeAll(async () => {
  const lookups = await listen(server)
  system = await startSystem({
    fakes: ['twilio'],
    channels: ['sms'],
    variables: { TWILIO_LOOKUP_BASE_URL: lookups },
  })
  shipped = system.policy.protection
  live = clientOf(system, system.liveKey)
  client = clientOf(system)
})
afterAll(async () => {
  await system.stop()
  await closeServer(server)
})
afterEach(() => {
  system.policy.protection = shipped
  Object.assign(carrier, { asked: [], answer: {}, status: 200, delayMs: 0 })
})

const protect = (protection: Policy['protection']) => void (system.policy.protection = protection)
const lookup = { lookup: { provider: 'twilio' } }
const line = (type: string) => ({ line_type_intelligence: { type, carrier_name: 'MTN' } })
const lastRules = async () => {
  const [row] = await system.db.many<{ verdict: string; rules: string[] }>(sql`
    select verdict, array(select f ->> 'rule' from jsonb_array_elements(findings) f) as rules
    from send_decisions order by id desc limit 1`)
  return row
}
const shown = ({ status, body }: { status: number; body: { error_code?: string } }) =>
  `${status} ${body.error_code ?? 'sent'}`

describe('the kind of a line', () => {
  test('is asked once, and kept', async () => {
    protect(lookup)
    carrier.answer = line('mobile')
    const phone = freshPhone()
    expect(shown(await live.send(phone))).toBe('200 sent')
    expect(shown(await live.send(phone, { purpose: 'again' }))).toBe('200 sent')
    expect(carrier.asked).toEqual([`${phone}?Fields=line_type_intelligence`])
    const rows = await system.db.many(sql`select * from number_lookups`)
    expect(rows).toMatchObject([{ line_type: 'mobile', provider: 'twilio', app_id: 'app' }])
    expect(JSON.stringify(rows)).not.toContain(phone.slice(1))
  })

  test('that is not sent to is refused, also out of what is kept', async () => {
    protect(lookup)
    carrier.answer = line('nonFixedVoip')
    const phone = freshPhone()
    for (let i = 0; i < 2; i++) {
      const { status, body } = await live.send(phone)
      expect(shown({ status, body })).toBe('403 BLOCKED')
      expect(JSON.stringify(body)).toContain('add \\"voip\\" to \\"lineTypes\\"')
    }
    expect(await lastRules()).toEqual({ verdict: 'blocked', rules: ['number_type'] })
    expect(carrier.asked).toHaveLength(1)
    protect({ ...lookup, lineTypes: ['mobile', 'voip'] })
    expect(shown(await live.send(phone))).toBe('200 sent')
  })

  test('of a number that carriers do not know', async () => {
    protect(lookup)
    carrier.answer = { valid: false }
    expect(shown(await live.send(freshPhone()))).toBe('403 BLOCKED')
    protect({ ...lookup, rules: { number_type: 'observe' } })
    expect(shown(await live.send(freshPhone()))).toBe('200 sent')
    expect(await lastRules()).toEqual({ verdict: 'allowed', rules: ['number_type'] })
  })

  test('goes by who asks: no test key asks a real carrier', async () => {
    protect(lookup)
    expect(shown(await client.send(freshPhone()))).toBe('200 sent')
    expect(carrier.asked).toEqual([])
  })

  test('is not asked of a number that lists or the plan refuse, or that a block refuses anyway', async () => {
    protect({ ...lookup, countries: ['NG'] })
    expect(shown(await live.send(freshPhone()))).toBe('403 BLOCKED')
    protect(lookup)
    const phone = '+233209990001'
    await system.db.many(sql`
      insert into send_blocks (id, name, app_id, environment, scope, rule, asks, level, since, until)
      values ('blk_t', 'production|app|block|+23320999', 'app', 'production', 'block', 'block_velocity', 'block', 1,
        now(), 'infinity')`)
    expect(shown(await live.send(phone, { ip_address: '8.8.4.4' }))).toBe('403 BLOCKED')
    expect(carrier.asked).toEqual([])
  })

  test('is not asked beyond the limits of sends, and neither is each SIM card', async () => {
    const simSwap = { provider: 'twilio', maxAgeHours: 72 }
    const limits = { ip: [{ max: 2, seconds: 60 }] }
    protect({ ...lookup, simSwap, limits, mode: { live: 'observe' } })
    const given = { ip_address: '8.8.8.4' }
    for (let i = 0; i < 2; i++) expect(shown(await live.send(freshPhone(), given))).toBe('200 sent')
    expect(carrier.asked).toHaveLength(2)
    expect(shown(await live.send(freshPhone(), given))).toBe('429 RATE_LIMITED')
    expect(carrier.asked).toHaveLength(2)
    const phone = freshPhone()
    for (let i = 0; i < 3; i++) expect(shown(await live.send(phone))).toBe('200 sent')
    const asked = carrier.asked.length
    expect(shown(await live.send(phone))).toBe('429 RATE_LIMITED')
    expect(carrier.asked).toHaveLength(asked)
  })

  test('is not asked for a stranger who solved nothing', async () => {
    protect(lookup)
    const { key } = await createApiKey(system.db, {
      appId: 'app',
      environment: 'production',
      scopes: ['send'],
      publishable: true,
    })
    const answer = await visitorsOf(system, key)().send(freshPhone(), { challenge: 'made up' })
    expect(shown(answer)).toBe('403 INVALID_CHALLENGE')
    expect(carrier.asked).toEqual([])
  })

  test('a block does not keep the SIM card of somebody known from being asked about', async () => {
    protect({ simSwap: { provider: 'twilio', maxAgeHours: 72 } })
    carrier.answer = { sim_swap: { last_sim_swap: { swapped_in_period: true } } }
    const phone = '+233209980001'
    const given = { ip_address: '8.8.4.5', risk: 'high' }
    await live.send(phone)
    await system.db.many(sql`insert into recipient_verifications
      select recipient_id, environment, now() from otp_requests order by created_at desc limit 1`)
    await system.db.many(sql`
      insert into send_blocks (id, name, app_id, environment, scope, rule, asks, level, since, until)
      values ('blk_k', 'production|app|block|+23320998', 'app', 'production', 'block', 'block_velocity', 'block', 1,
        now(), 'infinity')`)
    carrier.asked = []
    expect(shown(await live.send(phone, given))).toBe('403 CHALLENGE_REQUIRED')
    expect(carrier.asked).toHaveLength(1)
  })

  test('is asked anew when its time is over', async () => {
    protect(lookup)
    carrier.answer = line('mobile')
    const phone = freshPhone()
    await live.send(phone)
    await system.db.many(sql`update number_lookups set expires_at = now() - interval '1 second'`)
    await live.send(phone)
    expect(carrier.asked).toHaveLength(2)
    await system.db.many(sql`update number_lookups set expires_at = now() - interval '1 second'`)
    await deleteOutlived(system.db, 100)
    expect(await system.db.many(sql`select from number_lookups`)).toEqual([])
  })

  test('is found under the key before, and forgotten with the number', async () => {
    protect(lookup)
    const phone = freshPhone()
    await live.send(phone)
    addKeys(system.keysFile, ['app_index'])
    const keyring = openKeyFile(system.keysFile, { strict: true, settleMs: 0 })
    const api = createServer(createApi({ ...apiDepsOf(system), keyring }) as never)
    const renewed = clientOf({ ...system, url: await listen(api) }, system.liveKey)
    expect(shown(await renewed.send(phone))).toBe('200 sent')
    expect(carrier.asked).toHaveLength(1)
    await closeServer(api)
    keyring.close()
    const operator = clientOf(system, system.operatorKey)
    await operator.call('POST', '/admin/erasures', { phone_number: phone })
    await live.send(phone)
    expect(carrier.asked).toHaveLength(2)
  })
})

describe('a carrier without an answer', () => {
  const asksForChallenge = async (phone: string) => {
    const answer = await timed(() => live.send(phone))
    expect(shown(answer)).toBe('403 CHALLENGE_REQUIRED')
    expect(await lastRules()).toEqual({ verdict: 'challenge', rules: ['lookup_unanswered'] })
    return answer
  }

  test.each([
    ['that is down', { status: 503 }],
    ['that answers nonsense', { status: 200, answer: { valid: 'perhaps' } }],
    ['that refuses', { status: 429 }],
  ])('%s: a challenge is asked for', async (_title, given) => {
    protect({ ...lookup, mode: { live: 'block' } })
    Object.assign(carrier, given)
    const phone = freshPhone()
    await asksForChallenge(phone)
    Object.assign(carrier, { status: 200, answer: line('mobile') })
    expect(shown(await live.send(phone))).toBe('200 sent')
  })

  test('that is slow: nobody waits for it', async () => {
    protect({ ...lookup, simSwap: { provider: 'twilio', maxAgeHours: 24 } })
    carrier.delayMs = 4_000
    const { ms } = await asksForChallenge(freshPhone())
    // Both are asked by one call, which is not waited for as long as it takes.
    expect(carrier.asked).toHaveLength(1)
    expect(ms).toBeLessThan(carrier.delayMs)
  })

  test('that is only watched: the send goes out', async () => {
    protect({ ...lookup, mode: { live: 'observe' } })
    carrier.status = 503
    expect(shown(await live.send(freshPhone()))).toBe('200 sent')
    expect(await lastRules()).toEqual({ verdict: 'allowed', rules: ['lookup_unanswered'] })
  })

  test('an account that is not there is one', async () => {
    protect({ lookup: { provider: 'nobody' } })
    await asksForChallenge(freshPhone())
  })
})

describe('what else carriers know', () => {
  const risk = (score: number, blocked = false) => ({
    ...line('mobile'),
    sms_pumping_risk: { sms_pumping_risk_score: score, number_blocked: blocked },
  })
  test.each([
    [risk(10), '200 sent'],
    [risk(74), '200 sent'],
    [risk(75), '403 CHALLENGE_REQUIRED'],
    [risk(10, true), '403 CHALLENGE_REQUIRED'],
  ])('a risk of %j: %s', async (answer, outcome) => {
    protect({ lookup: { provider: 'twilio', risk: true } })
    carrier.answer = answer
    const phone = freshPhone()
    expect(shown(await live.send(phone))).toBe(outcome)
    expect(carrier.asked).toEqual([`${phone}?Fields=line_type_intelligence,sms_pumping_risk`])
  })

  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString()
  const swap = (last_sim_swap: object | null) => ({ sim_swap: { last_sim_swap } })
  test.each<[string, object, string, string]>([
    ['an hour ago', swap({ last_sim_swap_date: hoursAgo(1) }), 'high', '403 CHALLENGE_REQUIRED'],
    ['an hour ago', swap({ last_sim_swap_date: hoursAgo(1) }), 'normal', '200 sent'],
    ['long ago', swap({ last_sim_swap_date: hoursAgo(100) }), 'high', '200 sent'],
    ['in the period', swap({ swapped_in_period: true }), 'high', '403 CHALLENGE_REQUIRED'],
    ['not in it', swap({ swapped_in_period: false }), 'high', '200 sent'],
    ['nobody knows when', swap({}), 'high', '403 CHALLENGE_REQUIRED'],
    ['no word of it', swap(null), 'high', '403 CHALLENGE_REQUIRED'],
  ])('a SIM card changed %s', async (_title, answer, given, outcome) => {
    protect({ simSwap: { provider: 'twilio', maxAgeHours: 72 } })
    carrier.answer = answer
    const phone = freshPhone()
    expect(shown(await live.send(phone, { risk: given }))).toBe(outcome)
    expect(carrier.asked).toEqual([`${phone}?Fields=sim_swap`])
  })

  test('a change that asks for nothing is written down', async () => {
    protect({ simSwap: { provider: 'twilio', maxAgeHours: 72 } })
    carrier.answer = swap({ last_sim_swap_date: hoursAgo(2) })
    await live.send(freshPhone())
    expect(await lastRules()).toEqual({ verdict: 'allowed', rules: ['sim_swap'] })
  })
})

test('where nobody named countries, production sends to none, and says what to set', async () => {
  const api = createServer(
    createApi(apiDepsOf(system, { isProduction: true, trustProxy: { hops: 1 } })) as never,
  )
  const url = await listen(api)
  const send = async (phone: string) => {
    const answer = await clientOf({ ...system, url }, system.liveKey).send(
      phone,
      {},
      {
        'x-forwarded-proto': 'https',
        'x-forwarded-for': '203.0.113.5',
      },
    )
    return `${shown(answer)} ${JSON.stringify(answer.body)}`
  }
  expect(await send(freshPhone())).toContain('Set \\"countries\\": [\\"GH\\"]')
  protect({ countries: ['GH'] })
  expect(await send(freshPhone())).toMatch(/^200 sent/)
  expect(await send('+2250701234567')).toContain('add \\"CI\\" to \\"countries\\"')
  await closeServer(api)
})
