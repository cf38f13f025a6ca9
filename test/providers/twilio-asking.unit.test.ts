import { describe, expect, test } from '@jest/globals'
import { accountsLeftOut, settingsFaults } from '../../providers'
import type { ProviderAccount } from '../../providers/provider'
import {
  account,
  accountSid,
  basic,
  config,
  faultOf,
  fields,
  from,
  keySid,
  messageSid,
  only,
  service,
  serviceSid,
  soon,
  to,
  variables,
} from '../harness/twilio-service'

describe('what became of a message in doubt', () => {
  const claimedAt = new Date('2026-11-23T05:00:10.700Z')
  const doubt = { attemptId: 'att_1', channel: 'sms', to, claimedAt } as const
  const at = (time: string) => `Mon, 23 Nov 2026 ${time} +0000`
  const item = (time: string, more: object = {}) => ({
    sid: `SM${time.replace(/\D/g, '').padEnd(32, '0')}`,
    direction: 'outbound-api',
    date_created: at(time),
    price: null,
    price_unit: 'USD',
    ...more,
  })
  const ask = (
    given: Partial<Parameters<NonNullable<ProviderAccount['reconciler']>['reconcile']>[0]> = {},
    more: Record<string, string | undefined> = {},
  ) => account(more).reconciler?.reconcile({ ...doubt, ...given }, soon())

  test('it is asked by number, sender and day', async () => {
    service.answer = { status: 200, body: { messages: [] } }
    expect(await ask()).toBeUndefined()
    expect(only()).toMatchObject({
      method: 'GET',
      path: `/2010-04-01/Accounts/${accountSid}/Messages.json`,
      authorization: basic(accountSid, 'the-auth-token'),
    })
    expect(Object.fromEntries(only().query)).toEqual({
      To: to,
      From: from,
      'DateSent>': '2026-11-23',
      PageSize: '50',
    })
  })

  test.each<[string, object[], string | undefined]>([
    ['in the same second', [item('05:00:10')], item('05:00:10').sid],
    ['a little later', [item('05:00:14', { status: 'failed' })], item('05:00:14').sid],
    ['before the claim', [item('05:00:09')], undefined],
    ['much later', [item('05:01:30')], undefined],
    ['one of before, one of ours', [item('05:00:11'), item('04:59:59')], item('05:00:11').sid],
    ['two that could be ours', [item('05:00:11'), item('05:00:13')], undefined],
    ['a person’s own', [item('05:00:11', { direction: 'inbound' })], undefined],
    ['without a time', [{ sid: 'SM1' }], undefined],
    ['with a time that is none', [item('05:00:11', { date_created: 'yesterday' })], undefined],
  ])('a message %s', async (_title, messages, sid) => {
    service.answer = { status: 200, body: { messages } }
    expect((await ask())?.providerMessageId).toBe(sid)
  })

  test('through a messaging service, whose sender is not known', async () => {
    const others = item('05:00:11', { messaging_service_sid: `MG${'9'.repeat(32)}` })
    const ours = item('05:00:12', { messaging_service_sid: serviceSid })
    service.answer = { status: 200, body: { messages: [others, ours] } }
    const byService = { TWILIO_MESSAGING_SERVICE_SID: serviceSid, TWILIO_FROM: undefined }
    expect((await ask({}, byService))?.providerMessageId).toBe(ours.sid)
    expect(only().query.has('From')).toBe(false)
  })

  test('on WhatsApp, and a call', async () => {
    service.answer = { status: 200, body: { messages: [item('05:00:11')] } }
    expect((await ask({ channel: 'whatsapp' }))?.providerMessageId).toBe(item('05:00:11').sid)
    expect(only().query.get('To')).toBe(`whatsapp:${to}`)
    expect(only().query.get('From')).toBe(`whatsapp:${from}`)
    service.seen = []
    service.answer = { status: 200, body: { calls: [item('05:00:11', { sid: 'CA1' })] } }
    expect((await ask({ channel: 'voice' }))?.providerMessageId).toBe('CA1')
    expect(only().path).toBe(`/2010-04-01/Accounts/${accountSid}/Calls.json`)
    expect(Object.fromEntries(only().query)).toEqual({ To: to, From: from, PageSize: '50' })
  })

  test('a long list, as of a number that is called often, is read to its end', async () => {
    const older = Array.from({ length: 49 }, () =>
      item('04:00:00', { subresource_uris: { media: 'x'.repeat(2_000) } }),
    )
    service.answer = { status: 200, body: { calls: [item('05:00:11'), ...older] } }
    expect((await ask({ channel: 'voice' }))?.providerMessageId).toBe(item('05:00:11').sid)
  })

  test.each([
    ['garbage', '<html>'],
    ['null', 'null'],
    ['no list', { messages: {} }],
  ])('an answer that is %s knows of none', async (_title, body) => {
    service.answer = { status: 200, body }
    expect(await ask()).toBeUndefined()
  })

  test('a service that cannot be asked', async () => {
    service.answer = { status: 500, body: '' }
    expect(await faultOf(Promise.resolve(ask()))).toMatchObject({ fault: 'unavailable' })
  })
})

