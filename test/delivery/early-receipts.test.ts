import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { Webhook } from 'standardwebhooks'
import { callbackDigest } from '../../codes/seal'
import type { Wake } from '../../core/requests/wake'
import { deleteOutlived } from '../../db/upkeep/cleanup'
import { recordAcceptance, recordByMessage } from '../../db/delivery/early-receipts'
import { noteRefusedAccountCallback } from '../../db/delivery/receipts'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { requestsOnly } from '../harness/requests'
import { startSystem, type System } from '../harness/system'

describe('what is decided in Postgres', () => {
  let requests: Awaited<ReturnType<typeof requestsOnly>>
  beforeAll(async () => {
    requests = await requestsOnly()
  })
  afterAll(() => requests.close())

  test('forged callbacks do not queue for the row that notes them', async () => {
    const { db } = requests
    await noteRefusedAccountCallback(db, 'forged')
    await db.transaction(async (tx) => {
      await tx.many(sql`select from provider_callbacks where provider = 'forged' for update`)
      await noteRefusedAccountCallback(db, 'forged')
    })
    const noted = await db.many(sql`select from audit_events
      where type = 'callback_refused' and detail ->> 'provider' = 'forged'`)
    expect(noted).toHaveLength(1)
  })

  test('an answer about a message that was erased meanwhile leaves nothing', async () => {
    const report = (asked: boolean) =>
      recordByMessage(requests.db, {
        message: { provider: 'sandbox-a', messageId: 'erased' },
        receipt: { status: 'sent', rawStatus: 'sent', eventKey: 'erased:sent' },
        ...{ actor: 'provider:sandbox-a', asked },
      })
    const kept = () =>
      requests.db.many(sql`select from unmatched_receipts where provider_message_id = 'erased'`)
    await report(true)
    expect(await kept()).toHaveLength(0)
    await report(false)
    expect(await kept()).toHaveLength(1)
    await requests.db.many(sql`delete from unmatched_receipts`)
  })

  let last = 0
  /** A claimed message, its provider's answer and its provider's reports, each to be played when the test says. */
  async function message() {
    const { db } = requests
    const { requestId } = await requests.open()
    const claim = await requests.claim(requestId)
    if (!claim) throw new Error('no claim')
    const messageId = `msg_${++last}`
    const { attemptId } = claim
    return {
      requestId,
      attemptId,
      messageId,
      answered: () =>
        recordAcceptance(
          db,
          { requestId, attemptId, runId: 'run' },
          {
            provider: 'sandbox-a',
            answer: { state: 'accepted', providerMessageId: messageId },
          },
        ),
      reported: (status: 'sent' | 'delivered', eventKey = `${messageId}:${status}`) =>
        recordByMessage(db, {
          message: { provider: 'sandbox-a', messageId },
          receipt: { status, rawStatus: status, eventKey },
          actor: 'provider:sandbox-a',
        }),
    }
  }
  const left = () =>
    requests.db.many<{ eventKey: string }>(
      sql`select event_key as "eventKey" from unmatched_receipts`,
    )
  const kept = (attemptId: string) =>
    requests.db.many<{ status: string }>(
      sql`select status from receipts where attempt_id = ${attemptId} order by id`,
    )
  const statusOf = (attemptId: string) =>
    requests.db.one(
      sql`select status, provider_message_id as id from attempts where id = ${attemptId}`,
    )

  test('a report that comes first waits, and counts as soon as the message has its id', async () => {
    const { answered, reported, attemptId, messageId, requestId } = await message()
    expect(await reported('sent')).toEqual({ duplicate: false })
    expect(await reported('delivered')).toEqual({ duplicate: false })
    expect(await reported('delivered')).toEqual({ duplicate: true })
    expect(await kept(attemptId)).toEqual([])
    expect(await answered()).toMatchObject([{ requestId, signal: 'receipt', status: 'delivered' }])
    expect(await kept(attemptId)).toEqual([{ status: 'sent' }, { status: 'delivered' }])
    expect(await statusOf(attemptId)).toEqual({ status: 'delivered', id: messageId })
    expect(await left()).toEqual([])
    // Once joined, the same event is known by its attempt.
    expect(await reported('delivered')).toEqual({ duplicate: true })
  })

  test('whoever is faster: 200 races, each report recorded once and its run told', async () => {
    const inParallel = 10
    for (let round = 0; round < 200 / inParallel; round++) {
      await Promise.all(
        Array.from({ length: inParallel }, async (_, lane) => {
          const { answered, reported, attemptId, requestId } = await message()
          const wakes: Wake[] = []
          // From well before to well after, and as near to each other as can be.
          const lead = (round % 5) - 2 + lane / 10
          await Promise.all([
            pause(Math.max(0, lead))
              .then(() =>
                Promise.all([reported('sent'), reported('delivered'), reported('delivered')]),
              )
              .then((all) => wakes.push(...all.flatMap(({ wake }) => wake ?? []))),
            pause(Math.max(0, -lead))
              .then(answered)
              .then((joined) => wakes.push(...joined)),
          ])
          expect((await kept(attemptId)).map(({ status }) => status).sort()).toEqual([
            'delivered',
            'sent',
          ])
          expect(await statusOf(attemptId)).toMatchObject({ status: 'delivered' })
          expect(wakes).toMatchObject([{ requestId, status: 'delivered' }])
        }),
      )
    }
    expect(await left()).toEqual([])
  })

  test('both orders of the race do happen', async () => {
    const early = await message()
    const joined = early.reported('delivered').then(early.answered)
    expect(await joined).toHaveLength(1)
    const late = await message()
    expect(await late.answered()).toEqual([])
    expect(await late.reported('delivered')).toMatchObject({ wake: { status: 'delivered' } })
  })

  test('another account’s message of the same id is another message', async () => {
    const { db } = requests
    const { answered, attemptId, messageId } = await message()
    await recordByMessage(db, {
      message: { provider: 'sandbox-b', messageId },
      receipt: { status: 'delivered', rawStatus: 'delivered', eventKey: 'other' },
      actor: 'provider:sandbox-b',
    })
    expect(await answered()).toEqual([])
    expect(await kept(attemptId)).toEqual([])
    expect(await left()).toEqual([{ eventKey: 'other' }])
  })

  test('what nobody asked for in 24 hours goes', async () => {
    const { db } = requests
    await db.many(
      sql`update unmatched_receipts set received_at = now() - interval '23 hours 59 minutes'`,
    )
    await deleteOutlived(db, 100)
    expect(await left()).toHaveLength(1)
    await db.many(
      sql`update unmatched_receipts set received_at = now() - interval '24 hours 1 minute'`,
    )
    await deleteOutlived(db, 100)
    expect(await left()).toEqual([])
  })
})

