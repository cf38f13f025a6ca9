import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { setTimeout as pause } from 'node:timers/promises'
import type { Challenge } from 'altcha-lib'
import { sql } from 'drizzle-orm'
import fc from '../harness/properties'
import { charactersOf } from '../../core/verify/alphabet'
import { checkBudget } from '../../core/limits'
import { createApiKey } from '../../db/apps/api-keys'
import { solvedText } from '../harness/challenge'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
/** Of an app whose codes are eight letters and digits. */
let lettered: TestClient
let publishable: TestClient

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  await system.db.many(
    sql`update apps set code_alphabet = 'alphanumeric', code_length = 8 where id = 'other'`,
  )
  lettered = clientOf(system, system.otherKey)
  const { key } = await createApiKey(system.db, {
    appId: 'app',
    environment: 'staging',
    scopes: ['send', 'verify'],
    publishable: true,
  })
  publishable = clientOf(system, key)
})
afterAll(() => system.stop())

const messageTo = (phone: string, channel?: string) =>
  until(async () =>
    (await client.inbox(phone)).find((entry) => !channel || entry.channel === channel),
  )

let purposes = 0
/** A live request of its own for a number, without a look at the limits of sends. */
async function sentTo(phone: string) {
  await system.db.many(sql`delete from send_windows`)
  const purpose = `p${++purposes}`
  const id = await client.sent(phone, { purpose })
  const message = await until(async () =>
    (await client.inbox(phone)).find(({ request_id }) => request_id === id),
  )
  const wrong = message.code === '000000' ? '000001' : '000000'
  return { id, purpose, code: message.code, wrong }
}

/** What an attacker who knows the number can do to it. */
async function burnBudget(phone: string): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const { id, wrong } = await sentTo(phone)
    for (let i = 0; i < 4; i++) await client.verify({ request_id: id, code: wrong })
  }
}

const solve = async (by: TestClient) =>
  solvedText((await by.call('GET', '/otp/challenge')).body as unknown as Challenge)

describe('codes of letters and digits', () => {
  test('are typed as people like, and are the same on every channel', async () => {
    const phone = freshPhone()
    const id = await lettered.sent(phone, { message: 'Code: {{code}}' })
    const { code, text } = await messageTo(phone, 'sms')
    expect(code).toMatch(new RegExp(`^[${charactersOf.alphanumeric}]{8}$`))
    expect(text).toBe(`Code: ${code}`)
    await lettered.call('POST', `/otp/${id}/next`)
    const call = await messageTo(phone, 'voice')
    expect(call).toMatchObject({ code, text: `Code: ${[...code].join(', ')}` })
    expect((await lettered.verify({ request_id: id, code: 'AAAAAAAA' })).body.status).toBe(
      'rejected',
    )
    const typed = ` ${code.slice(0, 4).toLowerCase()}–${code.slice(4)}\n`
    expect((await lettered.verify({ request_id: id, code: typed })).body.status).toBe('verified')
  })
})

describe('too many wrong checks of one number', () => {
  test('the owner gets in with a solved challenge, which is spent by that', async () => {
    const phone = freshPhone()
    await burnBudget(phone)
    const { id, code } = await sentTo(phone)
    const refused = await client.verify({ request_id: id, code })
    expect(refused).toMatchObject({
      status: 429,
      body: { error_code: 'TOO_MANY_CHECKS', request_id: id, action: 'solve_challenge' },
    })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(3_600)
    for (const challenge of ['nonsense', await solve(lettered)])
      expect(await client.verify({ request_id: id, code, challenge })).toMatchObject({
        status: 403,
        body: { error_code: 'INVALID_CHALLENGE' },
      })
    const challenge = await solve(client)
    expect((await client.verify({ request_id: id, code, challenge })).body.status).toBe('verified')
    expect((await client.status(id)).checks).toEqual({ used: 1, max: 5 })
    const again = await sentTo(phone)
    expect(
      await client.verify({ request_id: again.id, code: again.code, challenge }),
    ).toMatchObject({ status: 403, body: { error_code: 'INVALID_CHALLENGE' } })
  })

  test('of a day, challenged ones included, no challenge gets past, and none is spent', async () => {
    const phone = freshPhone()
    const { id, code, wrong } = await sentTo(phone)
    await client.verify({ request_id: id, code: wrong })
    await system.db
      .many(sql`update check_budgets set wrong = array(select now() - make_interval(hours => 2, mins => n)
        from generate_series(${checkBudget.challenged.max}::int, 1, -1) n)
      where recipient_id = (select recipient_id from otp_requests where id = ${id})`)
    const challenge = await solve(client)
    const refused = await client.verify({ request_id: id, code, challenge })
    expect(refused).toMatchObject({ status: 429, body: { error_code: 'TOO_MANY_CHECKS' } })
    expect(refused.body).not.toHaveProperty('action')
    // Until the oldest is a day old.
    const wait = Number(refused.headers.get('retry-after'))
    expect(Math.abs(wait - (22 * 3_600 - checkBudget.challenged.max * 60))).toBeLessThan(30)
    const other = await sentTo(freshPhone())
    expect(
      (await client.verify({ request_id: other.id, code: other.code, challenge })).status,
    ).toBe(200)
    await system.db.many(sql`update check_budgets set wrong = wrong[2:]
      where recipient_id = (select recipient_id from otp_requests where id = ${id})`)
    expect((await client.verify({ request_id: id, code, challenge })).body.status).toBe('verified')
  })

  test('a challenge that is not needed is not spent', async () => {
    const challenge = await solve(client)
    const { id, code } = await sentTo(freshPhone())
    expect((await client.verify({ request_id: id, code, challenge })).body.status).toBe('verified')
    const phone = freshPhone()
    await burnBudget(phone)
    const held = await sentTo(phone)
    expect(
      (await client.verify({ request_id: held.id, code: held.code, challenge })).body.status,
    ).toBe('verified')
  })

  test('a hundred in a row lock until an operator unlocks', async () => {
    const phone = freshPhone()
    const { id, code, wrong } = await sentTo(phone)
    await client.verify({ request_id: id, code: wrong })
    await system.db.many(sql`update check_budgets set consecutive = 100 where recipient_id =
      (select recipient_id from otp_requests where id = ${id})`)
    const challenge = await solve(client)
    expect(await client.verify({ request_id: id, code, challenge })).toMatchObject({
      status: 429,
      body: { error_code: 'LOCKED', action: 'contact_support' },
    })
  })
})

