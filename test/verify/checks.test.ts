import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { cancelRequest } from '../../db/requests/commands'
import { readProgress } from '../../db/requests/progress'
import { openRequest } from '../../db/requests/sends'
import { failNotStarted } from '../../db/requests/starts'
import { sendInput } from '../harness/seed'
import { checkCode } from '../../db/verify/checks'
import { untilLockIsAwaited } from '../harness/locks'
import { requestsOnly } from '../harness/requests'

type Requests = Awaited<ReturnType<typeof requestsOnly>>
let db: Requests['db']
let keyring: Requests['keyring']
let freshNumber: Requests['freshNumber']
let open: Requests['open']
let claim: Requests['claim']
let requests: Requests
let codeOf: Requests['codeOf']
let stateOf: Requests['stateOf']
let check: Requests['check']
let shiftTime: Requests['shiftTime']
let owner: Requests['owner']

beforeAll(async () => {
  requests = await requestsOnly()
  ;({ db, keyring, freshNumber, open, claim, codeOf, stateOf, check, shiftTime, owner } = requests)
})
afterAll(() => requests.close())

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

  test('lives to its last second by the database clock, and failover and resends do not make it longer', async () => {
    const aged = async (seconds: number) => {
      const opened = await open()
      await claim(opened.requestId)
      await claim(opened.requestId, { sendNo: 2, channel: 'voice', step: 1 })
      await requests.next({ ...owner, requestId: opened.requestId, actor: 'test' })
      await requests.resend({ ...owner, requestId: opened.requestId, actor: 'test' })
      const code = await codeOf(opened.requestId)
      expect(
        await db.one(sql`select expires_at from otp_requests where id = ${opened.requestId}`),
      ).toEqual({ expires_at: opened.expiresAt })
      await shiftTime(opened.requestId, seconds)
      return { requestId: opened.requestId, code }
    }
    const early = await aged(299)
    expect((await readProgress(db, early.requestId)).state).toBe('pending')
    expect(await check(early.requestId, early.code)).toMatchObject({ outcome: 'verified' })
    for (const seconds of [300, 301]) {
      const late = await aged(seconds)
      const expired = { outcome: 'rejected', errorCode: 'EXPIRED', attemptsRemaining: 0 }
      expect(await check(late.requestId, late.code)).toMatchObject(expired)
      expect(await check(late.requestId, late.code)).toMatchObject(expired)
      expect(await stateOf(late.requestId)).toEqual({
        state: 'exhausted',
        reason: 'no_step_succeeded',
      })
      const rows = await db.many(sql`select type, detail from audit_events
        where request_id = ${late.requestId} and type in ('exhausted', 'check_rejected') order by sequence`)
      expect(rows).toEqual([
        { type: 'exhausted', detail: { reason: 'no_step_succeeded' } },
        { type: 'check_rejected', detail: { state: 'exhausted' } },
        { type: 'check_rejected', detail: { state: 'exhausted' } },
      ])
    }
  })

  test('the code of one request is wrong for another, and counts there', async () => {
    const [one, other] = [await open(), await open()]
    const code = await codeOf(one.requestId)
    expect(await codeOf(other.requestId)).not.toBe(code)
    expect(await check(other.requestId, code)).toMatchObject({
      errorCode: 'INVALID_CODE',
      attemptsRemaining: 4,
    })
    const checks = await db.many(sql`select checks from otp_requests
      where id in (${one.requestId}, ${other.requestId}) order by id = ${one.requestId} desc`)
    expect(checks).toEqual([{ checks: 0 }, { checks: 1 }])
  })

  test('of nobody are counted, without a row about whoever was asked for', async () => {
    const countAll = async () =>
      (
        await db.one<{ count: number }>(sql`select coalesce(sum(count), 0)::int as count
        from unknown_checks where app_id = ${owner.appId}`)
      )?.count ?? 0
    const [before, recipients] = [
      await countAll(),
      await db.many(sql`select id from recipients order by id`),
    ]
    const by = { ...freshNumber(), purpose: 'default' }
    const asked = await Promise.all(
      Array.from({ length: 30 }, () =>
        checkCode(db, keyring, { ...owner, by, code: '123456', actor: 'test' }),
      ),
    )
    expect(new Set(asked.map((outcome) => JSON.stringify(outcome))).size).toBe(1)
    expect(asked[0]).toMatchObject({ errorCode: 'NO_ACTIVE_REQUEST', attemptsRemaining: 0 })
    expect(await countAll()).toBe(before + 30)
    expect(await db.many(sql`select id from recipients order by id`)).toEqual(recipients)
  })

  test('accepts the right one once, in each of 100 rounds of 40 at once', async () => {
    const outcomes: Record<string, number>[] = []
    for (let round = 0; round < 100; round++) {
      const { requestId } = await open()
      const code = await codeOf(requestId)
      const checked = await Promise.all(Array.from({ length: 40 }, () => check(requestId, code)))
      const words = checked.map((one) => ('errorCode' in one ? one.errorCode : one.outcome))
      outcomes.push({
        verified: words.filter((word) => word === 'verified').length,
        ALREADY_USED: words.filter((word) => word === 'ALREADY_USED').length,
      })
    }
    expect(outcomes).toEqual(Array.from({ length: 100 }, () => ({ verified: 1, ALREADY_USED: 39 })))
  }, 60_000)

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
    expect(fourth).toMatchObject({ outcome: 'rate_limited', limit: 'recipient' })
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

  test('a send that waited for a claim sees it', async () => {
    const recipient = freshNumber()
    const { requestId } = await open({ recipient })
    await claim(requestId)
    await db.many(
      sql`update attempts set claimed_at = now() - interval '11 s' where request_id = ${requestId}`,
    )
    const resendSeq = await requests.askedAgain(requestId)
    let repeated: ReturnType<typeof open> | undefined
    await db.transaction(async (tx) => {
      await claim(requestId, { sendNo: 2, resendSeq }, tx)
      repeated = open({ recipient })
      await untilLockIsAwaited(db)
    })
    expect(await repeated).toMatchObject({ requestId, resend: 'already_sending' })
  })

  test('closing an unstarted request and sending to the same number do not lock each other out', async () => {
    for (let round = 0; round < 10; round++) {
      const recipient = freshNumber()
      const first = await openRequest(db, keyring, sendInput({ recipient }))
      if (!('requestId' in first)) throw new Error(first.outcome)
      await Promise.all([
        failNotStarted(db, first.requestId, 'test'),
        openRequest(db, keyring, sendInput({ recipient })),
        openRequest(db, keyring, sendInput({ recipient })),
      ])
    }
  })

  test('closing one of several requests gives back its own sends only', async () => {
    const recipient = freshNumber()
    const first = await openRequest(db, keyring, sendInput({ recipient }))
    await open({ recipient, purpose: 'payment' })
    await open({ recipient, purpose: 'login' })
    if (!('requestId' in first)) throw new Error(first.outcome)
    await failNotStarted(db, first.requestId, 'test')
    expect((await openRequest(db, keyring, sendInput({ recipient }))).outcome).toBe('created')
    expect((await openRequest(db, keyring, sendInput({ recipient }))).outcome).toBe('rate_limited')
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
    const live = await open({ recipient, environment: 'production' })
    const asTest = await open({ recipient, environment: 'staging' })
    expect(asTest.outcome).toBe('created')
    expect(asTest.requestId).not.toBe(live.requestId)
    const code = await codeOf(live.requestId)
    expect(await check(live.requestId, code)).toMatchObject({ errorCode: 'NO_ACTIVE_REQUEST' })
    const theirs = { ...owner, requestId: live.requestId, actor: 'test' }
    expect(await cancelRequest(db, theirs)).toEqual({ outcome: 'not_found' })
    for (const command of [requests.next, requests.resend])
      expect(await command(theirs)).toEqual({ outcome: 'not_found' })
  })
})

describe('limits and purposes', () => {
  test('sends with a test key do not use up the live limit', async () => {
    const recipient = freshNumber()
    for (let i = 0; i < 3; i++) await open({ recipient, environment: 'staging' })
    expect((await openRequest(db, keyring, sendInput({ recipient }))).outcome).toBe('rate_limited')
    expect((await open({ recipient, environment: 'production' })).outcome).toBe('created')
  })

  test('a code counts for the purpose it was sent for, by request id too', async () => {
    const { requestId } = await open({ purpose: 'login' })
    const code = await codeOf(requestId)
    const as = (purpose?: string) =>
      checkCode(db, keyring, { ...owner, by: { requestId, purpose }, code, actor: 'test' })
    expect(await as('payment')).toMatchObject({ errorCode: 'NO_ACTIVE_REQUEST' })
    expect(await as('login')).toMatchObject({ outcome: 'verified' })
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
