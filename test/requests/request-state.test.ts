import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type SQL, sql } from 'drizzle-orm'
import { askNext, askResend, cancelRequest } from '../../db/requests/commands'
import { recordAnswer } from '../../db/delivery/attempts'
import { expire, recordSkipped } from '../../db/requests/progress'
import { recordReceipt } from '../../db/delivery/receipts'
import { searchRequests } from '../../db/requests/search'
import { readStatus } from '../../db/requests/status'
import { type State, states } from '../../core/requests/state'
import type { Bound } from '../../db/statement'
import { clearSignalDue } from '../../db/requests/signals'
import { failNotStarted } from '../../db/requests/starts'
import { explained } from '../harness/explained'
import { requestsOnly } from '../harness/requests'

type Requests = Awaited<ReturnType<typeof requestsOnly>>
let { db, keyring, open, openUnstarted, claim, stateOf, check, shiftTime, owner, close } =
  {} as Requests

beforeAll(async () => {
  ;({ db, keyring, open, openUnstarted, claim, stateOf, check, shiftTime, owner, close } =
    await requestsOnly())
})
afterAll(() => close())

describe('a status', () => {
  test('shows the newest 200 events, and a step that was passed over before them', async () => {
    const { requestId } = await open()
    await recordSkipped(db, { requestId, step: 1, channel: 'voice', runId: 'run' })
    await db.many(sql`with more as (update otp_requests set audit_seq = audit_seq + 300 where id = ${requestId} returning *)
      insert into audit_events (request_id, app_id, sequence, type, actor, detail) select id, app_id, audit_seq - 300 + n,
        'check_rejected', 'test', '{}' from more, generate_series(1, 300) n`)
    let rows = 0
    const many = async <T>(statement: SQL) => {
      const found = await db.many<T>(statement)
      rows = Math.max(rows, found.length)
      return found
    }
    const status = await readStatus({ ...db, many }, keyring, { ...owner, requestId })
    expect([status?.version, rows]).toEqual([303, 201])
    expect(status?.events.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 200 }, (_, n) => 104 + n),
    )
    expect(status?.steps[1]?.status).toBe('skipped')
  })

  test('is found by an index, however many events others have', async () => {
    const { requestId } = await open()
    const statements: Bound<unknown>[] = []
    const many = <T>(statement: SQL | Bound<T>) => {
      if (!('text' in statement)) throw new Error('A statement of a status has no name.')
      statements.push(statement)
      return db.many<T>(statement)
    }
    await readStatus({ ...db, many }, keyring, { ...owner, requestId })
    const plans = await db.transaction(async (tx) => {
      await tx.many(sql`set local enable_seqscan = off`)
      return Promise.all(statements.map((statement) => tx.many(explained(statement))))
    })
    expect(plans).toHaveLength(2)
    expect(JSON.stringify(plans)).toContain('audit_events_chain_sequence')
    expect(JSON.stringify(plans)).not.toContain('Seq Scan')
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

describe('answers', () => {
  test('a claim is proof of the start: the request cannot be closed as not started any more', async () => {
    const { requestId } = await openUnstarted()
    await claim(requestId)
    expect(await failNotStarted(db, requestId, 'test')).toBe(false)
    expect(await stateOf(requestId)).toEqual({ state: 'pending', reason: null })
  })

  test('a doubt does not replace an answer, an answer replaces a doubt', async () => {
    const { requestId } = await open()
    const made = await claim(requestId)
    if (!made) throw new Error('no claim')
    const ref = { requestId, attemptId: made.attemptId, runId: 'run' }
    const accepted = {
      state: 'accepted',
      providerMessageId: 'm',
      cost: { amount: '0.05', currency: 'USD' },
    } as const
    const stored = () =>
      db.one(
        sql`select state, fault, cost_amount::float8 as cost from attempts where id = ${made.attemptId}`,
      )
    await recordAnswer(db, ref, { state: 'in_doubt' })
    expect(await stored()).toEqual({ state: 'in_doubt', fault: 'in_doubt', cost: null })
    await recordAnswer(db, ref, accepted)
    await recordAnswer(db, ref, { state: 'in_doubt' })
    expect(await stored()).toEqual({ state: 'accepted', fault: null, cost: 0.05 })
    // The same with both at once: whoever waits for the other's lock must not decide on what it saw before.
    for (let round = 0; round < 10; round++) {
      const again = await open()
      const claimed = await claim(again.requestId)
      const itsRef = {
        requestId: again.requestId,
        attemptId: claimed?.attemptId ?? '',
        runId: 'run',
      }
      await Promise.all([
        recordAnswer(db, itsRef, accepted),
        recordAnswer(db, itsRef, { state: 'in_doubt' }),
      ])
      expect(await db.one(sql`select state from attempts where id = ${itsRef.attemptId}`)).toEqual({
        state: 'accepted',
      })
    }
  })
})

describe('the mark of news', () => {
  test('rises with every news, and clearing an older one leaves it', async () => {
    const { requestId } = await open()
    const next = await askNext(db, keyring, { ...owner, requestId, actor: 'test' })
    const cancel = await cancelRequest(db, { ...owner, requestId, actor: 'test' })
    if (!('wake' in next && next.wake && 'wake' in cancel && cancel.wake))
      throw new Error('no wake')
    expect(cancel.wake.dueAt.getTime()).toBeGreaterThan(next.wake.dueAt.getTime())
    const due = () =>
      db.one(sql`select signal_due_at is not null as due from otp_requests where id = ${requestId}`)
    await clearSignalDue(db, next.wake)
    expect(await due()).toEqual({ due: true })
    await clearSignalDue(db, cancel.wake)
    expect(await due()).toEqual({ due: false })
  })

  test('stays while the run does not exist yet', async () => {
    const { requestId } = await openUnstarted()
    const asked = await askNext(db, keyring, { ...owner, requestId, actor: 'test' })
    if (!('wake' in asked && asked.wake)) throw new Error('no wake')
    await clearSignalDue(db, asked.wake)
    expect(
      await db.one(
        sql`select signal_due_at is not null as due from otp_requests where id = ${requestId}`,
      ),
    ).toEqual({ due: true })
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
      claimedAt: new Date(),
    }
    const report = (status: 'sent' | 'delivered' | 'failed.permanent', eventKey: string) => {
      const receipt = { status, rawStatus: status, eventKey: `${id}${eventKey}` }
      return recordReceipt(db, { attempt, receipt, actor: 'test' })
    }
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
    const next = () => askNext(db, keyring, { ...owner, requestId, actor: 'test' })
    expect(await next()).toMatchObject({
      outcome: 'done',
      channel: 'voice',
      wake: { signal: 'next', step: 0 },
    })
    // The same wish again: nothing is written or signalled twice.
    expect(await next()).toEqual({ outcome: 'done', channel: 'voice' })
    await claim(requestId, { step: 1, channel: 'voice' })
    expect(await next()).toEqual({ outcome: 'no_next' })
  })

  test('resend and cancel of an ended request say that it has ended', async () => {
    const { requestId } = await open()
    await cancelRequest(db, { ...owner, requestId, actor: 'test' })
    const gone = { outcome: 'ended', state: 'cancelled' }
    expect(await askResend(db, keyring, { ...owner, requestId, actor: 'test' })).toEqual(gone)
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

  test('of overdue requests are seen by a search before anybody has closed them', async () => {
    const search = (given: { purpose: string; state?: State }) =>
      searchRequests(db, keyring, { ...owner, limit: 10, ...given })
    const purpose = 'overdue'
    const { requestId } = await open({ purpose })
    expect((await search({ purpose, state: 'pending' })).rows).toHaveLength(1)
    await shiftTime(requestId, 301)
    expect((await search({ purpose, state: 'pending' })).rows).toEqual([])
    const { rows } = await search({ purpose, state: 'exhausted' })
    expect(rows).toMatchObject([{ requestId, state: 'exhausted', reason: 'no_step_succeeded' }])
    expect(rows[0]?.endedAt).toEqual(rows[0]?.expiresAt)
    expect(await stateOf(requestId)).toMatchObject({ state: 'pending' })
    await expire(db, requestId)
    expect((await search({ purpose, state: 'exhausted' })).rows).toHaveLength(1)
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
      await expect(db.many(attack)).rejects.toThrow(/permission denied for table audit_events/)
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
