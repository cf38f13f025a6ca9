import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { openKeyFile } from '../codes/key-file'
import { createDatabase, type Database } from '../db'
import { createApp } from '../db/apps'
import { claimAttempt, recordAnswer } from '../db/attempts'
import { checkCode } from '../db/checks'
import { askNext, askResend, cancelRequest } from '../db/commands'
import { expire, readProgress } from '../db/progress'
import { recordReceipt } from '../db/receipts'
import { openRequest, type SendDecision } from '../db/sends'
import { failNotStarted, markStarted } from '../db/starts'
import { states } from '../core/state'
import { freshDatabase } from './harness/database'
import { sendInput, tempKeyFile } from './harness/seed'
import { deriveCode } from '../codes/code'

let db: Database
let drop: () => Promise<void>
const keyring = openKeyFile(tempKeyFile(), { strict: true })

beforeAll(async () => {
  const fresh = await freshDatabase()
  drop = fresh.drop
  db = createDatabase(fresh.url)
  await createApp(db, { id: 'app', name: 'Acme' })
})
afterAll(async () => {
  keyring.close()
  await db.close()
  await drop()
})

const owner = { appId: 'app', environment: 'test' as const }
let lastNumber = 10_000_000
const freshNumber = () => ({ kind: 'phone' as const, value: `+23324${++lastNumber}` })

type Opened = Extract<SendDecision, { outcome: 'created' | 'repeated' | 'replayed' }>
async function open(given: Parameters<typeof sendInput>[0] = {}): Promise<Opened> {
  const decision = await openRequest(db, keyring, sendInput({ recipient: freshNumber(), ...given }))
  if (!('requestId' in decision)) throw new Error(`not opened: ${decision.outcome}`)
  await markStarted(db, decision.requestId, 'run')
  return decision
}
const claim = (requestId: string, given: Partial<Parameters<typeof claimAttempt>[1]> = {}) =>
  claimAttempt(db, {
    requestId,
    sendNo: 1,
    firstSendNo: 1,
    step: 0,
    channel: 'sms',
    provider: 'sandbox-a',
    success: 'delivered',
    tryNo: 1,
    runId: 'run',
    callbackDigest: Buffer.from(`${requestId}${Math.random()}`),
    ...given,
  })
async function codeOf(requestId: string): Promise<string> {
  const row = await db.one<{ salt: Buffer; kid: string }>(
    sql`select code_salt as salt, code_kid as kid from otp_requests where id = ${requestId}`,
  )
  if (!row) throw new Error('no row')
  return deriveCode(keyring, { requestId, generation: 1, length: 6, ...row })
}
const stateOf = (requestId: string) =>
  db.one<{ state: string; reason: string | null }>(
    sql`select state, reason from otp_requests where id = ${requestId}`,
  )
const check = (requestId: string, code: string) =>
  checkCode(db, keyring, { ...owner, by: { requestId }, code, actor: 'test' })
const shiftTime = (requestId: string, seconds: number) =>
  db.many(sql`update otp_requests set created_at = created_at - make_interval(secs => ${seconds}),
    expires_at = expires_at - make_interval(secs => ${seconds}) where id = ${requestId}`)