describe('pings, look-ups and outcomes', () => {
  test('an account is asked about with its own token', async () => {
    service.answer = { status: 200, body: { status: 'active' } }
    const key = { TWILIO_API_KEY_SID: keySid, TWILIO_API_KEY_SECRET: 'the-key-secret' }
    await account(key).pinger?.ping(soon())
    expect(only()).toMatchObject({
      method: 'GET',
      path: `/2010-04-01/Accounts/${accountSid}.json`,
      authorization: basic(accountSid, 'the-auth-token'),
    })
  })

  test.each([
    [200, { status: 'suspended' }, 'config'],
    [200, { status: 'closed' }, 'config'],
    [401, { code: 20003 }, 'config'],
    [503, '', 'unavailable'],
    [200, '', undefined],
  ])('a ping answered with %i and %j', async (status, body, fault) => {
    service.answer = { status, body }
    const ping = account().pinger?.ping(soon()) ?? Promise.reject(new Error('no pinger'))
    expect((await faultOf(ping))?.fault).toBe(fault)
  })

  test.each([
    ['mobile', 'mobile'],
    ['landline', 'fixed_line'],
    ['fixedVoip', 'voip'],
    ['nonFixedVoip', 'voip'],
    ['tollFree', 'toll_free'],
    ['premium', 'premium_rate'],
    ['sharedCost', 'shared_cost'],
    ['uan', 'uan'],
    ['voicemail', 'voicemail'],
    ['pager', 'pager'],
    ['personal', 'personal_number'],
    ['somethingNew', 'unknown'],
  ])('a line of type %s is %s', async (type, lineType) => {
    const line = { type, carrier_name: 'MTN', mobile_country_code: '620' }
    service.answer = { status: 200, body: { valid: true, line_type_intelligence: line } }
    expect(await account().lookup?.lookUp(to, soon())).toEqual({
      ...{ valid: true, lineType, carrier: 'MTN' },
    })
    expect(only().path).toBe('/v2/PhoneNumbers/%2B233241234567')
    expect(only().query.get('Fields')).toBe('line_type_intelligence')
  })

  test('with another address of the API alone, look-ups go there too', async () => {
    service.answer = { status: 200, body: { valid: true } }
    await account({ TWILIO_LOOKUP_BASE_URL: undefined }).lookup?.lookUp(to, soon())
    expect(only().path).toBe('/v2/PhoneNumbers/%2B233241234567')
  })

  test('a number that is none, and an answer that is none', async () => {
    service.answer = { status: 200, body: { valid: false, line_type_intelligence: null } }
    expect(await account().lookup?.lookUp(to, soon())).toMatchObject({
      ...{ valid: false, lineType: 'unknown' },
    })
    service.answer = { status: 200, body: '<html>' }
    const asked = account().lookup?.lookUp(to, soon()) ?? Promise.resolve()
    expect((await faultOf(asked))?.fault).toBe('unavailable')
  })

  const report = (outcome: 'verified' | 'not_verified', providerMessageId?: string) =>
    account().outcomes?.reportOutcome(
      { requestId: 'otp_abc', outcome, ...(providerMessageId && { providerMessageId }) },
      soon(),
    )
  test.each([
    ['verified', 'confirmed'],
    ['not_verified', 'unconfirmed'],
  ] as const)('%s is reported as %s', async (outcome, Outcome) => {
    service.answer = { status: 201, body: {} }
    await report(outcome, messageSid)
    expect(only()).toMatchObject({
      method: 'POST',
      path: `/2010-04-01/Accounts/${accountSid}/Messages/${messageSid}/Feedback.json`,
    })
    expect(fields()).toEqual({ Outcome })
  })
  test.each([undefined, `CA${'a'.repeat(32)}`, 'att_1', '../../x'])(
    'of %s nothing is reported',
    async (id) => {
      await report('verified', id)
      expect(service.seen).toEqual([])
    },
  )
})

