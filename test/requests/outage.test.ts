import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { clientOf, freshPhone, timed, until, untilState } from '../harness/client'
import { type Rig, startRig } from '../harness/rig'

let rig: Rig
let client: ReturnType<typeof clientOf>

beforeAll(async () => {
  rig = await startRig({ steps: { sms: { timeoutMs: 12_000 } } })
  client = clientOf(rig)
}, 120_000)
afterAll(() => rig.stop(), 60_000)

beforeEach(async () => {
  for (const member of [rig.temporal, rig.worker, rig.api]) member.keepAlive = true
  await Promise.all([rig.api.ready(), rig.worker.ready(), rig.temporal.ready()])
})

/** Kills a process for as long as `during` takes. */
async function without<T>(
  member: Rig['temporal'] | Rig['worker'],
  during: () => Promise<T>,
): Promise<T> {
  member.keepAlive = false
  member.kill()
  await member.ready()
  try {
    return await during()
  } finally {
    member.keepAlive = true
    await member.start()
  }
}

const smsOnly = { channels: ['sms'] }

const arrived = (phone: string, within = 20_000) =>
  until(async () => (await client.inbox(phone))[0], { within, what: 'a message' })

const isDelivered = (id: string) =>
  until(async () => (await client.status(id)).steps[0]?.status === 'succeeded', {
    within: 20_000,
    what: 'the delivery',
  })

const rowOf = async (id: string) => {
  const row = await rig.db.one<{ state: string; reason: string | null; signalled: boolean }>(
    sql`select state, reason, signal_due_at is null as signalled from otp_requests where id = ${id}`,
  )
  if (!row) throw new Error('There is no such request.')
  return row
}

const eventTypesOf = async (id: string): Promise<(string | null | undefined)[]> => {
  const { events } = await rig.runs.getHandle(id).fetchHistory()
  return (events ?? []).map((event) => event.workflowExecutionSignaledEventAttributes?.signalName)
}

const runHasEnded = (id: string) =>
  until(async () => (await rig.runs.getHandle(id).describe()).status.name !== 'RUNNING', {
    within: 20_000,
    what: 'the end of the run',
  })

describe('Temporal is down', () => {
  test('a send is refused within about 2 s, and costs the caller neither key nor limit', async () => {
    const phone = freshPhone()
    const headers = { 'idempotency-key': randomUUID() }
    const send = () => client.send(phone, smsOnly, headers)
    await without(rig.temporal, async () => {
      // One more than the limit per recipient allows.
      for (let count = 0; count < 4; count++) {
        const answer = await timed(send)
        expect(answer).toMatchObject({
          status: 503,
          body: { error_code: 'SERVICE_UNAVAILABLE', request_id: expect.any(String) },
        })
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
        expect(answer.ms).toBeLessThan(3_500)
        expect(await rowOf(answer.body.request_id)).toMatchObject({
          state: 'failed',
          reason: 'not_started',
        })
      }
    })
    const answer = await until(async () => {
      const tried = await send()
      return tried.status === 200 && tried
    })
    expect(answer.headers.get('idempotent-replayed')).toBeNull()
    await isDelivered(answer.body.request_id)
    expect(await client.inbox(phone)).toHaveLength(1)
  })

  test('a retrying caller gets through a 5 s outage with one key: one live request, one message', async () => {
    const phone = freshPhone()
    const headers = { 'idempotency-key': randomUUID() }
    rig.temporal.keepAlive = false
    rig.temporal.kill()
    const back = pause(5_000).then(() => {
      rig.temporal.keepAlive = true
      return rig.temporal.start()
    })
    const answers = []
    for (const wait of [0, 1_000, 2_100, 4_200, 8_400, 16_800]) {
      await pause(wait)
      const answer = await client.send(phone, smsOnly, headers)
      answers.push(answer)
      if (answer.status === 200) break
    }
    await back
    expect(answers.map(({ status }) => status).slice(0, -1)).not.toContain(200)
    expect(answers.at(-1)?.status).toBe(200)
    const id = answers.at(-1)?.body.request_id ?? ''
    await isDelivered(id)
    expect(await client.inbox(phone)).toHaveLength(1)
    const rows = await Promise.all(answers.map(({ body }) => rowOf(body.request_id)))
    expect(rows.map(({ state }) => state)).toEqual([
      ...Array.from({ length: rows.length - 1 }, () => 'failed'),
      'pending',
    ])
  })

  test('an app that chose to queue gets 202, and its message when Temporal is back', async () => {
    const patient = clientOf(rig, rig.patientKey)
    const phone = freshPhone()
    const id = await without(rig.temporal, async () => {
      const { status, body } = await patient.send(phone, smsOnly)
      expect({ status, said: body.status }).toEqual({ status: 202, said: 'queued' })
      // Asked again, it is still the same request.
      expect((await patient.send(phone, smsOnly)).body.request_id).toBe(body.request_id)
      return body.request_id
    })
    const { code, request_id } = await arrived(phone)
    expect(request_id).toBe(id)
    expect((await patient.verify({ phone_number: phone, code })).body.status).toBe('verified')
    expect(await client.inbox(phone)).toHaveLength(1)
  })

  test('a code is checked all the same, and its run learns of it later', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, smsOnly)
    const { code } = await arrived(phone)
    await without(rig.temporal, async () => {
      const wrong = await timed(() => client.verify({ phone_number: phone, code: '000000' }))
      expect(wrong).toMatchObject({ status: 200, body: { error_code: 'INVALID_CODE' } })
      const right = await timed(() => client.verify({ phone_number: phone, code }))
      expect(right).toMatchObject({ status: 200, body: { status: 'verified' } })
      expect(Math.max(wrong.ms, right.ms)).toBeLessThan(1_500)
    })
    await runHasEnded(id)
  })

  test('past the expiry: the status says so, a send after it is a new request, the old run ends', async () => {
    const silent = freshPhone()
    await client.script(silent, { receipt: 'none' })
    const delivered = freshPhone()
    const [first, second] = [
      await client.sent(silent, smsOnly),
      await client.sent(delivered, smsOnly),
    ]
    const { code } = await arrived(silent)
    await isDelivered(second)
    await without(rig.temporal, async () => {
      await rig.db.many(
        sql`update otp_requests set expires_at = now() where id in (${first}, ${second})`,
      )
      expect(await client.status(first)).toMatchObject({
        state: 'exhausted',
        reason: 'no_step_succeeded',
      })
      expect(await client.status(second)).toMatchObject({
        state: 'expired',
        reason: 'lifetime_over',
      })
      expect((await client.verify({ phone_number: silent, code })).body.error_code).toBe('EXPIRED')
    })
    const next = await until(async () => {
      const { status, body } = await client.send(silent, smsOnly)
      return status === 200 && body.request_id
    })
    expect(next).not.toBe(first)
    const newest = await until(async () => {
      const [entry] = await client.inbox(silent)
      return entry?.request_id === next && entry
    })
    expect(newest.code).not.toBe(code)
    await Promise.all([first, second].map(runHasEnded))
    expect(await client.inbox(delivered)).toHaveLength(1)
  })

  test('a receipt that could not be signalled reaches its run within 6 s of the recovery', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'delivered', receipt_after_ms: 1_000 })
    const id = await client.sent(phone)
    await arrived(phone)
    await without(rig.temporal, async () => {
      await until(async () => (await client.status(id)).delivered_at, { what: 'the receipt' })
      // Longer than the API tries to signal it.
      await pause(2_000)
    })
    const told = async () => (await rowOf(id)).signalled
    await until(told, { within: 6_000, what: 'the repeated signal' })
    // What Temporal took while the run was being worked on is in its history only after that.
    await until(async () => (await eventTypesOf(id)).includes('lookAgain'), { what: 'lookAgain' })
    // Long after the time of the step would have been over.
    await pause(12_000)
    expect(await client.inbox(phone)).toHaveLength(1)
  }, 90_000)
})