describe('checking a code', () => {
  test('accepts the right one once, then says ALREADY_USED', async () => {
    const { requestId } = await open()
    const code = await codeOf(requestId)
    expect(await check(requestId, code)).toMatchObject({ outcome: 'verified' })
    expect(await check(requestId, code)).toMatchObject({
      outcome: 'rejected',
      errorCode: 'ALREADY_USED',
    })
  })

  test('counts wrong ones down to zero, locks with the fifth, and then answers LOCKED to the right one too', async () => {
    const { requestId } = await open()
    const code = await codeOf(requestId)
    const wrong = code === '000000' ? '000001' : '000000'
    const remaining = []
    for (let i = 0; i < 5; i++) {
      const outcome = await check(requestId, wrong)
      if (outcome.outcome === 'rejected') remaining.push(outcome.attemptsRemaining)
    }
    expect(remaining).toEqual([4, 3, 2, 1, 0])
    expect(await check(requestId, code)).toEqual({ outcome: 'locked', requestId })
    expect(await stateOf(requestId)).toEqual({ state: 'locked', reason: 'too_many_checks' })
  })

  test('says EXPIRED one second after the lifetime, by the database clock', async () => {
    const { requestId } = await open()
    const code = await codeOf(requestId)
    await shiftTime(requestId, 299)
    expect((await readProgress(db, requestId)).state).toBe('pending')
    await shiftTime(requestId, 1)
    expect(await check(requestId, code)).toMatchObject({
      outcome: 'rejected',
      errorCode: 'EXPIRED',
    })
    expect(await stateOf(requestId)).toEqual({ state: 'exhausted', reason: 'no_step_succeeded' })
  })

  test('wipes salt and digest at the end', async () => {
    const { requestId } = await open()
    await cancelRequest(db, { ...owner, requestId, actor: 'test' })
    expect(
      await db.one(sql`select code_salt, code_mac from otp_requests where id = ${requestId}`),
    ).toEqual({ code_salt: null, code_mac: null })
  })
})

describe('one live request per recipient and purpose', () => {
  test('a second send joins it, before the first message went out', async () => {
    const recipient = freshNumber()
    const first = await open({ recipient })
    const second = await open({ recipient })
    expect(second).toMatchObject({
      outcome: 'repeated',
      requestId: first.requestId,
      resend: 'already_sending',
      sends: 2,
    })
  })

  test('a third send in a minute is the last, another purpose counts with it', async () => {
    const recipient = freshNumber()
    await open({ recipient })
    await open({ recipient, purpose: 'payment' })
    await open({ recipient })
    const fourth = await openRequest(db, keyring, sendInput({ recipient }))
    expect(fourth).toEqual({ outcome: 'rate_limited', retryAfterSeconds: expect.any(Number) })
  })

  test('a send whose run did not start gives back its limit', async () => {
    const recipient = freshNumber()
    for (let i = 0; i < 6; i++) {
      const decision = await openRequest(db, keyring, sendInput({ recipient }))
      if (!('requestId' in decision)) throw new Error(decision.outcome)
      expect(decision.outcome).toBe('created')
      expect(await failNotStarted(db, decision.requestId, 'test')).toBe(true)
    }
  })

  test('repeats the same code on the channel in progress, ten seconds after its claim', async () => {
    const recipient = freshNumber()
    const { requestId } = await open({ recipient })
    await claim(requestId)
    expect(await open({ recipient })).toMatchObject({ requestId, resend: 'already_sending' })
    await db.many(
      sql`update attempts set claimed_at = now() - interval '11 s' where request_id = ${requestId}`,
    )
    expect(await open({ recipient })).toMatchObject({
      requestId,
      resend: 'sent',
      wakes: [{ signal: 'resend', seq: 1, step: { channel: 'sms' } }],
    })
  })

  test('late in its life a send starts a new request with a new code', async () => {
    const recipient = freshNumber()
    const { requestId } = await open({ recipient })
    await claim(requestId)
    await shiftTime(requestId, 151)
    await db.many(
      sql`update attempts set claimed_at = now() - interval '11 s' where request_id = ${requestId}`,
    )
    const next = await open({ recipient })
    expect(next.outcome).toBe('created')
    expect(next.requestId).not.toBe(requestId)
    expect(await stateOf(requestId)).toEqual({ state: 'cancelled', reason: 'superseded' })
  })
})