describe('settings', () => {
  const channels = (more: Record<string, string | undefined>) => account(more).channels
  const nothing = {
    TWILIO_FROM: undefined,
    TWILIO_VOICE_FROM: undefined,
    TWILIO_WHATSAPP_FROM: undefined,
    TWILIO_WHATSAPP_CONTENT_SID: undefined,
  }
  test('an account serves what its settings suffice for', () => {
    expect(channels({})).toEqual(['sms', 'voice', 'whatsapp'])
    expect(channels({ ...nothing, TWILIO_FROM: 'Acme' })).toEqual(['sms'])
    expect(channels({ ...nothing, TWILIO_MESSAGING_SERVICE_SID: serviceSid })).toEqual(['sms'])
    expect(channels({ ...nothing, TWILIO_VOICE_FROM: from })).toEqual(['voice'])
  })

  const reasons = (more: Record<string, string | undefined>) =>
    accountsLeftOut([config()], variables(more)).map(({ reason }) => reason)
  test.each([
    [{ TWILIO_AUTH_TOKEN: undefined }, 'TWILIO_AUTH_TOKEN is not set'],
    [nothing, 'TWILIO_FROM is not set'],
    [{ TWILIO_WHATSAPP_CONTENT_SID: undefined }, 'TWILIO_WHATSAPP_CONTENT_SID is not set'],
    [{ TWILIO_API_KEY_SID: keySid }, 'TWILIO_API_KEY_SECRET is not set'],
    [{ TWILIO_API_KEY_SECRET: 'the-key-secret' }, 'TWILIO_API_KEY_SID is not set'],
  ])('%j leaves it out', (more, reason) => {
    expect(reasons(more)).toEqual([`Provider account "twilio" is off: ${reason}.`])
  })

  test.each([
    ['TWILIO_ACCOUNT_SID', keySid],
    ['TWILIO_AUTH_TOKEN', 'one two three'],
    ['TWILIO_FROM', '+1 415'],
    ['TWILIO_MESSAGING_SERVICE_SID', accountSid],
    ['TWILIO_VOICE_FROM', 'Acme'],
    ['TWILIO_WHATSAPP_FROM', `whatsapp:${from}`],
    ['TWILIO_WHATSAPP_CONTENT_SID', 'en:MG1'],
    ['TWILIO_BASE_URL', 'ftp://x'],
  ])('a fault in %s is named, and its value is not', (name, value) => {
    const faults = settingsFaults([config()], variables({ [name]: value }), { isProduction: false })
    expect(faults).toHaveLength(1)
    expect(faults[0]).toMatch(new RegExp(`^${name}: must (be|begin with) `))
    expect(faults[0]).not.toContain(value)
  })

  test('plain http is refused in production', () => {
    expect(settingsFaults([config()], variables(), { isProduction: true })).toEqual([
      'TWILIO_BASE_URL: must be https in production',
      'TWILIO_LOOKUP_BASE_URL: must be https in production',
    ])
  })
})
