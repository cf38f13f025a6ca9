import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createDatabase } from '../../db'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { noteSent, type Sent } from '../harness/sent'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let sent: Sent[]

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  sent = noteSent(system.db.pool)
})
afterAll(() => system.stop())
beforeEach(() => void sent.splice(0))

/** A transaction's frame, which has no plan. */
const frame = /^(begin|commit|rollback)$/

/** Beginnings of the texts that went out without a name: Postgres parses and plans these for every call. */
const unnamed = () => [
  ...new Set(
    sent
      .filter(({ name, text }) => name === undefined && !frame.test(text))
      .map(({ text }) => text.replaceAll(/\s+/g, ' ').trim().slice(0, 100)),
  ),
]

const names = () => new Set(sent.map(({ name }) => name))

async function delivered(phone: string): Promise<string> {
  const message = await until(async () => {
    const [newest] = await client.inbox(phone)
    return newest?.status === 'delivered' && newest
  })
  return message.code
}

/** The run knows of the end, and every loop of the process has had a turn since the flow began. */
const untilClosed = () =>
  until(async () =>
    ['close_run', 'find_due_work', 'take_polls', 'take_due'].every((name) => names().has(name)),
  )

/** Makes every message an older one, so that a resend is taken; by a connection that is not watched. */
async function ageMessages(): Promise<void> {
  const db = createDatabase(system.databaseUrl, { max: 1 })
  await db.many(sql`update attempts set claimed_at = claimed_at - interval '11 seconds'`)
  await db.close()
}

describe('every statement is prepared under a name', () => {
  test('from two sends over the receipt and a wrong code to the end of the run', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    await client.sent(phone)
    const code = await delivered(phone)
    const wrong = code === '000000' ? '111111' : '000000'
    await client.verify({ phone_number: phone, code: wrong })
    await client.verify({ phone_number: phone, code })
    await untilState(client, id, 'verified')
    await untilClosed()
    expect(unnamed()).toEqual([])
    // The test sees what is sent at all, by the API and by the worker.
    expect([...names()]).toEqual(
      expect.arrayContaining([
        ...[
          'create_dialable_request',
          'repeat_live',
          'mark_started',
          'claim_attempt',
          'record_answer',
        ],
        ...['record_receipt', 'decide_check', 'credit_sends', 'read_status'],
      ]),
    )
  })

  test('with a key for retries, a resend, the next channel and a cancel', async () => {
    const phone = freshPhone()
    const headers = { 'idempotency-key': phone }
    const { body } = await client.send(phone, {}, headers)
    await client.send(phone, {}, headers)
    await delivered(phone)
    await ageMessages()
    await client.call('POST', `/otp/${body.request_id}/resend`)
    await client.call('POST', `/otp/${body.request_id}/next`)
    await client.call('POST', `/otp/${body.request_id}/cancel`)
    await untilState(client, body.request_id, 'cancelled')
    await untilClosed()
    expect(unnamed()).toEqual([])
    expect([...names()]).toEqual(
      expect.arrayContaining([
        ...['claim_idempotency_key', 'read_replayed', 'ask_resend'],
        ...['leave_step', 'cancel_request'],
      ]),
    )
  })
})
