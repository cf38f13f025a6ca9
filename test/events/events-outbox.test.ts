import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { stepDefaults } from '../../core/requests/plan'
import { auditAdmin } from '../../db/audit/entry'
import { cancelRequest } from '../../db/requests/commands'
import { closeOverdue } from '../../db/requests/ending'
import { failNothingAccepted, recordPlanEnded } from '../../db/requests/progress'
import { findAttemptsForReceipt, recordReceipt } from '../../db/delivery/receipts'
import { outboxOf } from '../harness/outbox'
import { requestsOnly } from '../harness/requests'

let requests: Awaited<ReturnType<typeof requestsOnly>>
let outbox: ReturnType<typeof outboxOf>
beforeAll(async () => {
  requests = await requestsOnly()
  outbox = outboxOf(requests)
})
afterAll(() => requests.close())
beforeEach(() => outbox.clear())

const eventsOf = (requestId: string | null) =>
  requests.db.many<{ type: string; detail: Record<string, unknown>; at: Date }>(sql`
    select type, detail, at from events where request_id is not distinct from ${requestId}
    order by (detail ->> 'sequence')::int, type`)
const typesOf = async (requestId: string) => (await eventsOf(requestId)).map(({ type }) => type)

let receipts = 0
async function report(requestId: string, status: 'sent' | 'delivered' | 'failed.permanent') {
  const [attempt] = await findAttemptsForReceipt(requests.db, { requestId })
  if (!attempt) throw new Error('no attempt')
  const receipt = { status, rawStatus: status, eventKey: `key ${++receipts}` }
  return recordReceipt(requests.db, { attempt, receipt, actor: 'test' })
}