describe('the two environments of an app', () => {
  test('do not see, repeat or check each other’s requests', async () => {
    const recipient = freshNumber()
    const live = await open({ recipient, environment: 'live' })
    const asTest = await open({ recipient, environment: 'test' })
    expect(asTest.outcome).toBe('created')
    expect(asTest.requestId).not.toBe(live.requestId)
    const code = await codeOf(live.requestId)
    expect(await check(live.requestId, code)).toMatchObject({ errorCode: 'NO_ACTIVE_REQUEST' })
    for (const command of [askNext, cancelRequest]) {
      expect(await command(db, { ...owner, requestId: live.requestId, actor: 'test' })).toEqual({
        outcome: 'not_found',
      })
    }
    expect(await askResend(db, { ...owner, requestId: live.requestId, actor: 'test' })).toEqual({
      outcome: 'not_found',
    })
  })
})

describe('idempotency', () => {
  test('100 equal sends make one request', async () => {
    const recipient = freshNumber()
    const idempotency = { key: 'k-100', body: Buffer.from('{}') }
    const decisions = await Promise.all(
      Array.from({ length: 100 }, () =>
        openRequest(db, keyring, sendInput({ recipient, idempotency })),
      ),
    )
    const ids = new Set(
      decisions.map((decision) =>
        'requestId' in decision ? decision.requestId : decision.outcome,
      ),
    )
    expect(ids.size).toBe(1)
    expect(decisions.filter(({ outcome }) => outcome === 'created')).toHaveLength(1)
    expect(decisions.filter(({ outcome }) => outcome === 'replayed')).toHaveLength(99)
  })

  test('another body under the same key is refused', async () => {
    const recipient = freshNumber()
    await open({ recipient, idempotency: { key: 'k-2', body: Buffer.from('a') } })
    expect(
      await openRequest(
        db,
        keyring,
        sendInput({ recipient, idempotency: { key: 'k-2', body: Buffer.from('b') } }),
      ),
    ).toEqual({ outcome: 'idempotency_mismatch' })
  })
})

describe('claims', () => {
  test('none commits after the end', async () => {
    const { requestId } = await open()
    expect(await claim(requestId)).toMatchObject({ number: 1 })
    await cancelRequest(db, { ...owner, requestId, actor: 'test' })
    expect(await claim(requestId, { sendNo: 2 })).toBeUndefined()
  })

  test('an answer after the end is kept as wasted', async () => {
    const { requestId } = await open()
    const made = await claim(requestId)
    if (!made) throw new Error('no claim')
    await cancelRequest(db, { ...owner, requestId, actor: 'test' })
    await recordAnswer(
      db,
      { requestId, attemptId: made.attemptId, runId: 'run' },
      { state: 'accepted', providerMessageId: 'm1' },
    )
    expect(
      await db.one(sql`select state, wasted from attempts where id = ${made.attemptId}`),
    ).toEqual({
      state: 'accepted',
      wasted: true,
    })
  })
})

describe('receipts', () => {
  async function accepted() {
    const { requestId } = await open()
    const made = await claim(requestId)
    if (!made) throw new Error('no claim')
    const { attemptId: id, number, appId, recipientId } = made
    const attempt = {
      id,
      requestId,
      appId,
      recipientId,
      number,
      step: 0,
      channel: 'sms' as const,
      provider: 'sandbox-a',
      success: 'delivered' as const,
      open: true,
    }
    const report = (status: 'sent' | 'delivered' | 'failed.permanent', eventKey: string) =>
      recordReceipt(db, {
        attempt,
        receipt: { status, rawStatus: status, eventKey: `${id}${eventKey}` },
        actor: 'test',
      })
    return { requestId, report, attemptId: id }
  }

  test('move a status only upwards and wake the run once', async () => {
    const { report, attemptId } = await accepted()
    expect(await report('delivered', '1')).toMatchObject({
      duplicate: false,
      wake: { status: 'delivered' },
    })
    expect(await report('delivered', '1')).toEqual({ duplicate: true })
    expect(await report('sent', '2')).toEqual({ duplicate: false })
    expect(await report('failed.permanent', '3')).toEqual({ duplicate: false })
    expect(await db.one(sql`select status from attempts where id = ${attemptId}`)).toEqual({
      status: 'delivered',
    })
  })

  test('after the end are recorded and reopen nothing', async () => {
    const { requestId, report } = await accepted()
    await cancelRequest(db, { ...owner, requestId, actor: 'test' })
    expect(await report('delivered', 'late')).toEqual({ duplicate: false })
    expect(await stateOf(requestId)).toEqual({ state: 'cancelled', reason: 'requested' })
    expect(
      await db.one(
        sql`select count(*)::int as n from audit_events where request_id = ${requestId} and type = 'late_receipt'`,
      ),
    ).toEqual({ n: 1 })
  })
})

