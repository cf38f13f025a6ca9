import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { deriveCode } from '../codes/code'
import type { CodeSeed } from '../codes/code'
import { oldestUnclaimedSeconds } from '../db/requests/backlog'
import { clientOf, freshPhone, type TestClient, until, untilState } from './harness/client'
import { type Receiver, startReceiver } from './harness/receiver'
import { startSystem, type System } from './harness/system'
import { publishableKeyOf, shown, visitorsOf } from './harness/visitor'

let system: System
let client: TestClient
let operator: TestClient
let receiver: Receiver

/** All numbers of it are blocked. */
const blocked = '+23324999'
let last = 0
const blockedPhone = () => `${blocked}${String(++last * 37).padStart(4, '0')}`
/** The rules leave callers on this machine alone. */
const elsewhere = () => ({ ip_address: `8.8.${Math.floor(++last / 250)}.${(last % 250) + 1}` })

beforeAll(async () => {
  system = await startSystem({ trustProxy: { hops: 1 } })
  Object.assign(system.policy, { protection: { mode: { live: 'quiet', test: 'quiet' } } })
  client = clientOf(system)
  operator = clientOf(system, system.operatorKey)
  receiver = await startReceiver()
  const url = `${receiver.url}/events`
  await operator.call('POST', '/admin/event-endpoints', {
    app_id: 'app',
    environment: 'staging',
    url,
  })
})
afterAll(async () => {
  await receiver.close()
  await system.stop()
})
const raise = async () => {
  const wish = { app_id: 'app', environment: 'staging', scope: 'block', prefix: blocked }
  return String((await operator.call('POST', '/admin/blocks', wish)).body.block_id)
}
let blockId: string
beforeEach(async () => void (blockId = await raise()))

const send = (phone: string, given: object = {}, headers = {}) =>
  client.send(phone, { ...elsewhere(), ...given }, headers)
const makeOlder = (id: string, seconds: number) =>
  system.db
    .many(sql`update otp_requests set created_at = created_at - make_interval(secs => ${seconds}),
    expires_at = expires_at - make_interval(secs => ${seconds}) where id = ${id}`)