describe('over HTTP', () => {
  let system: System
  let client: TestClient
  beforeAll(async () => {
    system = await startSystem()
    client = clientOf(system)
  })
  afterAll(() => system.stop())

  const post = (path: string, body: object, secret = system.sandboxSecret) => {
    const text = JSON.stringify(body)
    const now = new Date()
    return fetch(system.url + path, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': 'evt',
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign('evt', now, text),
      },
      body: text,
    })
  }
  const wrongSecret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`

  test.each([{ receipts_first: true }, { receipt_after_ms: 0 }])(
    'receipts to the address of the account reach their request: %j',
    async (timing) => {
      const phone = freshPhone()
      await client.script(phone, { receipts_to: 'account', ...timing })
      const id = await client.sent(phone, { channels: ['sms'] })
      await until(async () => (await client.status(id)).delivered_at, {
        what: 'the receipt',
      })
      const { events } = await client.status(id)
      expect(events.filter(({ type }) => type === 'receipt')).toHaveLength(1)
      // The run heard of it too: nothing is left for the sweeper.
      await until(
        async () =>
          (
            await system.db.one<{ told: boolean }>(
              sql`select signal_due_at is null as told from otp_requests where id = ${id}`,
            )
          )?.told,
      )
    },
  )

  test('an unknown account, a forged report and one without a message id', async () => {
    expect((await post('/webhooks/nobody', {})).status).toBe(404)
    const report = { id: 'msg_1', status: 'delivered' }
    expect((await post('/webhooks/sandbox-a', report, wrongSecret)).status).toBe(401)
    expect((await post('/webhooks/sandbox-a', { status: 'delivered' })).status).toBe(200)
    const count = sql`select count(*)::int as count from unmatched_receipts`
    expect(await system.db.one(count)).toEqual({ count: 0 })
  })

  test('a forged callback for a known attempt is refused, and audited once a minute', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone, { channels: ['sms'] })
    await until(async () => (await client.inbox(phone))[0])
    // A token of the test's own, since the real one left no trace.
    const token = 'AAAAAAAAAAAAAAAAAAAAAA'
    await system.db
      .many(sql`update attempts set callback_digest = ${callbackDigest(system.keyring, token)}
      where request_id = ${id}`)
    const callbackUrl = `/webhooks/sandbox-a/${token}`
    const refusals = async () =>
      (await client.status(id)).events.filter(({ type }) => type === 'callback_refused')

    const answers = await Promise.all(
      Array.from({ length: 10 }, () =>
        post(callbackUrl, { id: 'm', status: 'delivered' }, wrongSecret),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 401))
    expect(await refusals()).toHaveLength(1)
    await system.db.many(
      sql`update attempts set callback_refused_at = now() - interval '61 seconds' where request_id = ${id}`,
    )
    await post(callbackUrl, { id: 'm', status: 'delivered' }, wrongSecret)
    expect(await refusals()).toMatchObject([
      {},
      { detail: { channel: 'sms', provider: 'sandbox-a' } },
    ])
    expect((await client.status(id)).delivered_at).toBeNull()
  })
})
