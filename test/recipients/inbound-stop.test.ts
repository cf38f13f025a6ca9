import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks'
import type { Channel } from '../../core/channel'
import { clientOf, freshDigits, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

const consent = () => ({
  consent: { text_version: 'wording-3', given_at: new Date().toISOString() },
})

/** Numbers of today's plan, and how networks report them. */
const spelled: [country: string, spell: (rest: string) => [number: string, reported: string]][] = [
  ['Brazil', (rest) => [`+55319${rest}`, `55 31 ${rest}`]],
  ['Mexico', (rest) => [`+5255${rest}`, `52155${rest}`]],
  ['Argentina', (rest) => [`+54911${rest.replace(/^9/, '5')}`, `+5411${rest.replace(/^9/, '5')}`]],
]

interface Played {
  name: string
  channel: Channel
  /** Where its messages of people come to; without what proves them they are forged. */
  inbound: string
  variables?: Record<string, string>
}
const providers: Played[] = [
  { name: 'twilio', channel: 'sms', inbound: 'twilio/inbound' },
  { name: 'vonage', channel: 'sms', inbound: 'vonage/inbound' },
  { name: 'meta', channel: 'whatsapp', inbound: 'meta' },
  {
    ...{ name: 'infobip', channel: 'sms', inbound: 'infobip/inbound' },
    variables: { INFOBIP_CALLBACK_USER: 'otp', INFOBIP_CALLBACK_PASSWORD: 'a-password' },
  },
  { name: 'africas-talking', channel: 'sms', inbound: 'africas-talking/inbound' },
]

describe.each(providers)('STOP by $name', ({ name, channel, inbound, variables }) => {
  let system: System
  let live: TestClient
  beforeAll(async () => {
    system = await startSystem({
      fakes: [name],
      channels: [channel],
      steps: { [channel]: { providers: [name] } },
      ...(variables && { variables }),
    })
    live = clientOf(system, system.liveKey)
  })
  afterAll(() => system.stop())

  const reply = async (phone: string, text: string, from?: string) => {
    const answer = await fetch(
      `${system.sandboxUrl}/phones/${encodeURIComponent(phone)}/messages`,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ text, from }),
      },
    )
    return answer.status
  }
  /** A request whose message is on the phone, so that a reply goes to this account. */
  const written = async (phone: string) => {
    const id = await live.sent(phone, { channels: [channel] })
    await until(async () => (await live.inbox(phone)).length > 0)
    return id
  }
  const sendTo = async (phone: string, more: object = {}) => {
    const { status, body } = await live.send(phone, { channels: [channel], ...more })
    return status === 200 ? 'sent' : `${status} ${body.error_code}`
  }

  test('ends the live request and bars the next send until consent is given anew', async () => {
    const phone = freshPhone()
    const id = await written(phone)
    expect(await reply(phone, 'Thank you')).toBe(204)
    expect((await live.status(id)).state).toBe('pending')
    // As a keyboard with wide letters writes it.
    expect(await reply(phone, 'ＳＴＯＰ')).toBe(204)
    expect(await live.status(id)).toMatchObject({ state: 'cancelled', reason: 'requested' })
    expect(await sendTo(phone)).toBe('403 BLOCKED')
    expect(await reply(phone, 'START')).toBe(204)
    expect(await sendTo(phone)).toBe('403 BLOCKED')
    expect(await sendTo(phone, consent())).toBe('sent')
    expect(await reply(phone, 'stop')).toBe(204)
    expect(await sendTo(phone)).toBe('403 BLOCKED')
  })

  test.each(spelled)(
    'finds who wrote from %s as the network spells it',
    async (_country, spell) => {
      const [phone, reported] = spell(`9${freshDigits(7)}`)
      const id = await written(phone)
      expect(await reply(phone, 'STOP', reported)).toBe(204)
      expect((await live.status(id)).state).toBe('cancelled')
      expect(await sendTo(phone)).toBe('403 BLOCKED')
      expect(await sendTo(phone, consent())).toBe('sent')
    },
  )

  test('of one spelling holds for all of them', async () => {
    const rest = freshDigits(6)
    const [old, today] = [`+24106${rest}`, `+24166${rest}`]
    const id = await written(old)
    expect(await reply(old, 'STOP')).toBe(204)
    expect((await live.status(id)).state).toBe('cancelled')
    expect(await sendTo(today)).toBe('403 BLOCKED')
    expect(await sendTo(today, consent())).toBe('sent')
    expect(await sendTo(old)).toBe('sent')
  })

  test('from what is no number is taken, and changes nothing', async () => {
    const phone = freshPhone()
    const id = await written(phone)
    for (const from of ['Acme', '+99999999999', '0', 'US.13491208655302741918'])
      expect([from, await reply(phone, 'STOP', from)]).toEqual([from, 204])
    expect((await live.status(id)).state).toBe('pending')
  })

  test('that the provider did not make is refused', async () => {
    const answer = await fetch(`${system.url}/webhooks/${inbound}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify({ from: '233241234567', text: 'STOP' }),
    })
    expect(answer.status).toBe(401)
    const secret = await fetch(`${system.url}/webhooks/${name}/secret/${'x'.repeat(22)}/inbound`, {
      method: 'POST',
      headers: { connection: 'close' },
      body: 'from=233241234567&text=STOP&id=1',
    })
    expect(secret.status).toBe(401)
  })
})

describe('what is answered to a message of a person', () => {
  let system: System
  const token = 'the-auth-token-of-this-test'
  beforeAll(async () => {
    system = await startSystem({
      fakes: ['twilio'],
      variables: { TWILIO_AUTH_TOKEN: token },
      withWorker: false,
    })
  })
  afterAll(() => system.stop())

  test.each([
    '+233241234567',
    'whatsapp:+5215512345678',
    'whatsapp:+553196883193',
    '+99999',
    'Acme',
  ])('Twilio reads TwiML: STOP from %s', async (From) => {
    const url = `${system.url}/webhooks/twilio/inbound`
    const fields = { MessageSid: `SM${freshDigits(12)}`, From, To: '+14155550100', Body: 'STOP' }
    const answer = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'x-twilio-signature': getExpectedTwilioSignature(token, url, fields),
        connection: 'close',
      },
      body: new URLSearchParams(fields).toString(),
    })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      200,
      expect.stringMatching(/^text\/xml/),
    ])
    expect(await answer.text()).toMatch(/^<\?xml [^>]+\?><Response><\/Response>$/)
  })
})