describe('a quiet send', () => {
  test('is answered as any other; nothing goes out, and the app can tell', async () => {
    const phone = blockedPhone()
    const [loud, quiet] = [await send(freshPhone()), await send(phone)]
    expect(quiet.status).toBe(200)
    expect(Object.keys(quiet.body)).toEqual(Object.keys(loud.body))
    expect(quiet.body).toMatchObject({ status: 'sent', channel: loud.body.channel })
    await until(async () => (await client.status(loud.body.request_id)).delivered_at)
    expect(await client.inbox(phone)).toEqual([])
    const status = await client.status(quiet.body.request_id)
    expect(status).toMatchObject({
      state: 'pending',
      quiet: true,
      protection: {
        verdict: 'quiet',
        mode: 'quiet',
        findings: [{ rule: 'blocked', scope: 'block', label: blocked, asks: 'block' }],
      },
    })
    expect(status.steps.flatMap(({ attempts }) => attempts)).toEqual([])
    expect(await client.status(loud.body.request_id)).not.toHaveProperty('quiet')
    const row = await system.db
      .one(sql`select run_id as run, signal_due_at as due, attempt_seq as attempts
      from otp_requests where id = ${quiet.body.request_id}`)
    expect(row).toEqual({ run: null, due: null, attempts: 0 })
    expect(await oldestUnclaimedSeconds(system.db)).toBe(0)
  })

  test('has no code that is right, not even the one it would have had', async () => {
    const id = (await send(blockedPhone())).body.request_id
    const seed = await system.db.one<Omit<CodeSeed, 'requestId'>>(
      sql`select code_salt as salt, code_kid as kid, code_generation as generation, code_length as length,
        code_alphabet as alphabet from otp_requests where id = ${id}`,
    )
    if (!seed) throw new Error('no row')
    const code = deriveCode(system.keyring, { requestId: id, ...seed })
    const loud = (await send(freshPhone())).body.request_id
    const [one, other] = [
      await client.verify({ request_id: id, code }),
      await client.verify({ request_id: loud, code: 'abcdef' }),
    ]
    expect({ ...one.body, request_id: 0 }).toEqual({ ...other.body, request_id: 0 })
    expect(shown(one)).toBe('200 INVALID_CODE')
    for (let turn = 0; turn < 3; turn++) await client.verify({ request_id: id, code })
    expect(shown(await client.verify({ request_id: id, code }))).toBe('200 INVALID_CODE')
    expect(shown(await client.verify({ request_id: id, code }))).toBe('429 LOCKED')
  })

  test('says so in the events about it, from the first to the last', async () => {
    const id = (await send(blockedPhone())).body.request_id
    expect((await client.call('POST', `/otp/${id}/cancel`)).status).toBe(200)
    // Events may overtake each other.
    await until(async () => receiver.of(id).length >= 2 || undefined)
    const told = receiver.of(id).map(({ body }) => [body.type, String(body.quiet)].join(' '))
    expect(told.toSorted()).toEqual(['cancelled true', 'created true'])
    const loud = (await send(freshPhone())).body.request_id
    await until(async () => receiver.of(loud, 'delivered')[0])
    for (const { body } of receiver.of(loud)) expect(body).not.toHaveProperty('quiet')
  })

  test('is repeated, sent again, moved on and read again as any other', async () => {
    const phone = blockedPhone()
    const again = { 'idempotency-key': 'quiet' }
    const body = elsewhere()
    const first = await send(phone, body, again)
    const id = first.body.request_id
    const replayed = await send(phone, body, again)
    expect(replayed.body).toEqual(first.body)
    expect(replayed.headers.get('idempotent-replayed')).toBe('true')
    expect((await send(phone)).body).toMatchObject({ request_id: id, resend: 'already_sending' })
    await makeOlder(id, 15)
    expect((await send(phone)).body).toMatchObject({ request_id: id, resend: 'sent' })
    await system.db.many(sql`delete from send_windows`)
    expect((await client.call('POST', `/otp/${id}/resend`)).body).toMatchObject({ status: 'sent' })
    const moves: unknown[] = []
    for (;;) {
      const moved = await client.call('POST', `/otp/${id}/next`)
      moves.push(moved.body.channel ?? moved.body.error_code)
      if (moved.status !== 200) break
    }
    const { steps } = await client.status(id)
    const channels = steps.map(({ channel }) => channel)
    expect(moves).toEqual([...channels.slice(1), 'NO_NEXT_CHANNEL'])
    expect(await client.inbox(phone)).toEqual([])
    const waits = await client.call('GET', `/otp/${id}?wait=1`)
    expect(waits.body.state).toBe('pending')
    const windows = await system.db.many(sql`select from ussd_windows where request_id = ${id}`)
    expect(windows).toEqual([])
  })

  test('does not keep its caller waiting for a provider that is never asked', async () => {
    const since = performance.now()
    const { status, headers } = await send(blockedPhone(), {}, { prefer: 'wait=10' })
    expect([status, headers.get('preference-applied')]).toEqual([200, 'wait=10'])
    expect(performance.now() - since).toBeLessThan(8_000)
  })

  test('ends with its time, by the next look and by the sweeper', async () => {
    const ids = [
      (await send(blockedPhone())).body.request_id,
      (await send(blockedPhone())).body.request_id,
    ]
    const [looked = '', swept = ''] = ids
    for (const id of ids) await makeOlder(id, 299)
    await until(async () => {
      const row = await system.db.one<{ state: string }>(
        sql`select state from otp_requests where id = ${swept}`,
      )
      return row?.state !== 'pending'
    })
    for (const id of [looked, swept])
      expect(await untilState(client, id)).toMatchObject({
        state: 'exhausted',
        reason: 'no_step_succeeded',
      })
  })

  test('of a page: the same members, and the same words about its code', async () => {
    const page = visitorsOf(system, await publishableKeyOf(system))
    const [loud, quiet] = [await page().send(freshPhone()), await page().send(blockedPhone())]
    expect(Object.keys(quiet.body)).toEqual(Object.keys(loud.body))
    expect(quiet.body).toMatchObject({
      status: 'sent',
      channel: loud.body.channel,
      instruction: loud.body.instruction,
      resend_after: loud.body.resend_after,
    })
    const wrong = async (id: unknown) =>
      (await page().verify({ request_id: id, code: 'abcdef' })).body
    const [one, other] = [await wrong(quiet.body.request_id), await wrong(loud.body.request_id)]
    expect({ ...one, request_id: 0 }).toEqual({ ...other, request_id: 0 })
    const status = await client.status(String(quiet.body.request_id))
    expect(status).toMatchObject({ quiet: true, protection: { verdict: 'quiet' } })
  })
})

