import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { AccountConfig } from '../../providers'
import type { ConnectedCall, InboundCallback, Speech } from '../../providers/provider'
import { adapterRig, inTime, outcomeOf, type Said, testMessage } from '../harness/adapter-rig'

const config: AccountConfig = {
  name: 'africas-talking',
  adapter: 'africas-talking',
  channels: ['sms', 'voice', 'ussd'],
  test: false,
}
const secret = 'kQ3_8bG-ZxT1mVw7YpR4sN'

let rig: Awaited<ReturnType<typeof adapterRig>>
beforeAll(async () => {
  rig = await adapterRig(config, {
    AFRICAS_TALKING_USERNAME: 'acme',
    AFRICAS_TALKING_API_KEY: 'key-of-the-test',
    AFRICAS_TALKING_VOICE_NUMBER: '+254711082000',
    AFRICAS_TALKING_USSD_CODE: '*384*77#',
    AFRICAS_TALKING_CALLBACK_SECRET: secret,
    AFRICAS_TALKING_ALLOWED_IPS: '192.0.2.0/24',
  })
})
afterAll(() => rig.close())

const callbackOf = (fields: Record<string, string> | string): InboundCallback => ({
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: Buffer.from(typeof fields === 'string' ? fields : new URLSearchParams(fields).toString()),
  url: `https://otp.example.com/webhooks/africas-talking/secret/${secret}/answer`,
  pathSecret: secret,
  clientIp: '192.0.2.7',
})

describe('a call', () => {
  const callWith = (said: Said) => {
    rig.answer(said)
    const message = { ...testMessage, channel: 'voice' as const, to: '+254711123456' }
    return outcomeOf(rig.accountWith().sender.send(message, inTime()))
  }
  const entry = { phoneNumber: '+254711123456', status: 'Queued', sessionId: 'ATVId_1' }

  test('is placed with our reference', async () => {
    expect(await callWith({ body: { entries: [entry], errorMessage: 'None' } })).toEqual({
      sent: { providerMessageId: 'ATVId_1' },
    })
    expect(rig.calls).toMatchObject([
      { method: 'POST', url: '/call', headers: { apikey: 'key-of-the-test' } },
    ])
    expect(Object.fromEntries(new URLSearchParams(rig.calls[0]?.body))).toEqual({
      username: 'acme',
      from: '+254711082000',
      to: '+254711123456',
      clientRequestId: 'att_1',
    })
  })

  test.each<[string, Said, object]>([
    [
      'InvalidPhoneNumber',
      { body: { entries: [{ ...entry, status: 'InvalidPhoneNumber' }] } },
      { fault: 'invalid_number' },
    ],
    [
      'DestinationNotSupported',
      { body: { entries: [{ status: 'DestinationNotSupported' }] } },
      { fault: 'unroutable' },
    ],
    [
      'InsufficientCredit',
      { body: { entries: [{ status: 'InsufficientCredit' }] } },
      { fault: 'config' },
    ],
    ['an unknown word', { body: { entries: [{ status: 'Eaten' }] } }, { fault: 'unroutable' }],
    [
      'no entry',
      { body: { entries: [], errorMessage: 'Invalid callerId' } },
      { fault: 'unroutable' },
    ],
    ['garbage', { body: '<html>' }, { sent: { providerMessageId: 'att_1' } }],
    [
      'a session called None',
      { body: { entries: [{ ...entry, sessionId: 'None' }] } },
      { sent: { providerMessageId: 'att_1' } },
    ],
    ['401', { status: 401 }, { fault: 'config' }],
    ['500', { status: 500 }, { fault: 'unavailable' }],
  ])('answered with %s', async (_title, said, outcome) => {
    expect(await callWith(said)).toMatchObject(outcome)
  })

  const base = { sessionId: 'ATVId_1', direction: 'Outbound', clientRequestId: 'att_1' }
  const read = (fields: Record<string, string> | string): ConnectedCall => {
    const call = rig.accountWith().calls?.readCall(callbackOf(fields))
    if (!call) throw new Error('no calls')
    return call
  }
  const say = (fields: Record<string, string>, speech: Speech | undefined) => {
    const screen = rig.accountWith().calls?.answerCall(read(fields), speech, callbackOf(fields))
    expect(screen?.contentType).toBe('application/xml')
    return screen?.body.replace('<?xml version="1.0" encoding="UTF-8"?>', '')
  }
  const speech = { text: 'Your code is 4 8 2 9 1 3.', locale: 'en', keyPrompt: 'Press any key.' }

  test('that is picked up is asked for a key before the code is read', () => {
    const active = { ...base, isActive: '1', callSessionState: 'Active' }
    expect(read(active)).toEqual({
      providerMessageId: 'ATVId_1',
      attemptId: 'att_1',
      keyPressed: false,
      waits: true,
      receipts: [
        {
          status: 'sent',
          rawStatus: 'picked up',
          eventKey: 'ATVId_1:active',
          providerMessageId: 'ATVId_1',
        },
      ],
    })
    expect(say(active, speech)).toBe(
      '<Response><GetDigits numDigits="1" timeout="10"><Say>Press any key.</Say></GetDigits></Response>',
    )
    const pressed = { ...active, dtmfDigits: '5' }
    expect(read(pressed)).toMatchObject({
      keyPressed: true,
      waits: true,
      receipts: [{ status: 'answered', eventKey: 'ATVId_1:key' }],
    })
    expect(say(pressed, speech)).toBe(
      '<Response><Say>Your code is 4 8 2 9 1 3.</Say><Say>Your code is 4 8 2 9 1 3.</Say></Response>',
    )
    expect(say(active, { text: 'Code 1 2.', locale: 'en' })).toBe(
      '<Response><Say>Code 1 2.</Say><Say>Code 1 2.</Say></Response>',
    )
  })

  test('without anything to say, or at its end, is told nothing', () => {
    expect(say({ ...base, isActive: '1' }, undefined)).toBe('<Response></Response>')
    expect(say({ ...base, isActive: '0' }, speech)).toBe('<Response></Response>')
  })

  test('says what would break XML as words', () => {
    const text = 'A & B <say> "it\'s"\u0007 1'
    expect(say({ ...base, isActive: '1', dtmfDigits: '1' }, { text, locale: 'en' })).toContain(
      '<Say>A &amp; B &lt;say&gt; &quot;it&apos;s&quot;  1</Say>',
    )
  })

  test.each([
    // Who pressed a key has been reported as answered by then; a voicemail has not.
    ['NORMAL_CLEARING', 'sent'],
    ['USER_BUSY', 'failed.retryable'],
    ['NO_ANSWER', 'failed.retryable'],
    ['NO_USER_RESPONSE', 'failed.retryable'],
    ['SUBSCRIBER_ABSENT', 'failed.retryable'],
    ['NORMAL_TEMPORARY_FAILURE', 'failed.retryable'],
    ['RECOVERY_ON_TIMER_EXPIRE', 'failed.retryable'],
    ['SERVICE_UNAVAILABLE', 'failed.retryable'],
    ['CALL_REJECTED', 'failed.permanent'],
    ['UNALLOCATED_NUMBER', 'failed.permanent'],
    ['UNSPECIFIED', 'unknown'],
    ['HIT_BY_METEOR', 'unknown'],
  ])('that ended by %s is %s', (hangupCause, status) => {
    const ended = { ...base, isActive: '0', hangupCause, amount: '1.4000', currencyCode: 'KES' }
    expect(read(ended)).toMatchObject({
      waits: false,
      keyPressed: false,
      receipts: [
        {
          status,
          rawStatus: hangupCause,
          eventKey: 'ATVId_1:ended',
          cost: { amount: '1.4000', currency: 'KES' },
        },
      ],
    })
  })

  test('whose end says no cause and no cost is unknown', () => {
    expect(read({ ...base, isActive: '0' }).receipts).toMatchObject([
      { status: 'unknown', cost: undefined },
    ])
  })

  test.each<[Record<string, string> | string]>([
    ['nonsense'],
    [{ ...base }],
    [{ ...base, isActive: '2' }],
    [{ isActive: '1' }],
    [{ ...base, isActive: '1', sessionId: 'a b' }],
  ])('%j is none', (fields) => {
    expect(read(fields)).toEqual({ keyPressed: false, receipts: [], waits: false })
  })
})

