import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Channel } from '../../core/channel'
import type { Variables } from '../../providers/adapter'
import { ForgedCallback, type InboundCallback } from '../../providers/provider'
import { adapterRig, flipped, inTime, testMessage } from '../harness/adapter-rig'

const config = {
  name: 'arkesel',
  adapter: 'arkesel',
  channels: ['sms', 'voice', 'ussd'] as Channel[],
  test: false,
}
const secret = 'kQ3_8bG-ZxT1mVw7YpR4sN'
const otherSecret = 'uD9-aLf2_EjH5oCq0WiX6t'
const variables: Variables = {
  ARKESEL_API_KEY: 'key-of-the-test',
  ARKESEL_SENDER: 'Acme',
  ARKESEL_USSD_CODE: '*928*77#',
  ARKESEL_CALLBACK_SECRET: secret,
  ARKESEL_ALLOWED_IPS: '192.0.2.0/24,2001:db8::1',
}

let rig: Awaited<ReturnType<typeof adapterRig>>
beforeAll(async () => {
  rig = await adapterRig(config, variables)
})
afterAll(() => rig.close())

describe('a USSD session', () => {
  const opening = {
    sessionID: 's1',
    userID: 'ACME_USSD',
    newSession: true,
    msisdn: '233241234567',
    userData: '*928*77#',
    network: 'MTN',
  }
  const callbackOf = (payload: unknown, given: Partial<InboundCallback> = {}): InboundCallback => ({
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
    url: `https://otp.example.com/ussd/arkesel/${secret}`,
    pathSecret: secret,
    clientIp: '192.0.2.7',
    ...given,
  })
  const menu = (more: Variables = {}) => {
    const { ussd } = rig.accountWith(more)
    if (!ussd) throw new Error('no menu')
    return ussd
  }

  test('is read, and its screen repeats what the service needs', () => {
    const dial = menu().readDial(callbackOf(opening))
    expect(dial).toMatchObject({
      sessionId: 's1',
      phoneNumber: '+233241234567',
      serviceCode: '*928*77#',
      inputs: [],
    })
    if (!dial) throw new Error('no dial')
    const same = { sessionID: 's1', userID: 'ACME_USSD', msisdn: '233241234567' }
    const shown = menu().showScreen(dial, { text: 'Your code is 482913.', code: '482913' })
    expect(shown.contentType).toBe('application/json')
    expect(JSON.parse(shown.body)).toEqual({
      ...same,
      message: 'Your code is 482913.',
      continueSession: false,
    })
    const asked = menu().showScreen(dial, { text: 'Which?', asks: true })
    expect(JSON.parse(asked.body)).toEqual({ ...same, message: 'Which?', continueSession: true })
  })

  test('goes on with what was typed last', () => {
    const typed = { ...opening, newSession: false, userData: '2' }
    expect(menu().readDial(callbackOf(typed))?.inputs).toEqual(['2'])
    expect(menu().readDial(callbackOf({ ...typed, userData: 2 }))?.inputs).toEqual(['2'])
    expect(menu().readDial(callbackOf({ ...typed, userData: undefined }))?.inputs).toEqual([])
  })

  test.each([
    ['0241234567', '+233241234567'],
    ['+233241234567', '+233241234567'],
    [233241234567, '+233241234567'],
  ])('of a number written %s', (msisdn, phoneNumber) => {
    expect(menu().readDial(callbackOf({ ...opening, msisdn }))?.phoneNumber).toBe(phoneNumber)
  })

  test.each([['not json'], ['{}'], ['null'], ['{"sessionID":"s1","msisdn":"nobody"}']])(
    'that is none shows nothing: %s',
    (body) => expect(menu().readDial(callbackOf(body))).toBeUndefined(),
  )

  test.each<[string, Partial<InboundCallback>]>([
    ['no secret', { pathSecret: undefined }],
    ['an empty one', { pathSecret: '' }],
    ['one that is wrong by one bit', { pathSecret: flipped(secret) }],
    ['one that goes on', { pathSecret: `${secret}x` }],
    ['another address', { clientIp: '192.0.3.7' }],
    ['an IPv6 address that is not listed', { clientIp: '2001:db8::2' }],
    ['no address', { clientIp: undefined }],
    ['nonsense for an address', { clientIp: 'unknown' }],
  ])('forged: %s', (_title, given) => {
    expect(() => menu().readDial(callbackOf(opening, given))).toThrow(ForgedCallback)
  })

  test.each([['192.0.2.255'], ['::ffff:192.0.2.7'], ['2001:db8::1']])('may come from %s', (ip) =>
    expect(menu().readDial(callbackOf(opening, { clientIp: ip }))).toBeDefined(),
  )

  test('is good with both secrets while one replaces the other', () => {
    const both = { ARKESEL_CALLBACK_SECRET: `${otherSecret} ${secret}` }
    for (const pathSecret of [secret, otherSecret])
      expect(menu(both).readDial(callbackOf(opening, { pathSecret }))).toBeDefined()
    expect(() =>
      menu(both).readDial(callbackOf(opening, { pathSecret: `${otherSecret} ${secret}` })),
    ).toThrow(ForgedCallback)
  })

  test('is waited for without a call: the user is told what to dial', async () => {
    rig.answer({})
    const { sender } = rig.accountWith()
    expect(await sender.send({ ...testMessage, channel: 'ussd' }, inTime())).toEqual({
      providerMessageId: 'att_1',
      instruction: '*928*77#',
    })
    expect(rig.calls).toEqual([])
  })
})
