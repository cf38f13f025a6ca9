import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { Environment } from '../../core/requests/state'
import { creditSends, settleSends } from '../../db/protection/decisions'
import { raiseByHand } from '../../db/protection/blocks-by-hand'
import { createApiKey } from '../../db/apps/api-keys'
import { openRequest } from '../../db/requests/sends'
import { clientOf, freshPhone, type TestClient } from '../harness/client'
import { type OlderDatabase, olderDatabase } from '../harness/older-database'
import { sendInput } from '../harness/seed'
import { startSystem, type System } from '../harness/system'

let system: System
let clients: Record<Environment, TestClient>

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  const clientFor = async (environment: Environment) => {
    const scopes = ['send', 'verify', 'read']
    const key = { appId: 'app', environment, scopes }
    return clientOf(system, (await createApiKey(system.db, key)).key)
  }
  clients = {
    production: await clientFor('production'),
    staging: await clientFor('staging'),
    development: await clientFor('development'),
  }
})
afterAll(() => system?.stop())

const send = (
  value: string,
  environment: Environment,
  given: Partial<Parameters<typeof openRequest>[2]['protection']> = {},
) =>
  openRequest(
    system.db,
    system.keyring,
    sendInput({
      environment,
      recipient: { kind: 'phone', value },
      purpose: `p${++purposes}`,
      protection: { ...sendInput().protection, mode: 'block', ...given },
    }),
  )
let purposes = 0
/** A code comes back. */
const verified = async (value: string, environment: Environment) => {
  const opened = await send(value, environment)
  if (!('requestId' in opened)) throw new Error(opened.outcome)
  await system.db
    .many(sql`update otp_requests set state = 'verified', reason = 'code_matched', ended_at = now(),
    code_salt = null, code_mac = null where id = ${opened.requestId}`)
  expect(await creditSends(system.db, [opened.requestId])).toBe(1)
}
const shut = (value: string, environment: Environment) =>
  raiseByHand(system.db, {
    ...{ appId: 'app', environment, actor: 'test' },
    ...{ scope: 'block', place: value.slice(0, -4), asks: 'block' },
  })
const number = (block: number, last = 1) => `+23324${5_000 + block}${String(last).padStart(4, '0')}`

describe('a code that came back in a test', () => {
  test('lets its number through no live block, and one in production through no test block', async () => {
    for (const [at, other, block] of [
      ['staging', 'production', 1],
      ['development', 'production', 2],
      ['production', 'staging', 3],
    ] as const) {
      await verified(number(block), at)
      await shut(number(block), at)
      await shut(number(block), other)
      expect([at, (await send(number(block), other)).outcome]).toEqual([at, 'protected'])
      expect([at, (await send(number(block), at)).outcome]).toEqual([at, 'created'])
    }
  })

  test('takes no live message out of what counts as lost', async () => {
    const opened = await send(number(4), 'production')
    if (!('requestId' in opened)) throw new Error(opened.outcome)
    await verified(number(4), 'staging')
    await system.db.many(sql`update send_decisions set matures_at = now()
      where request_id = ${opened.requestId}`)
    await settleSends(system.db, 100)
    const row = await system.db.one(
      sql`select outcome from send_decisions where request_id = ${opened.requestId}`,
    )
    expect(row).toEqual({ outcome: 'unconverted' })
  })
})

describe('a block', () => {
  test('answers strangers alike, whether a number is known or not', async () => {
    await verified(number(5), 'production')
    await shut(number(5), 'production')
    const asPage = { isPublic: true }
    const known = await send(number(5), 'production', asPage)
    const unknown = await send(number(5, 2), 'production', asPage)
    expect([known.outcome, unknown.outcome]).toEqual(['protected', 'protected'])
    expect((await send(number(5), 'production')).outcome).toBe('created')
  })

  test('holds a known number once three messages within a day brought no code back', async () => {
    await verified(number(6), 'production')
    await shut(number(6), 'production')
    const limits = { ...sendInput().protection.limits, recipient: [{ max: 100, seconds: 60 }] }
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, () => send(number(6), 'production', { limits })),
    )
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual([
      ...Array<string>(3).fill('created'),
      ...Array<string>(5).fill('protected'),
    ])
  })
})

test('a preference is of one environment: a test key neither sets, reads nor deletes a live one', async () => {
  const { production, staging } = clients
  const phone_number = freshPhone()
  const put = (client: TestClient, channel: string) =>
    client.call('PUT', '/preferences', { phone_number, channel })
  const read = async (client: TestClient) =>
    (await client.call('POST', '/preferences/lookup', { phone_number })).body.channel
  await put(staging, 'whatsapp')
  expect([await read(staging), await read(production)]).toEqual(['whatsapp', null])
  await put(production, 'voice')
  expect([await read(staging), await read(production)]).toEqual(['whatsapp', 'voice'])
  const { body } = await staging.call('POST', '/preferences/delete', { phone_number })
  expect([body, await read(staging), await read(production)]).toEqual([
    ...[{ deleted: true }, null, 'voice'],
  ])
  expect((await staging.send(phone_number)).body.channel).toBe('sms')
})

describe('an update from a version that knew no environment of either', () => {
  let older: OlderDatabase
  beforeAll(async () => void (older = await olderDatabase('0018_email_domains')))
  afterAll(() => older?.drop())

  test('trusts a live number only for a live code, and keeps every preference', async () => {
    const { db } = older
    await db.many(sql`insert into apps (id, name, brand) values ('app', 'Acme', 'Acme')`)
    await db.many(sql`insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid, verified_at)
      select id, 'app', 'phone', convert_to(id, 'UTF8'), 'k', 'c', 'k', '2026-11-01T12:00:00Z'
      from unnest(array['rcp_live', 'rcp_test', 'rcp_gone']) id`)
    await db.many(sql`insert into otp_requests (id, app_id, recipient_id, purpose, environment, locale, brand,
        plan, code_kid, code_length, max_checks, expires_at)
      select 'otp_' || recipient || environment, 'app', recipient, 'p', environment::key_environment, 'en', 'Acme', '[]', 'k', 6, 5,
        '2026-11-01T12:05:00Z'
      from (values ('rcp_live', 'production'), ('rcp_live', 'development'), ('rcp_test', 'staging')) v (recipient, environment)`)
    await db.many(sql`update otp_requests
      set state = 'verified', reason = 'code_matched', ended_at = '2026-11-01T11:59:00Z'`)
    await db.many(sql`insert into preferences (recipient_id, channel) values ('rcp_live', 'voice')`)
    await older.migrate()
    expect(
      await db.many(sql`select recipient_id as id, environment,
          to_char(verified_at at time zone 'UTC', 'HH24:MI') as at
        from recipient_verifications order by 1, 2`),
    ).toEqual([
      { id: 'rcp_gone', environment: 'staging', at: '12:00' },
      { id: 'rcp_gone', environment: 'development', at: '12:00' },
      { id: 'rcp_live', environment: 'production', at: '11:59' },
      { id: 'rcp_live', environment: 'development', at: '11:59' },
      { id: 'rcp_test', environment: 'staging', at: '11:59' },
    ])
    expect(
      await db.many(
        sql`select recipient_id as id, environment, channel from preferences order by 2`,
      ),
    ).toEqual(
      ['production', 'staging', 'development'].map((environment) => ({
        ...{ id: 'rcp_live', environment, channel: 'voice' },
      })),
    )
  })
})