describe('a USSD session', () => {
  const menu = () => {
    const { ussd } = rig.accountWith()
    if (!ussd) throw new Error('no menu')
    return ussd
  }
  const session = {
    sessionId: 'ATUid_1',
    serviceCode: '*384*77#',
    phoneNumber: '+254711123456',
    networkCode: '63902',
  }

  test.each([
    ['', []],
    ['2', ['2']],
    ['1*2*', ['1', '2', '']],
  ])('in which %j was typed', (text, inputs) => {
    expect(menu().readDial(callbackOf({ ...session, text }))).toEqual({
      sessionId: 'ATUid_1',
      phoneNumber: '+254711123456',
      serviceCode: '*384*77#',
      inputs,
    })
  })

  test.each(['+254711123456', '%2B254711123456', '254711123456'])(
    'of a number that is written %s',
    (written) => {
      const form = `sessionId=ATUid_1&serviceCode=*384*77%23&phoneNumber=${written}&text=`
      expect(menu().readDial(callbackOf(form))).toMatchObject({ phoneNumber: '+254711123456' })
    },
  )

  test('is shown plain text, and told whether it goes on', () => {
    const dial = { sessionId: 's', phoneNumber: '+254711123456', inputs: [] }
    expect(menu().showScreen(dial, { text: 'Your code is 1.', code: '1' })).toEqual({
      contentType: 'text/plain',
      body: 'END Your code is 1.',
    })
    expect(menu().showScreen(dial, { text: 'Which?', asks: true }).body).toBe('CON Which?')
  })

  test.each<[Record<string, string> | string]>([
    [{ ...session, status: 'Success', durationInMillis: '4200', hopsCount: '1' }],
    [{ ...session, phoneNumber: 'nobody', text: '' }],
    [''],
  ])('%j waits for no screen', (fields) =>
    expect(menu().readDial(callbackOf(fields))).toBeUndefined(),
  )

  test('is waited for without a call: the user is told what to dial', async () => {
    rig.answer({})
    const { sender } = rig.accountWith()
    expect(await sender.send({ ...testMessage, channel: 'ussd' }, inTime())).toEqual({
      providerMessageId: 'att_1',
      instruction: '*384*77#',
    })
    expect(rig.calls).toEqual([])
  })
})