describe('to a publishable key', () => {
  const raw = async (given: Record<string, unknown>) => {
    const { status, headers, body } = await publishable.verify(given)
    return { status, length: headers.get('content-length'), body: JSON.stringify(body) }
  }

  test('every refusal is the same, byte for byte', async () => {
    const wrong = await sentTo(freshPhone())
    const used = await sentTo(freshPhone())
    await client.verify({ request_id: used.id, code: used.code })
    const cancelled = await sentTo(freshPhone())
    await client.call('POST', `/otp/${cancelled.id}/cancel`)
    const locked = await sentTo(freshPhone())
    for (let i = 0; i < 5; i++) await client.verify({ request_id: locked.id, code: locked.wrong })
    const expired = await sentTo(freshPhone())
    await system.db.many(sql`update otp_requests set created_at = created_at - interval '1 hour',
      expires_at = expires_at - interval '1 hour' where id = ${expired.id}`)
    const phone = freshPhone()
    await burnBudget(phone)
    const held = await sentTo(phone)
    const otherApps = await lettered.sent(freshPhone())
    const answers = {
      wrong: await raw({ request_id: wrong.id, code: wrong.wrong }),
      unknown: await raw({ request_id: `otp_${'a'.repeat(26)}`, code: '123456' }),
      otherApps: await raw({ request_id: otherApps, code: '123456' }),
      used: await raw({ request_id: used.id, code: used.code }),
      cancelled: await raw({ request_id: cancelled.id, code: cancelled.code }),
      locked: await raw({ request_id: locked.id, code: locked.code }),
      expired: await raw({ request_id: expired.id, code: expired.code }),
      held: await raw({ request_id: held.id, code: held.code }),
      badChallenge: await raw({ request_id: held.id, code: held.code, challenge: 'nonsense' }),
    }
    expect(answers.wrong).toMatchObject({ status: 200 })
    expect(JSON.parse(answers.wrong.body)).toEqual({
      status: 'rejected',
      error_code: 'INVALID_CODE',
      message: 'This code is not right.',
      request_id: null,
      attempts_remaining: 0,
    })
    for (const [name, answer] of Object.entries(answers))
      expect({ name, answer }).toEqual({ name, answer: answers.wrong })
    expect(JSON.parse((await raw({ request_id: wrong.id, code: wrong.code })).body)).toMatchObject({
      status: 'verified',
      request_id: wrong.id,
      assurance: 'restricted',
      proof: expect.any(String),
    })
  })

  test('only a request id leads to a code', async () => {
    const phone = freshPhone()
    const { id, code, purpose } = await sentTo(phone)
    for (const given of [{ phone_number: phone }, { request_id: id, purpose }, {}])
      expect(await publishable.verify({ ...given, code })).toMatchObject({
        status: 400,
        body: { error_code: 'INVALID_REQUEST' },
      })
  })
})

describe('whatever is typed', () => {
  const refusals = async (code: unknown) => {
    const { status, body } = await client.verify({ request_id: `otp_${'b'.repeat(26)}`, code })
    return status === 200 ? body.status : status
  }

  test.each([
    '',
    '\n',
    '١٢٣٤٥٦',
    '１２３４５６',
    '12345\n',
    '12 34\u00a056',
    '\u0000\u0000\u0000\u0000',
    '1'.repeat(100),
    '1'.repeat(101),
    '😀😀😀😀😀😀',
    '\ud800123456',
    'ſſſſſſ',
    "' or 1=1 --",
    123456,
    null,
    ['123456'],
    { code: '123456' },
  ])('%j is refused and breaks nothing', async (code) => {
    expect(['rejected', 400]).toContain(await refusals(code))
  })

  test('of any length from 0 to 100 too', async () => {
    const typed = fc.sample(
      fc.oneof(
        fc.string({ unit: 'grapheme', maxLength: 100 }),
        fc.string({ unit: 'binary', maxLength: 100 }),
        fc.stringMatching(/^[0-9A-Za-z -]{0,100}$/),
      ),
      { numRuns: 200 },
    )
    // Making them may take longer than a server keeps an idle connection, and both live in this process.
    await pause(200)
    for (const code of typed)
      expect({ code, isRefused: ['rejected', 400].includes((await refusals(code)) ?? '') }).toEqual(
        {
          code,
          isRefused: true,
        },
      )
  })
})
