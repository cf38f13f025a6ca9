import { describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { Webhook } from 'standardwebhooks'
import { usualRetention } from '../../core/recipients/retention'
import { eraseRecipient } from '../../db/recipients/erasure'
import { retire } from '../../db/upkeep/retention'
import { newId, rig, twilio } from '../harness/callback-rig'
import { clientOf, freshPhone } from '../harness/client'

const consent = () => ({
  consent: { text_version: 'wording-3', given_at: new Date().toISOString() },
})
const path = '/webhooks/twilio/inbound'
const stopFrom = (From: string) => ({ MessageSid: newId('SM'), From, Body: 'STOP' })

/** Says STOP, then agrees anew. @returns the bytes of the STOP, and the request that is live since */
async function agreedAnew() {
  const phone = freshPhone()
  await rig.live.sent(phone)
  const stop = stopFrom(phone)
  expect((await twilio(path, stop)).status).toBe(200)
  expect((await rig.live.send(phone)).status).toBe(403)
  const requestId = await rig.live.sent(phone, consent())
  return { phone, stop, requestId }
}

const withdrawals = async (requestId: string) =>
  (
    await rig.system.db
      .many(sql`select from opt_outs o join otp_requests q on q.recipient_id = o.recipient_id
      where q.id = ${requestId} and lifted_at is null and o.environment = 'production'`)
  ).length

describe('a STOP whose provider signs no time', () => {
  test('that is posted again after consent was given anew ends nothing', async () => {
    const { phone, stop, requestId } = await agreedAnew()
    for (let again = 0; again < 3; again++) expect((await twilio(path, stop)).status).toBe(200)
    expect((await rig.live.status(requestId)).state).toBe('pending')
    expect(await withdrawals(requestId)).toBe(0)
    // A message of its own is another matter.
    expect((await twilio(path, stopFrom(phone))).status).toBe(200)
    expect((await rig.live.status(requestId)).state).toBe('cancelled')
    expect((await rig.live.send(phone)).status).toBe(403)
  })

  test('counts once, however many copies come at the same time', async () => {
    const phone = freshPhone()
    await rig.live.sent(phone)
    const told = () =>
      rig.system.db.one(
        sql`select count(*) from audit_events where type = 'consent_withdrawn' and chain = 'app:app'`,
      )
    const before = (await told()) as { count: string }
    const stop = stopFrom(phone)
    const answers = await Promise.all(Array.from({ length: 20 }, () => twilio(path, stop)))
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(await told()).toEqual({ count: String(Number(before.count) + 1) })
  })

  test('is known by a digest alone, as long as the withdrawal that it made', async () => {
    const { stop, requestId } = await agreedAnew()
    const rows = await rig.system.db.many<{ row: string }>(
      sql`select inbound_messages::text as row from inbound_messages`,
    )
    expect(rows.some(({ row }) => row.includes(stop.MessageSid))).toBe(false)
    await rig.system.db.many(
      sql`update inbound_messages set seen_at = seen_at - interval '500 days'`,
    )
    for await (const _ of retire(rig.system.db, usualRetention));
    await twilio(path, stop)
    expect(await withdrawals(requestId)).toBe(0)
  })

  test('is still known when the person was erased, and comes back', async () => {
    const { phone, stop } = await agreedAnew()
    const recipient = { kind: 'phone' as const, value: phone }
    await eraseRecipient(rig.system.db, rig.system.keyring, { ...recipient, actor: 'test' })
    const requestId = await rig.live.sent(phone)
    await twilio(path, stop)
    expect((await rig.live.status(requestId)).state).toBe('pending')
    // Nothing is left of the withdrawal, so nothing is kept of the message for longer than of a request.
    const ageAll = sql`update inbound_messages set seen_at = now() - interval '366 days'`
    await rig.system.db.many(ageAll)
    for await (const _ of retire(rig.system.db, usualRetention));
    await twilio(path, stop)
    expect((await rig.live.status(requestId)).state).toBe('cancelled')
  })

  test('of somebody whom no app knows yet does not lie in wait for them', async () => {
    const phone = freshPhone()
    const stop = stopFrom(phone)
    await twilio(path, stop)
    const requestId = await rig.live.sent(phone)
    await twilio(path, stop)
    expect((await rig.live.status(requestId)).state).toBe('pending')
  })
})

test('a STOP that was signed for one account is no other one at another account with the same secret', async () => {
  const { system } = rig
  const client = clientOf(system)
  const phone = freshPhone()
  await client.sent(phone)
  const body = JSON.stringify({ from: phone, text: 'STOP', at: new Date().toISOString() })
  const now = new Date()
  const headers = {
    'webhook-id': newId('in_'),
    'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
  }
  const signature = new Webhook(system.sandboxSecret).sign(headers['webhook-id'], now, body)
  const post = async (account: string) =>
    (
      await fetch(`${system.url}/webhooks/${account}/inbound`, {
        method: 'POST',
        headers: { ...headers, 'webhook-signature': signature, connection: 'close' },
        body,
      })
    ).status
  expect(await post('sandbox-a')).toBe(200)
  expect((await client.send(phone)).status).toBe(403)
  // Consent whose time is before that of the STOP lifts nothing, so the row is lifted here.
  await system.db.many(
    sql`update opt_outs set lifted_at = at - interval '1 second', at = at - interval '1 minute'`,
  )
  const requestId = await client.sent(phone)
  expect(await post('sandbox-b')).toBe(200)
  expect(await post('sandbox-a')).toBe(200)
  expect((await client.status(requestId)).state).toBe('pending')
})
