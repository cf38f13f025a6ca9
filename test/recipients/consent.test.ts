import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { Webhook } from 'standardwebhooks'
import { isStop } from '../../core/recipients/stop-word'
import type { Database } from '../../db'
import { withdrawConsent } from '../../db/recipients/consent'
import { eraseRecipient } from '../../db/recipients/erasure'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
})
afterAll(() => system.stop())

const consent = (given_at?: Date) => ({
  consent: {
    text_version: 'wording-3',
    source: 'sign-up form',
    ...(given_at && { given_at: given_at.toISOString() }),
  },
})
const seconds = (count: number) => new Date(Date.now() + count * 1_000)
const withdraw = (phone: string, by = client) =>
  by.call<{ status?: string; requests_cancelled?: number }>('POST', '/consent/withdraw', {
    phone_number: phone,
  })
const reply = (phone: string, text: string) =>
  fetch(`${system.sandboxUrl}/phones/${encodeURIComponent(phone)}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text }),
  })

describe('consent with a send', () => {
  test('is kept with its request, apart from what stays, and in the trail without its words', async () => {
    const id = await client.sent(freshPhone(), {
      consent: {
        text_version: 'wording-3',
        given_at: '2026-11-01T10:00:00+01:00',
        source: 'form',
        basis: 'contract',
      },
    })
    const kept = await system.db.one(
      sql`select consent from request_contexts where request_id = ${id}`,
    )
    expect(kept).toEqual({
      consent: {
        text_version: 'wording-3',
        given_at: '2026-11-01T09:00:00.000Z',
        source: 'form',
        basis: 'contract',
      },
    })
    const { events } = await client.status(id)
    const given = events.filter(({ type }) => type === 'consent_given')
    expect(given).toMatchObject([{ detail: { basis: 'contract' } }])
    expect(JSON.stringify(given)).not.toContain('wording-3')
  })

  test('one that comes with a repeated send is the one that is kept', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    expect(await client.sent(phone, consent())).toBe(id)
    const [row] = await system.db.many<{ consent: object }>(
      sql`select consent from request_contexts where request_id = ${id}`,
    )
    expect(row?.consent).toMatchObject({ text_version: 'wording-3' })
    expect(row?.consent).toHaveProperty('given_at')
  })

  test('is required where the app says so', async () => {
    const other = clientOf(system, system.otherKey)
    await system.db.many(sql`update apps set consent_required = true where id = 'other'`)
    await until(async () => (await other.send(freshPhone())).status === 400)
    const { status, body } = await other.send(freshPhone())
    expect([status, body.error_code]).toEqual([400, 'CONSENT_REQUIRED'])
    expect((await other.send(freshPhone(), consent())).status).toBe(200)
  })

  test.each([
    {},
    { text_version: '' },
    { text_version: 'x', basis: 'because' },
    { text_version: 'x', given_at: 'yesterday' },
    { text_version: 'x', phone: '+233241234567' },
  ])('what is no consent record is refused: %j', async (record) => {
    expect((await client.send(freshPhone(), { consent: record })).status).toBe(400)
  })
})

describe('withdrawal', () => {
  test('ends what is live, stops the next channel, and refuses until consent is given anew', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    const id = await client.sent(phone, { channels: ['sms', 'voice'] })
    const [message] = await until(async () => {
      const inbox = await client.inbox(phone)
      return inbox.length > 0 && inbox
    })
    expect((await withdraw(phone)).body).toEqual({ status: 'withdrawn', requests_cancelled: 1 })
    expect(await client.status(id)).toMatchObject({ state: 'cancelled', reason: 'requested' })
    expect((await client.call('POST', `/otp/${id}/next`)).status).toBe(409)
    const checked = await client.verify({ request_id: id, code: message?.code })
    expect(checked.body).toMatchObject({ status: 'rejected' })

    const refused = await client.send(phone)
    expect([refused.status, refused.body.error_code]).toEqual([403, 'BLOCKED'])
    expect(refused.body).toMatchObject({ detail: expect.stringContaining('given_at') })
    expect((await client.send(phone, consent(seconds(-3_600)))).status).toBe(403)
    // A clock that runs an hour ahead gives no consent.
    expect((await client.send(phone, consent(seconds(3_600)))).status).toBe(403)
    // Nobody says when this one was given: it may be as old as the others.
    expect((await client.send(phone, consent())).status).toBe(403)
    expect((await client.send(phone, consent(seconds(0)))).status).toBe(200)
    expect((await client.send(phone)).status).toBe(200)
    expect(await client.inbox(phone)).not.toHaveLength(0)
  })

  test('counts against nothing: no limit is used up by refused sends', async () => {
    const phone = freshPhone()
    await withdraw(phone)
    for (let i = 0; i < 8; i++) expect((await client.send(phone)).status).toBe(403)
    expect((await client.send(phone, consent(seconds(0)))).status).toBe(200)
  })

  test('a repeat of a send from before it is still that send', async () => {
    const phone = freshPhone()
    const key = { 'idempotency-key': `repeat-${phone}` }
    const first = await client.send(phone, {}, key)
    await withdraw(phone)
    const again = await client.send(phone, {}, key)
    expect([again.status, again.body.request_id]).toEqual([200, first.body.request_id])
  })

  test('live and test count apart; another app is not concerned', async () => {
    const phone = freshPhone()
    await withdraw(phone, clientOf(system, system.liveKey))
    expect((await client.send(phone)).status).toBe(200)
    await withdraw(phone)
    expect((await client.send(phone)).status).toBe(403)
    const other = clientOf(system, system.otherKey)
    expect((await other.send(phone, consent())).status).toBe(200)
  })

  test('is written down in the trail of the app, without a number', async () => {
    const rows = await system.db.many<{ detail: Record<string, unknown> }>(
      sql`select detail from audit_events where type = 'consent_withdrawn' and chain = 'app:app' order by id`,
    )
    expect(rows[0]?.detail).toEqual({ source: 'api', environment: 'staging', cancelled: 1 })
  })

  test('is written down for somebody who is erased while it is', async () => {
    const phone = freshPhone()
    const recipient = { kind: 'phone' as const, value: phone }
    let erasures = 0
    const interrupted: Database = {
      ...system.db,
      // Between the two steps of the withdrawal.
      transaction: async (work) => {
        if (erasures++ < 2)
          await eraseRecipient(system.db, system.keyring, { ...recipient, actor: 'test' })
        return system.db.transaction(work)
      },
    }
    const owner = { appId: 'app', environment: 'staging' as const }
    await withdrawConsent(interrupted, system.keyring, { ...owner, ...recipient, actor: 'test' })
    expect(erasures).toBe(3)
    expect((await client.send(phone)).status).toBe(403)
  })

  test('against sends at the same moment: afterwards nothing is live', async () => {
    for (let round = 0; round < 10; round++) {
      const phone = freshPhone()
      const answers = await Promise.all([
        ...['a', 'b', 'c'].map((purpose) => client.send(phone, { purpose, channels: ['sms'] })),
        withdraw(phone),
        withdraw(phone),
      ])
      for (const { status } of answers) expect([200, 403]).toContain(status)
      for (const { body } of answers) {
        if (!('request_id' in body) || body.request_id === undefined) continue
        if (body.request_id === null) continue
        expect((await client.status(body.request_id)).state).toBe('cancelled')
      }
      // The three that may have passed have used the recipient's limit up, which is told first.
      expect([403, 429]).toContain((await client.send(phone)).status)
    }
  }, 60_000)
})

describe('STOP by reply', () => {
  test.each([
    ['STOP', true],
    [' stop. ', true],
    ['Arrêt', true],
    ['opt-out', true],
    ['Unsubscribe', true],
    ['STOP ALL', true],
    ['', false],
    ['START', false],
    ['please stop by at five', false],
    ['482913', false],
    ['стоп', false],
  ])('%j: %s', (text, stops) => expect(isStop(text)).toBe(stops))

  test('withdraws in every app that knows the number, and in no other', async () => {
    const phone = freshPhone()
    const other = clientOf(system, system.otherKey)
    const ids = [await client.sent(phone), await other.sent(phone, consent())]
    await until(async () => (await client.inbox(phone))[0])
    expect((await reply(phone, 'thanks')).status).toBe(204)
    expect((await client.status(ids[0] ?? '')).state).toBe('pending')
    expect((await reply(phone, 'Stop')).status).toBe(204)
    expect((await client.status(ids[0] ?? '')).state).toBe('cancelled')
    expect((await other.status(ids[1] ?? '')).state).toBe('cancelled')
    expect((await client.send(phone)).status).toBe(403)
    const sources = await system.db.many(sql`select distinct o.source, o.environment from opt_outs o
      join otp_requests q on q.recipient_id = o.recipient_id where q.id in ${ids} order by 2`)
    expect(sources).toEqual([
      { source: 'inbound:sandbox-a', environment: 'staging' },
      { source: 'inbound:sandbox-a', environment: 'development' },
    ])
    // START does not say for whom: only a consent does.
    await reply(phone, 'START')
    expect((await client.send(phone)).status).toBe(403)
    // A number that nobody knows leaves nothing behind.
    const before = await system.db.one(sql`select count(*) from recipients`)
    expect((await reply('+233241999999', 'STOP')).status).toBe(204)
    expect(await system.db.one(sql`select count(*) from recipients`)).toEqual(before)
  })

  const post = (secret: string, body: object, account = 'sandbox-a') => {
    const text = JSON.stringify(body)
    const now = new Date()
    return fetch(`${system.url}/webhooks/${account}/inbound`, {
      method: 'POST',
      headers: {
        'webhook-id': 'in_1',
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign('in_1', now, text),
      },
      body: text,
    })
  }

  test('that comes again changes nothing, least of all a consent given since', async () => {
    const phone = freshPhone()
    const stop = async (at: Date) => {
      const message = { id: 'in_1', from: phone, text: 'STOP', at: at.toISOString() }
      expect((await post(system.sandboxSecret, message)).status).toBe(200)
    }
    const rows = () =>
      system.db.many(sql`select o.environment, o.at, o.lifted_at, c.sequence from opt_outs o
        join otp_requests q on q.recipient_id = o.recipient_id join audit_chains c on c.chain = 'app:app'
        where q.id = ${first} order by 1`)
    const first = await client.sent(phone)
    const said = seconds(-2)
    await stop(said)
    const noted = await rows()
    expect(noted).toMatchObject([{ at: said }, { at: said }])
    await stop(said)
    await stop(seconds(-60))
    expect(await rows()).toEqual(noted)

    expect((await client.send(phone, consent(seconds(-1)))).status).toBe(200)
    const id = await client.sent(phone)
    const lifted = await rows()
    expect(lifted).toMatchObject([{ lifted_at: expect.any(Date) }, { lifted_at: null }])
    await stop(said)
    expect(await rows()).toEqual(lifted)
    expect((await client.status(id)).state).toBe('pending')

    await stop(seconds(0))
    expect((await client.status(id)).state).toBe('cancelled')
    expect(await rows()).toMatchObject([{ lifted_at: null }, { lifted_at: null }])
  })

  test('only as the provider signs it; the text is kept nowhere', async () => {
    const phone = freshPhone()
    await client.sent(phone)
    const message = { from: phone, text: 'STOP' }
    const forged = `whsec_${Buffer.alloc(32, 3).toString('base64')}`
    expect((await post(forged, message)).status).toBe(401)
    expect((await client.send(phone)).status).toBe(200)
    expect((await post(system.sandboxSecret, message, 'nobody')).status).toBe(404)
    expect((await post(system.sandboxSecret, { text: 'STOP' })).status).toBe(200)
    // What no plan knows is nobody's fault who could mend it.
    for (const from of ['+99999', 'Acme', '\u0000', '0'])
      expect((await post(system.sandboxSecret, { from, text: 'STOP' })).status).toBe(200)
    expect((await post(system.sandboxSecret, { from: phone, text: 'canary reply' })).status).toBe(
      200,
    )
    expect((await post(system.sandboxSecret, message)).status).toBe(200)
    expect((await client.send(phone)).status).toBe(403)
  })
})
