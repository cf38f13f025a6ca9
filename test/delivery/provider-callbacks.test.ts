import { describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import fc from '../harness/properties'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks'
import { callbackToken } from '../../codes/random-id'
import {
  rig,
  authToken,
  pathSecret,
  newId,
  claimed,
  untold,
  statusOf,
  receiptsOf,
  refusalsOf,
  accountRefusals,
  once,
  twilio,
  report,
  batch,
} from '../harness/callback-rig'
import { flipped } from '../harness/adapter-rig'

describe('at a message’s own address', () => {
  test('reports count once and only upwards, in whatever order they come', async () => {
    const { path, attemptId, messageId } = await claimed()
    for (const status of ['sent', 'delivered', 'sent', 'delivered', 'moonwalking', 'queued'])
      expect(await twilio(path, report(messageId, status))).toMatchObject({ status: 200 })
    expect(await statusOf(attemptId)).toBe('delivered')
    expect((await receiptsOf(attemptId)).map(({ status }) => status)).toEqual([
      'sent',
      'delivered',
      'unknown',
      'accepted',
    ])
  })

  test('twenty of the same at once are one', async () => {
    const { path, attemptId, messageId } = await claimed()
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => twilio(path, report(messageId, 'delivered'))),
    )
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(await receiptsOf(attemptId)).toEqual([{ status: 'delivered', late: false }])
  })

  test('a report before the answer to its send counts, and the answer changes nothing of it', async () => {
    const { path, attemptId, messageId, accept } = await claimed({ answered: false })
    await twilio(path, report(messageId, 'delivered'))
    expect(await statusOf(attemptId)).toBe('delivered')
    await accept()
    expect(await statusOf(attemptId)).toBe('delivered')
  })

  test('a call that a machine took does not become an answered one by having lasted', async () => {
    const { path, attemptId, messageId: CallSid, requestId } = await claimed({ channel: 'voice' })
    const detecting = `${path}?answered-by=later`
    const ended = { CallSid, CallStatus: 'completed', CallDuration: '25' }
    await twilio(detecting, { CallSid, AnsweredBy: 'machine_start' })
    expect((await twilio(detecting, ended)).status).toBe(200)
    expect(await statusOf(attemptId)).toBe('failed.retryable')
    expect(await receiptsOf(attemptId)).toHaveLength(2)
    const heard = () =>
      rig.system.db.one(sql`select delivered_at as delivered, succeeded_at as succeeded
        from otp_requests where id = ${requestId}`)
    expect(await heard()).toEqual({ delivered: null, succeeded: null })
    // Taken for a machine, a person can still press the key; and without a machine the end tells.
    await twilio(`${path}/answer`, { CallSid, CallStatus: 'in-progress', Digits: '1' })
    expect(await statusOf(attemptId)).toBe('answered')
    const other = await claimed({ channel: 'voice' })
    await twilio(`${other.path}?answered-by=later`, { ...ended, CallSid: other.messageId })
    expect(await statusOf(other.attemptId)).toBe('answered')
  })

  test('a report after the end is kept as a late one and reopens nothing', async () => {
    const { path, attemptId, messageId, requestId } = await claimed()
    await rig.live.call('POST', `/otp/${requestId}/cancel`)
    expect((await twilio(path, report(messageId, 'delivered'))).status).toBe(200)
    expect(await receiptsOf(attemptId)).toEqual([{ status: 'delivered', late: true }])
    expect((await rig.live.status(requestId)).state).toBe('cancelled')
  })

  test('by GET, where the provider calls so', async () => {
    const { path, attemptId, messageId } = await claimed()
    const url = `${rig.system.url}${path}?${new URLSearchParams(report(messageId, 'delivered')).toString()}`
    const get = async (signature: string) =>
      (await fetch(url, { headers: { ...once, 'x-twilio-signature': signature } })).status
    expect(await get(getExpectedTwilioSignature('another-token', url, {}))).toBe(401)
    expect(await statusOf(attemptId)).toBe(untold)
    expect(await get(getExpectedTwilioSignature(authToken, url, {}))).toBe(200)
    expect(await statusOf(attemptId)).toBe('delivered')
  })

  test('forged by one bit: refused, changes nothing, and is audited once a minute', async () => {
    const { path, attemptId, messageId, requestId } = await claimed()
    const fields = report(messageId, 'delivered')
    const signature = Buffer.from(
      getExpectedTwilioSignature(authToken, rig.system.url + path, fields),
    )
    for (let at = 0; at < signature.length - 1; at++) {
      const forged = Buffer.from(signature)
      forged[at] = (forged[at] ?? 0) ^ 1
      const { status, text } = await twilio(path, fields, forged.toString('latin1'))
      expect({ status, code: (JSON.parse(text) as { error_code: string }).error_code }).toEqual({
        ...{ status: 401, code: 'INVALID_SIGNATURE' },
      })
    }
    expect(await statusOf(attemptId)).toBe(untold)
    expect(await refusalsOf(requestId)).toHaveLength(1)
    expect((await twilio(path, fields)).status).toBe(200)
  })

  test('a genuine callback for another message’s address is forged there', async () => {
    const one = await claimed()
    const other = await claimed()
    const fields = report(one.messageId, 'delivered')
    const signature = getExpectedTwilioSignature(authToken, rig.system.url + one.path, fields)
    expect((await twilio(other.path, fields, signature)).status).toBe(401)
    expect(await statusOf(other.attemptId)).toBe(untold)
  })

  test('an unknown address, or that of another provider, is none', async () => {
    const { path } = await claimed()
    for (const elsewhere of [
      path.replace(/[^/]+$/, callbackToken()),
      path.replace('twilio', 'nobody'),
      `${path}x`,
      `${path}/more`,
    ])
      expect((await twilio(elsewhere, report('SM1', 'sent'))).status).toBe(404)
  })

  test('one bit of the address turned: forged, and audited', async () => {
    await rig.system.db.many(
      sql`update provider_callbacks set refused_at = refused_at - interval '1 hour'`,
    )
    const before = await accountRefusals('twilio')
    const { path } = await claimed()
    const fields = report('SM1', 'delivered')
    const genuine = getExpectedTwilioSignature(authToken, rig.system.url + path, fields)
    expect((await twilio(flipped(path), fields, genuine)).status).toBe(401)
    expect(await accountRefusals('twilio')).toBe(before + 1)
    expect((await twilio(path.replace('twilio', 'sandbox-a'), fields)).status).toBe(401)
  })
})