describe('commands', () => {
  test('next leaves a step once, and the last one not at all', async () => {
    const { requestId } = await open()
    const next = () => askNext(db, { ...owner, requestId, actor: 'test' })
    expect(await next()).toMatchObject({
      outcome: 'done',
      channel: 'voice',
      wake: { signal: 'next', step: 0 },
    })
    expect(await next()).toMatchObject({ outcome: 'done', wake: { step: 0 } })
    await claim(requestId, { step: 1, channel: 'voice' })
    expect(await next()).toEqual({ outcome: 'no_next' })
  })

  test('resend and cancel of an ended request say that it has ended', async () => {
    const { requestId } = await open()
    await cancelRequest(db, { ...owner, requestId, actor: 'test' })
    const gone = { outcome: 'ended', state: 'cancelled' }
    expect(await askResend(db, { ...owner, requestId, actor: 'test' })).toEqual(gone)
    expect(await cancelRequest(db, { ...owner, requestId, actor: 'test' })).toEqual(gone)
  })
})

describe('states', () => {
  test('an expiry with a succeeded step is `expired`, without one `exhausted`', async () => {
    const { requestId } = await open()
    await db.many(sql`update otp_requests set succeeded_at = now() where id = ${requestId}`)
    await shiftTime(requestId, 301)
    expect((await expire(db, requestId)).state).toBe('expired')
  })

  test('leave `pending` once, with their own reasons, and nothing leads back', async () => {
    const reasonFor: Record<string, string> = {
      verified: 'code_matched',
      expired: 'lifetime_over',
      exhausted: 'no_step_succeeded',
      locked: 'too_many_checks',
      cancelled: 'requested',
      failed: 'not_started',
    }
    const set = (id: string, state: string, reason: string | null) =>
      db.many(
        sql`update otp_requests set state = ${state}::request_state, reason = ${reason}::request_reason where id = ${id}`,
      )
    const finals = states.filter((state) => state !== 'pending')
    for (const from of finals) {
      const { requestId } = await open()
      await expect(set(requestId, from, null)).rejects.toThrow(/check constraint/)
      await set(requestId, from, reasonFor[from] ?? null)
      for (const to of states.filter((state) => state !== from)) {
        await expect(set(requestId, to, reasonFor[to] ?? null)).rejects.toThrow(/cannot become/)
      }
    }
  })

  test('audit rows cannot be changed, removed or truncated, and have no gap in their sequence', async () => {
    const { requestId } = await open()
    await check(requestId, '000000')
    await cancelRequest(db, { ...owner, requestId, actor: 'test' })
    for (const attack of [
      sql`update audit_events set actor = 'x' where request_id = ${requestId}`,
      sql`delete from audit_events where request_id = ${requestId}`,
      sql`truncate audit_events`,
    ]) {
      await expect(db.many(attack)).rejects.toThrow(/append-only/)
    }
    expect(
      await db.many(
        sql`select sequence, type from audit_events where request_id = ${requestId} order by sequence`,
      ),
    ).toEqual([
      { sequence: 1, type: 'requested' },
      { sequence: 2, type: 'started' },
      { sequence: 3, type: 'check_rejected' },
      { sequence: 4, type: 'cancelled' },
    ])
  })
})
