import { expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { raiseBlock } from '../../db/protection/blocks'
import { createApp } from '../../db/apps/apps'
import { recordPlanEnded } from '../../db/requests/progress'
import { acceptance, answer, claimed, type Given, openLive, rig, stepOf } from '../harness/claims'
import { sendInput } from '../harness/seed'

// The next channel is one more message: it meets what a resend meets.

const plan = [stepOf('sms'), stepOf('voice'), stepOf('whatsapp'), stepOf('email')]
let apps = 0
/** A request whose first message is out, of an app of its own, so that no other test's sends count. */
async function opened(given: Given = {}) {
  const appId = `next-${++apps}`
  await createApp(rig.requests.db, { id: appId, name: appId })
  const requestId = await openLive({ appId, plan, ...given })
  await answer(await claimed(requestId), acceptance)
  const command = { appId, environment: 'production' as const, requestId, actor: 'test' }
  const move = async (step: number) => {
    const { channel = 'sms' } = plan[step] ?? {}
    await claimed(requestId, { sendNo: step + 1, step, channel })
  }
  return { appId, requestId, next: () => rig.requests.next(command), move }
}
const leaveStepOf = async (requestId: string) =>
  (
    await rig.requests.db.one<{ step: number }>(
      sql`select leave_step as step from otp_requests where id = ${requestId}`,
    )
  )?.step

test('counts against the limits of the recipient, and the same wish once', async () => {
  const { requestId, next, move } = await opened()
  expect(await next()).toMatchObject({ outcome: 'done', channel: 'voice' })
  // Before the move it is the same wish.
  for (let n = 0; n < 5; n++) expect(await next()).toEqual({ outcome: 'done', channel: 'voice' })
  await move(1)
  expect(await next()).toMatchObject({ outcome: 'done', channel: 'whatsapp' })
  await move(2)
  expect(await next()).toMatchObject({ outcome: 'rate_limited', limit: 'recipient' })
  expect(await leaveStepOf(requestId)).toBe(1)
})

test('of twenty at once, one is counted', async () => {
  const { requestId, next } = await opened()
  const outcomes = await Promise.all(Array.from({ length: 20 }, next))
  expect(outcomes.filter((outcome) => 'wake' in outcome)).toHaveLength(1)
  const row = await rig.requests.db.one(sql`
    select cardinality(w.sends) as sends from send_windows w join otp_requests r
      on w.name = concat_ws('|', 'recipient', r.environment, r.recipient_id) where r.id = ${requestId}`)
  expect(row).toEqual({ sends: 2 })
})

test('is refused once the plan is over, though later channels were never called', async () => {
  // As where no account of the later steps takes calls: its run has nothing left to go on to.
  const { requestId, next } = await opened()
  await recordPlanEnded(rig.requests.db, requestId, 'run')
  expect(await next()).toEqual({ outcome: 'no_next' })
  expect(await leaveStepOf(requestId)).toBe(-1)

  const asked = await opened()
  expect(await asked.next()).toMatchObject({ outcome: 'done', channel: 'voice' })
  await recordPlanEnded(rig.requests.db, asked.requestId, 'run')
  expect(await asked.next()).toEqual({ outcome: 'no_next' })
})

test('is refused where a block stands since the send, and nothing moves', async () => {
  const usual = sendInput().protection
  const { appId, requestId, next } = await opened({ protection: { ...usual, mode: 'block' } })
  await raiseBlock(rig.requests.db, {
    ...{ appId, environment: 'production', label: null },
    finding: {
      ...{ rule: 'country_velocity', scope: 'country', asks: 'block', count: 9, limit: 1 },
      name: `production|${appId}|country|GH`,
    },
  })
  expect(await next()).toMatchObject({ outcome: 'protected', verdict: 'blocked' })
  expect(await leaveStepOf(requestId)).toBe(-1)
})

test('is refused where the budget has no room for it', async () => {
  const prices = { sms: { '*': '0.30' }, voice: { '*': '0.50' } }
  const money = { currency: 'USD', prices, budget: { hour: '0.70' } }
  const { requestId, next } = await opened({ money })
  expect(await next()).toMatchObject({ outcome: 'over_budget', window: 'hour' })
  expect(await leaveStepOf(requestId)).toBe(-1)
})