describe('at an account’s one address', () => {
  test('a report finds its message by the provider’s id', async () => {
    const { attemptId, messageId } = await claimed()
    expect((await twilio('/webhooks/twilio', report(messageId, 'delivered'))).status).toBe(200)
    expect(await statusOf(attemptId)).toBe('delivered')
  })

  test('one that is too early waits; one of nobody’s stays without effect', async () => {
    const { attemptId, messageId, accept } = await claimed({ answered: false })
    const stranger = newId('SM')
    for (const id of [messageId, messageId, stranger])
      expect((await twilio('/webhooks/twilio', report(id, 'delivered'))).status).toBe(200)
    expect(await statusOf(attemptId)).toBeNull()
    await accept()
    expect(await statusOf(attemptId)).toBe('delivered')
    const left = await rig.system.db.many(
      sql`select provider_message_id as id from unmatched_receipts where provider_message_id in (${messageId}, ${stranger})`,
    )
    expect(left).toEqual([{ id: stranger }])
  })

  test('a batch of several requests: by our reference, by theirs, twice, unknown, another’s', async () => {
    const [byOurs, byTheirs, twice] = await Promise.all(
      [1, 2, 3].map(() => claimed({ provider: 'batching' })),
    )
    const anothers = await claimed({ provider: 'twilio' })
    if (!byOurs || !byTheirs || !twice) throw new Error('no attempts')
    const { status } = await batch('/webhooks/batching', [
      { id: newId('m'), attemptId: byOurs.attemptId, status: 'delivered' },
      { id: byTheirs.messageId, status: 'failed.permanent' },
      { id: twice.messageId, attemptId: twice.attemptId, status: 'sent' },
      { id: twice.messageId, attemptId: twice.attemptId, status: 'sent' },
      { id: newId('m'), attemptId: 'att_unknown', status: 'delivered' },
      { id: newId('m'), attemptId: 'att_\u0000', status: 'delivered' },
      { id: newId('m'), attemptId: anothers.attemptId, status: 'delivered' },
      { id: newId('m'), status: 'delivered' },
    ])
    expect(status).toBe(200)
    expect(await statusOf(byOurs.attemptId)).toBe('delivered')
    expect(await statusOf(byTheirs.attemptId)).toBe('failed.permanent')
    expect(await receiptsOf(twice.attemptId)).toEqual([{ status: 'sent', late: false }])
    // One provider has no say about another's message.
    expect(await statusOf(anothers.attemptId)).toBe(untold)
  })

  test('a batch that comes to one message’s address reaches the others too', async () => {
    const [here, there] = [
      await claimed({ provider: 'batching' }),
      await claimed({ provider: 'batching' }),
    ]
    await batch(here.path, [
      { id: here.messageId, attemptId: here.attemptId, status: 'delivered' },
      { id: there.messageId, attemptId: there.attemptId, status: 'failed.retryable' },
    ])
    expect(await statusOf(here.attemptId)).toBe('delivered')
    expect(await statusOf(there.attemptId)).toBe('failed.retryable')
  })

  test('what is signed for one message counts for no other, whatever address it is sent to', async () => {
    const [here, there] = [
      await claimed({ provider: 'batching' }),
      await claimed({ provider: 'batching' }),
    ]
    // Genuine, but the signature is not over the address: somebody sent it on.
    const { status } = await batch(here.path, [{ id: there.messageId, status: 'delivered' }])
    expect(status).toBe(200)
    expect(await statusOf(here.attemptId)).toBe(untold)
    expect(await statusOf(there.attemptId)).toBe('delivered')
    await batch(here.path, [{ id: newId('m'), status: 'failed.permanent' }])
    expect(await statusOf(here.attemptId)).toBe(untold)
  })

  test('a batch of 800 KB is taken, one of more than 1 MB is not', async () => {
    const { attemptId, messageId } = await claimed({ provider: 'batching' })
    const filler = 'x'.repeat(4_000)
    const ours = { id: messageId, attemptId, status: 'delivered', filler }
    const others = Array.from({ length: 200 }, () => ({
      ...ours,
      id: newId('m'),
      attemptId: undefined,
    }))
    expect((await batch('/webhooks/batching', [...others, ours])).status).toBe(200)
    expect(await receiptsOf(attemptId)).toHaveLength(1)
    expect((await batch('/webhooks/batching', [...others, ...others])).status).toBe(413)
  })

  test('forged ones are refused, and audited once a minute and account', async () => {
    const { attemptId, messageId } = await claimed()
    const fields = report(messageId, 'delivered')
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => twilio('/webhooks/twilio', fields, 'AAAA')),
    )
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 401))
    expect(await accountRefusals('twilio')).toBe(1)
    expect(await accountRefusals('batching')).toBe(0)
    expect((await batch('/webhooks/batching', [], 'foe')).status).toBe(401)
    expect(await accountRefusals('batching')).toBe(1)
    // Genuine, but with a signature that is not over the address: it proves nothing of that.
    expect((await batch(`/webhooks/batching/${callbackToken()}`, [])).status).toBe(401)
    await rig.system.db.many(
      sql`update provider_callbacks set refused_at = refused_at - interval '61 seconds' where provider = 'twilio'`,
    )
    await twilio('/webhooks/twilio', fields, 'AAAA')
    expect(await accountRefusals('twilio')).toBe(2)
    expect(await statusOf(attemptId)).toBe(untold)
  })

  test('a secret in the address stands for a signature', async () => {
    const { attemptId, messageId } = await claimed({ provider: 'batching' })
    const body = [{ id: messageId, status: 'delivered' }]
    expect((await batch('/webhooks/batching/secret/wrong', body, 'foe')).status).toBe(401)
    expect((await batch(`/webhooks/batching/secret/${pathSecret}x`, body, 'foe')).status).toBe(401)
    expect(await statusOf(attemptId)).toBe(untold)
    expect((await batch(`/webhooks/batching/secret/${pathSecret}`, body, 'foe')).status).toBe(200)
    expect(await statusOf(attemptId)).toBe('delivered')
    expect(rig.lines.join('\n')).not.toContain(pathSecret)
  })

  test('a handshake is answered for who may ask, in plain text', async () => {
    const ask = async (path: string, word: string) => {
      const answer = await fetch(rig.system.url + path, { headers: { ...once, 'x-word': word } })
      return {
        status: answer.status,
        type: answer.headers.get('content-type'),
        text: await answer.text(),
      }
    }
    expect(await ask('/webhooks/batching?challenge=1158201444', 'friend')).toEqual({
      ...{ status: 200, type: 'text/plain; charset=utf-8', text: '1158201444' },
    })
    expect((await ask('/webhooks/batching?challenge=1', 'foe')).status).toBe(401)
    // Twilio knows no handshake.
    expect((await ask('/webhooks/twilio?challenge=1', 'friend')).status).toBe(404)
  })
})