describe('what is told', () => {
  test('nothing at all while the app has no endpoint', async () => {
    const { requestId } = await outbox.accepted()
    await report(requestId, 'delivered')
    expect(await requests.db.many(sql`select from events`)).toEqual([])
  })

  test('created, sent, delivered, verified: each once, in the order of their sequence', async () => {
    await outbox.register()
    const { requestId } = await outbox.accepted()
    await report(requestId, 'sent')
    await report(requestId, 'delivered')
    await report(requestId, 'delivered')
    const again = await requests.claim(requestId, {
      ...{ sendNo: 2, resendSeq: await requests.askedAgain(requestId) },
    })
    await outbox.accept(requestId, again?.attemptId ?? '')
    await requests.check(requestId, await requests.codeOf(requestId))
    expect(await typesOf(requestId)).toEqual(['created', 'sent', 'delivered', 'verified'])
    const [created, sent, , verified] = await eventsOf(requestId)
    expect(created?.detail).toEqual({ sequence: 1, channel: 'sms' })
    expect(sent?.detail).toMatchObject({ channel: 'sms', provider: 'sandbox-a' })
    expect(verified?.detail).toMatchObject({ channel: 'sms', reason: 'code_matched' })
  })

  test('a failed message is not a failed request; a late receipt tells nothing', async () => {
    await outbox.register()
    const { requestId } = await outbox.accepted()
    await report(requestId, 'failed.permanent')
    await cancelRequest(requests.db, { ...requests.owner, requestId, actor: 'test' })
    await report(requestId, 'delivered')
    expect(await typesOf(requestId)).toEqual(['created', 'sent', 'cancelled'])
  })

  test('USSD asks the user to dial', async () => {
    await outbox.register()
    const plan = [{ channel: 'ussd' as const, providers: ['sandbox-a'], ...stepDefaults.ussd }]
    const { requestId } = await outbox.accepted({ channel: 'ussd' }, { plan })
    expect(await typesOf(requestId)).toEqual(['created', 'sent', 'action_required'])
  })

  test('the end of the plan, and both kinds of expiry', async () => {
    await outbox.register()
    const exhausted = await outbox.accepted()
    await recordPlanEnded(requests.db, exhausted.requestId, 'run')
    const expired = await outbox.accepted()
    await report(expired.requestId, 'delivered')
    for (const { requestId } of [exhausted, expired]) {
      await requests.shiftTime(requestId, 400)
      await closeOverdue(requests.db, requestId, 'test')
    }
    expect(await typesOf(exhausted.requestId)).toEqual(['created', 'sent', 'plan_ended', 'expired'])
    const reasons = async (id: string) => (await eventsOf(id)).at(-1)?.detail.reason
    expect(await reasons(exhausted.requestId)).toBe('no_step_succeeded')
    expect(await reasons(expired.requestId)).toBe('lifetime_over')
  })

  test('failed, locked', async () => {
    await outbox.register()
    const { requestId } = await requests.open()
    await failNothingAccepted(requests.db, requestId, 'run')
    expect(await typesOf(requestId)).toEqual(['created', 'failed'])
    const locked = await outbox.accepted()
    const wrong = (await requests.codeOf(locked.requestId)) === '000000' ? '000001' : '000000'
    for (let turn = 0; turn < 5; turn++) await requests.check(locked.requestId, wrong)
    expect(await typesOf(locked.requestId)).toEqual(['created', 'sent', 'locked'])
  })

  test('an alert when the wrong checks of a recipient have used up what no challenge gives back', async () => {
    await outbox.register()
    const { requestId } = await outbox.accepted()
    const wrong = (await requests.codeOf(requestId)) === '000000' ? '000001' : '000000'
    await requests.check(requestId, wrong)
    await requests.db.many(sql`update check_budgets set consecutive = 99, wrong = '{}'
      where recipient_id = (select recipient_id from otp_requests where id = ${requestId})`)
    await requests.check(requestId, wrong)
    await requests.check(requestId, wrong)
    expect(await typesOf(requestId)).toEqual(['created', 'sent', 'alert'])
    expect((await eventsOf(requestId)).at(-1)?.detail).toEqual({
      alert: 'budget_locked',
      channel: 'sms',
      sequence: 7,
    })
  })

  test('only what an endpoint is registered for, and of its environment', async () => {
    await outbox.register({ types: ['failed', 'sent'] })
    await outbox.register({ environment: 'production' })
    const { requestId } = await outbox.accepted()
    expect(await typesOf(requestId)).toEqual(['sent'])
    expect(await requests.db.many(sql`select from event_deliveries`)).toHaveLength(1)
  })

  test('an alert about the app goes to the environment that it names, else to production', async () => {
    const [production, staging] = [
      await outbox.register({ environment: 'production' }),
      await outbox.register(),
    ]
    const alert = (detail: Record<string, string>) =>
      requests.db.many(auditAdmin({ appId: 'app', type: 'alert', actor: 'test', detail }))
    await alert({ kind: 'one', environment: 'staging' })
    await alert({ kind: 'another' })
    await alert({ kind: 'odd', environment: 'nowhere' })
    const told = await requests.db
      .many(sql`select d.endpoint_id as id, v.detail from event_deliveries d
      join events v on v.id = d.event_id order by v.at`)
    expect(told).toEqual([
      { id: staging.id, detail: { kind: 'one' } },
      { id: production.id, detail: { kind: 'another' } },
    ])
  })

  test('odd detail never fails the statement that decides', async () => {
    await outbox.register()
    for (const detail of ['[]', '"text"', 'null', '{"status": {"a": 1}, "channel": ["x"]}']) {
      const { requestId } = await requests.open()
      await requests.db.many(sql`with told as (
          update otp_requests set audit_seq = audit_seq + 2 where id = ${requestId} returning *)
        insert into audit_events (request_id, app_id, sequence, type, actor, detail)
        select id, app_id, audit_seq - 1 + n, case n when 0 then 'receipt' else 'attempt_accepted' end::audit_type,
          'test', ${detail}::jsonb from told, generate_series(0, 1) n`)
      expect(await typesOf(requestId)).toEqual(['created', 'sent'])
      await requests.db.many(sql`insert into audit_events (app_id, sequence, type, actor, detail)
        select 'app', 1000 + count(*), 'alert', 'test', ${detail}::jsonb from audit_events`)
    }
  })

  test('what is rolled back was never told', async () => {
    await outbox.register()
    const work = requests.db.transaction(async (tx) => {
      await requests.db.many(sql`select 1`)
      await tx.many(auditAdmin({ appId: 'app', type: 'alert', actor: 'test' }))
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    expect(await requests.db.many(sql`select from events`)).toEqual([])
  })
})
