import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { clientOf, freshPhone, timed, until } from '../harness/client'
import { type Rig, startRig } from '../harness/rig'

/** Nothing may take longer than this, in milliseconds. */
const hangMs = 6_000
const smsOnly = { channels: ['sms'] }

let rig: Rig
let client: ReturnType<typeof clientOf>

beforeAll(async () => {
  rig = await startRig({ steps: { sms: { timeoutMs: 12_000 } } })
  client = clientOf(rig)
}, 120_000)
afterAll(() => rig.stop(), 60_000)

const isDelivered = (id: string) =>
  until(async () => (await client.status(id)).steps[0]?.status === 'succeeded', {
    what: 'the delivery',
  })

describe('Postgres is down', () => {
  const calls = (phone: string, id: string) => ({
    send: () => client.send(phone, smsOnly),
    verify: () => client.verify({ phone_number: phone, code: '000000' }),
    status: () => client.call('GET', `/otp/${id}`),
    cancel: () => client.call('POST', `/otp/${id}/cancel`),
  })

  test.each(['down', 'freeze'] as const)(
    'every call is a 503 problem in time, and works again by itself (%s)',
    async (how) => {
      const phone = freshPhone()
      const id = await client.sent(phone, smsOnly)
      await isDelivered(id)
      rig.apiDatabase[how]()
      try {
        const answers = await Promise.all(
          Object.values(calls(phone, id)).map((call) =>
            timed<Awaited<ReturnType<typeof call>>>(call),
          ),
        )
        for (const { status, headers, body, ms } of answers) {
          expect({ status, body }).toMatchObject({
            status: 503,
            body: { error_code: 'SERVICE_UNAVAILABLE', message: expect.any(String) },
          })
          expect(headers.get('retry-after')).not.toBeNull()
          expect(ms).toBeLessThan(hangMs)
        }
      } finally {
        rig.apiDatabase.open()
      }
      const since = Date.now()
      await until(async () => (await client.call('GET', `/otp/${id}`)).status === 200)
      expect(Date.now() - since).toBeLessThan(5_000)
      const [message] = await client.inbox(phone)
      expect((await client.verify({ phone_number: phone, code: message?.code })).body.status).toBe(
        'verified',
      )
    },
  )

  /** What the API writes down after the answer to a check: its commit is not the one to be cut. */
  const creditsWritten = () =>
    until(async () => {
      const open = await rig.db
        .one(sql`select from send_decisions d join otp_requests r on r.id = d.request_id
        where r.state = 'verified' and d.outcome is null`)
      return open === undefined
    })

  test.each(['before', 'after'] as const)(
    'a connection that breaks %s a commit fails that one call, and a retry of it finds one request',
    async (moment) => {
      const phone = freshPhone()
      const headers = { 'idempotency-key': randomUUID() }
      await creditsWritten()
      const cut = rig.apiDatabase.arm({ match: /^Q[^]{4}commit/, moment, spring: () => undefined })
      const send = () => client.send(phone, smsOnly, headers)
      expect((await send()).status).toBe(503)
      await cut
      const id = await until(async () => {
        const { status, body } = await send()
        return status === 200 && body.request_id
      })
      await isDelivered(id)
      expect(await client.inbox(phone)).toHaveLength(1)
    },
  )

  test('for the worker only: runs stand still and go on, with one message at the end', async () => {
    const phone = freshPhone()
    rig.workerDatabase.down()
    const id = await client.sent(phone, smsOnly)
    // The length of the outage.
    await pause(2_000)
    rig.workerDatabase.open()
    await isDelivered(id)
    expect(await client.inbox(phone)).toHaveLength(1)
  })
})

test('an outage of Postgres costs a run few events, and the run goes on as soon as it is over', async () => {
  const phone = freshPhone()
  await client.script(phone, { receipt: 'none' })
  const id = await client.sent(phone, { channels: ['sms', 'voice'] })
  const isSilent = async () =>
    (await client.status(id)).steps[0]?.attempts[0]?.status === 'accepted'
  await until(isSilent, { what: 'the message' })
  const events = async () => (await rig.runs.getHandle(id).fetchHistory()).events ?? []
  rig.workerDatabase.freeze()
  try {
    const asks = async () => (await events()).some((event) => event.timerFiredEventAttributes)
    await until(asks, { within: 20_000, what: 'the end of the step' })
    const before = (await events()).length
    await pause(60_000)
    // Each try is six events, and each pause longer than the one before. A local activity that is repeated without
    // an end writes three every four seconds.
    expect((await events()).length - before).toBeLessThanOrEqual(33)
  } finally {
    rig.workerDatabase.open()
  }
  const called = async () => (await client.inbox(phone)).length === 2
  await until(called, { within: 15_000, what: 'the next channel' })
}, 120_000)

test.each(['before', 'after'] as const)(
  'a stumble %s a provider’s answer is written down costs no second message',
  async (moment) => {
    const phone = freshPhone()
    // No receipt comes to prove that the provider has the message.
    await client.script(phone, { receipt: 'none' })
    const wire = { match: /answered as \(/, moment, spring: () => undefined }
    const cut = rig.workerDatabase.arm(wire)
    const id = await client.sent(phone, smsOnly)
    await cut
    const attempts = async () => (await client.status(id)).steps[0]?.attempts ?? []
    await until(async () => (await attempts()).some(({ status }) => status === 'accepted'))
    // Longer than a doubt is given before it is sent again.
    await pause(2_000)
    expect(await attempts()).toMatchObject([{ in_doubt: false }])
    expect(await client.inbox(phone)).toHaveLength(1)
  },
)

test('no process ended', () => {
  expect(rig.crashes).toEqual([])
})