test('whatever comes, nothing fails for it', async () => {
  const { path } = await claimed()
  const paths = [path, `${path}/answer`, '/webhooks/twilio', '/webhooks/twilio/inbound']
  const types = ['application/x-www-form-urlencoded', 'application/json', 'text/plain', 'x']
  const pick = <T>(all: readonly T[]) => fc.constantFrom(...all)
  const names = pick([
    'MessageSid',
    'MessageStatus',
    'CallSid',
    'CallStatus',
    'Digits',
    'From',
    'Body',
  ])
  const signed = fc.dictionary(names, fc.string({ maxLength: 500, unit: 'binary' }))
  await fc.assert(
    fc.asyncProperty(pick(paths), signed, async (at, fields) => {
      // What is no text at all, a form cannot hold.
      const sent = Object.fromEntries(
        Object.entries(fields).map(([name, value]) => [name, value.toWellFormed()]),
      )
      const { status } = await twilio(at, sent)
      expect([200, 400]).toContain(status)
    }),
    { numRuns: 60 },
  )
  await fc.assert(
    fc.asyncProperty(pick(paths), pick(types), fc.uint8Array(), async (at, type, body) => {
      const headers = { ...once, 'content-type': type, 'x-twilio-signature': 'AAAA' }
      const answer = await fetch(rig.system.url + at, {
        method: 'POST',
        headers,
        body: Buffer.from(body),
      })
      expect(answer.status).toBe(401)
    }),
    { numRuns: 40 },
  )
  const fields = { MessageSid: 'x'.repeat(700_000), MessageStatus: 'sent' }
  expect((await twilio(path, fields)).status).toBe(200)
  expect((await twilio(path, { Body: 'x'.repeat(1_100_000) })).status).toBe(413)
  expect(rig.lines.filter((line) => line.includes('unforeseen'))).toEqual([])
})