describe('the end of it', () => {
  test('whose block is lifted gets a code, in a request of its own', async () => {
    const phone = blockedPhone()
    const quiet = (await send(phone)).body.request_id
    await operator.call('POST', `/admin/blocks/${blockId}/lift`)
    const loud = (await send(phone)).body.request_id
    expect(loud).not.toBe(quiet)
    const message = await until(async () => (await client.inbox(phone))[0])
    expect(message.request_id).toBe(loud)
    expect(await client.status(quiet)).toMatchObject({ state: 'cancelled', reason: 'superseded' })
    expect(await client.status(loud)).toMatchObject({ protection: { verdict: 'allowed' } })
    expect(shown(await client.verify({ request_id: loud, code: message.code }))).toBe(
      '200 verified',
    )
  })

  test('who came back with a code before is sent one, block or not', async () => {
    await operator.call('POST', `/admin/blocks/${blockId}/lift`)
    const phone = blockedPhone()
    const id = (await send(phone)).body.request_id
    const { code } = await until(async () => (await client.inbox(phone))[0])
    expect(shown(await client.verify({ request_id: id, code }))).toBe('200 verified')
    await until(
      async () =>
        (
          await system.db.one<{ known: boolean }>(sql`select verified_at is not null as known
        from recipients r join otp_requests q on q.recipient_id = r.id where q.id = ${id}`)
        )?.known,
    )
    await raise()
    const next = (await send(phone)).body.request_id
    expect(await client.status(next)).not.toHaveProperty('quiet')
  })

  test('a request that was sent before the block is not sent again, and says it was', async () => {
    await operator.call('POST', `/admin/blocks/${blockId}/lift`)
    const phone = blockedPhone()
    const id = (await send(phone)).body.request_id
    const { code } = await until(async () => (await client.inbox(phone))[0])
    await raise()
    await system.db.many(sql`update attempts set claimed_at = claimed_at - interval '20 seconds'
      where request_id = ${id}`)
    expect((await send(phone)).body).toMatchObject({ request_id: id, resend: 'sent' })
    const { events, quiet } = await client.status(id)
    expect(events.find(({ type }) => type === 'repeated')?.detail).toMatchObject({ quiet: true })
    expect(quiet).toBeUndefined()
    expect(await client.inbox(phone)).toHaveLength(1)
    expect(shown(await client.verify({ request_id: id, code }))).toBe('200 verified')
  })
})

test('an attack raises its block while every send of it is answered 200', async () => {
  const at = (index: number) => `+23324777${String((index * 1_733) % 10_000).padStart(4, '0')}`
  const answers = []
  for (let index = 0; index < 12; index++) answers.push(await send(at(index)))
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
  const blocks = await operator.call<{ blocks: object[] }>('GET', '/admin/blocks?standing=true')
  expect(blocks.body.blocks).toContainEqual(
    expect.objectContaining({ scope: 'block', label: '+23324777', rule: 'block_velocity' }),
  )
  const rows = await system.db.one<{ quiet: number }>(sql`
    select count(*) filter (where quiet)::int as quiet from otp_requests r
      join send_decisions d on d.request_id = r.id and d.verdict = 'quiet' where r.id = any(${sql.param(
        answers.map(({ body }) => body.request_id),
      )})`)
  expect(rows?.quiet).toBeGreaterThan(5)
})