describe('no worker is up', () => {
  test('every send is accepted and delivered when one is back, and codes are checked', async () => {
    const before = freshPhone()
    await client.sent(before, smsOnly)
    const { code } = await arrived(before)
    const phones = Array.from({ length: 5 }, freshPhone)
    const ids = await without(rig.worker, async () => {
      const sends = await Promise.all(phones.map((phone) => client.send(phone, smsOnly)))
      expect(sends.map(({ status }) => status)).toEqual(phones.map(() => 200))
      expect((await client.verify({ phone_number: before, code })).body.status).toBe('verified')
      return sends.map(({ body }) => body.request_id)
    })
    await Promise.all(ids.map(isDelivered))
    for (const phone of phones) expect(await client.inbox(phone)).toHaveLength(1)
  })

  test('one that died before its claim costs no attempt, however long it was away', async () => {
    const phone = freshPhone()
    rig.worker.keepAlive = false
    const struck = rig.workerDatabase.arm({
      match: /insert into attempts/,
      moment: 'before',
      spring: () => rig.worker.kill(),
    })
    const id = await client.sent(phone, smsOnly)
    await struck
    // Longer than the whole step may send for.
    await pause(6_000)
    rig.worker.keepAlive = true
    await rig.worker.start()
    await isDelivered(id)
    const { steps } = await client.status(id)
    expect(steps[0]?.attempts).toMatchObject([{ status: 'delivered' }])
  })

  test('what expires meanwhile is closed by a look at it, and not sent later', async () => {
    const phone = freshPhone()
    const id = await without(rig.worker, async () => {
      const unsent = await client.sent(phone, smsOnly)
      await rig.db.many(sql`update otp_requests set expires_at = now() where id = ${unsent}`)
      expect((await client.status(unsent)).state).toBe('exhausted')
      return unsent
    })
    await runHasEnded(id)
    expect(await client.inbox(phone)).toEqual([])
  })
})

describe('what an API left unstarted', () => {
  /** A send that the API commits and then dies of. */
  async function leaveUnstarted(phone: string): Promise<string> {
    const struck = rig.apiDatabase.arm({
      match: /^Q[^]{4}commit/,
      moment: 'after',
      spring: () => rig.api.kill(),
    })
    await client.send(phone, smsOnly).catch(() => undefined)
    await struck
    await rig.api.ready()
    const row = await rig.db.one<{ id: string }>(
      sql`select id from otp_requests where state = 'pending' and workflow_started_at is null`,
    )
    if (!row) throw new Error('Nothing was left unstarted.')
    return row.id
  }

  test('the sweeper starts within seconds', async () => {
    const phone = freshPhone()
    const id = await without(rig.worker, () => leaveUnstarted(phone))
    await isDelivered(id)
    expect(await client.inbox(phone)).toHaveLength(1)
  })

  test('the sweeper fails what is older than 30 s: a late code is worse than an error', async () => {
    const phone = freshPhone()
    const id = await without(rig.worker, async () => {
      const unstarted = await leaveUnstarted(phone)
      await rig.db.many(sql`update otp_requests set created_at = created_at - interval '31 seconds'
        where id = ${unstarted}`)
      return unstarted
    })
    expect(await untilState(client, id)).toMatchObject({ state: 'failed', reason: 'not_started' })
    expect(await client.inbox(phone)).toEqual([])
  })
})

test('no process ended that no test had killed', () => {
  expect(rig.crashes).toEqual([])
})
