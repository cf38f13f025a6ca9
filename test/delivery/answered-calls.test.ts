import { describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks'
import { callbackToken } from '../../codes/random-id'
import {
  rig,
  authToken,
  claimed,
  untold,
  statusOf,
  refusalsOf,
  accountRefusals,
  batch,
  once,
  twilio,
  type Fields,
  type Posted,
} from '../harness/callback-rig'

describe('a call that was answered', () => {
  const pressed = (CallSid: string): Fields => ({ CallSid, CallStatus: 'in-progress', Digits: '1' })
  const codeSpoken = ({ text }: Posted) => /(?:\d, ){3,9}\d/.exec(text)?.[0]
  const hangsUp = '<?xml version="1.0" encoding="UTF-8"?><Response><Hangup/></Response>'

  test('hears its code after a key, which proves that a person is there', async () => {
    const { path, attemptId, messageId, requestId } = await claimed({ channel: 'voice' })
    const before = await twilio(`${path}/answer`, { ...pressed(messageId), Digits: '' })
    expect(before).toEqual({ status: 200, text: hangsUp })
    expect(await statusOf(attemptId)).toBe(untold)
    const answer = await twilio(`${path}/answer`, pressed(messageId))
    expect(answer.status).toBe(200)
    const code = codeSpoken(answer)?.replaceAll(', ', '')
    expect(await statusOf(attemptId)).toBe('answered')
    expect((await rig.live.verify({ request_id: requestId, code })).body.status).toBe('verified')
  })

  test('hears how long its code is still valid', async () => {
    const { path, messageId, requestId } = await claimed({ channel: 'voice' })
    const heard = async () => (await twilio(`${path}/answer`, pressed(messageId))).text
    expect(await heard()).toContain('valid for 5 minutes')
    const span = sql`interval '200 seconds'`
    await rig.system.db.many(sql`update otp_requests set created_at = created_at - ${span},
      expires_at = expires_at - ${span} where id = ${requestId}`)
    expect(await heard()).toContain('valid for 2 minutes')
  })

  test.each(['cancelled', 'verified', 'expired'])(
    'hears none once its request is %s',
    async (end) => {
      const { path, messageId, requestId } = await claimed({ channel: 'voice' })
      const said = codeSpoken(await twilio(`${path}/answer`, pressed(messageId)))
      const code = said?.replaceAll(', ', '')
      if (end === 'cancelled') await rig.live.call('POST', `/otp/${requestId}/cancel`)
      if (end === 'verified') await rig.live.verify({ request_id: requestId, code })
      if (end === 'expired')
        await rig.system.db
          .many(sql`update otp_requests set created_at = created_at - interval '1 hour',
        expires_at = expires_at - interval '1 hour' where id = ${requestId}`)
      expect(await twilio(`${path}/answer`, pressed(messageId))).toEqual({
        ...{ status: 200, text: hangsUp },
      })
    },
  )

  test('forged: no code, and audited', async () => {
    const { path, attemptId, messageId, requestId } = await claimed({ channel: 'voice' })
    const at = `${path}/answer`
    const fields = pressed(messageId)
    const genuine = getExpectedTwilioSignature(authToken, rig.system.url + at, fields)
    const ofReport = getExpectedTwilioSignature(authToken, rig.system.url + path, fields)
    for (const forged of ['', 'AAAA', genuine.toLowerCase(), ofReport]) {
      const answer = await twilio(at, fields, forged)
      expect(answer.status).toBe(401)
      expect(codeSpoken(answer)).toBeUndefined()
    }
    expect(await refusalsOf(requestId)).toHaveLength(1)
    expect(await statusOf(attemptId)).toBe(untold)
  })

  test('whoever sends on what was signed for another call hears neither code', async () => {
    const twilioAccount = rig.system.accounts.get('twilio')
    if (!twilioAccount) throw new Error('no account')
    // Signed by a word that is not over the address, as Vonage's tokens are over the body alone.
    rig.system.accounts.set('asking', {
      ...twilioAccount,
      name: 'asking',
      receipts: { readReceipts: () => [] },
      calls: {
        readCall: ({ body }) => ({
          ...{
            providerMessageId: body.toString('utf8'),
            keyPressed: true,
            receipts: [],
            waits: true,
          },
        }),
        answerCall: (_call, speech) => ({
          contentType: 'text/plain',
          body: speech?.text ?? 'none',
        }),
      },
    })
    const [here, there] = [
      await claimed({ provider: 'asking', channel: 'voice' }),
      await claimed({ provider: 'asking', channel: 'voice' }),
    ]
    const ask = async (path: string, body: string) =>
      (
        await fetch(`${rig.system.url}${path}/answer`, { method: 'POST', headers: once, body })
      ).text()
    expect(await ask(here.path, there.messageId)).toBe('none')
    expect(await ask(here.path, here.messageId)).toMatch(/(?:\d ){3,9}\d/)
    // Its provider has not answered yet: its id is not known, that of the other one is.
    const early = await claimed({ provider: 'asking', channel: 'voice', answered: false })
    expect(await ask(early.path, there.messageId)).toBe('none')
    expect(await ask(early.path, early.messageId)).toMatch(/(?:\d ){3,9}\d/)
  })

  test('a report on another call counts for no call whose id is not known yet', async () => {
    const there = await claimed({ provider: 'batching', channel: 'voice' })
    // Its provider has not answered yet; the signature is not over the address.
    const early = await claimed({ provider: 'batching', channel: 'voice', answered: false })
    await batch(early.path, [{ id: there.messageId, status: 'answered' }])
    expect(await statusOf(early.attemptId)).toBeNull()
    expect(await statusOf(there.attemptId)).toBe('answered')
    await batch(early.path, [{ id: early.messageId, status: 'sent' }])
    expect(await statusOf(early.attemptId)).toBe('sent')
  })

  test('the address of a text message has nothing to say', async () => {
    const { path, messageId } = await claimed()
    const answer = await twilio(`${path}/answer`, pressed(messageId))
    expect(answer).toEqual({ status: 200, text: hangsUp })
  })

  test('no such call, no such account, an account that makes none', async () => {
    for (const path of [
      `/webhooks/twilio/${callbackToken()}/answer`,
      `/webhooks/nobody/${callbackToken()}/answer`,
      `/webhooks/batching/${callbackToken()}/answer`,
      '/webhooks/batching/secret/x/answer',
    ])
      expect((await twilio(path, pressed('CA1'))).status).toBe(404)
  })

  test('no such call, and not signed: forged, and audited', async () => {
    await rig.system.db.many(
      sql`update provider_callbacks set refused_at = refused_at - interval '1 hour'`,
    )
    const before = await accountRefusals('twilio')
    const path = `/webhooks/twilio/${callbackToken()}/answer`
    expect((await twilio(path, pressed('CA1'), 'AAAA')).status).toBe(401)
    expect(await accountRefusals('twilio')).toBe(before + 1)
  })
})
