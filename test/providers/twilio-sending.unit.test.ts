import { describe, expect, test } from '@jest/globals'
import { accountsLeftOut } from '../../providers'
import {
  accountSid,
  basic,
  callbackUrl,
  created,
  english,
  faultOf,
  fields,
  french,
  from,
  keySid,
  messageSid,
  only,
  send,
  service,
  serviceSid,
  to,
} from '../harness/twilio-service'

describe('what is sent', () => {
  test('an SMS from a number', async () => {
    service.answer = created
    expect(await send()).toEqual({ providerMessageId: messageSid })
    expect(only()).toMatchObject({
      method: 'POST',
      path: `/2010-04-01/Accounts/${accountSid}/Messages.json`,
      authorization: basic(accountSid, 'the-auth-token'),
      contentType: 'application/x-www-form-urlencoded',
    })
    expect(fields()).toEqual({
      To: to,
      From: from,
      Body: 'Your Acme code is 482913 & more',
      StatusCallback: callbackUrl,
      ValidityPeriod: '287',
      ProvideFeedback: 'true',
    })
  })

  test('an SMS by a messaging service, with an API key', async () => {
    service.answer = {
      status: 201,
      body: { sid: messageSid, price: '-0.04500', price_unit: 'USD' },
    }
    const sent = await send(
      { validForSeconds: 0 },
      {
        TWILIO_MESSAGING_SERVICE_SID: serviceSid,
        TWILIO_API_KEY_SID: keySid,
        TWILIO_API_KEY_SECRET: 'the-key-secret',
      },
    )
    expect(sent.cost).toEqual({ amount: '0.04500', currency: 'USD' })
    expect(only().authorization).toBe(basic(keySid, 'the-key-secret'))
    expect(fields()).toMatchObject({ MessagingServiceSid: serviceSid, ValidityPeriod: '1' })
    expect(only().form.has('From')).toBe(false)
  })

  test('while two tokens live, the first one is used', async () => {
    service.answer = created
    await send({}, { TWILIO_AUTH_TOKEN: 'the-new-token the-auth-token' })
    expect(only().authorization).toBe(basic(accountSid, 'the-new-token'))
  })

  test.each([
    ['en', english],
    ['fr', french],
    ['fr-SN', french],
    ['sw', english],
  ])('a WhatsApp template for %s', async (locale, ContentSid) => {
    service.answer = created
    const all = { TWILIO_WHATSAPP_CONTENT_SID: `en:${english},fr:${french}` }
    await send({ channel: 'whatsapp', locale }, all)
    expect(only().path).toBe(`/2010-04-01/Accounts/${accountSid}/Messages.json`)
    expect(fields()).toEqual({
      To: `whatsapp:${to}`,
      From: `whatsapp:${from}`,
      ContentSid,
      ContentVariables: '{"1":"482913"}',
      StatusCallback: callbackUrl,
    })
  })

  test('a call says only its prompt, and asks for the rest after a key', async () => {
    service.answer = { status: 201, body: { sid: `CA${'a'.repeat(32)}`, status: 'queued' } }
    await send({
      channel: 'voice',
      text: 'Your Acme code is 4 8 2 9 1 3.',
      keyPrompt: 'Hello from "Acme" <b> & Söhne\u0000: press a key.',
    })
    expect(only().path).toBe(`/2010-04-01/Accounts/${accountSid}/Calls.json`)
    expect(only().form.getAll('StatusCallbackEvent')).toEqual([
      'initiated',
      'ringing',
      'answered',
      'completed',
    ])
    const { Twiml, StatusCallbackEvent: _events, ...rest } = fields()
    expect(rest).toEqual({
      To: to,
      From: from,
      Timeout: '40',
      MachineDetection: 'Enable',
      AsyncAmd: 'true',
      AsyncAmdStatusCallback: `${callbackUrl}?answered-by=later`,
      StatusCallback: `${callbackUrl}?answered-by=later`,
      StatusCallbackMethod: 'POST',
    })
    const prompt =
      '<Say voice="Polly.Joanna" language="en-US">Hello from &quot;Acme&quot; &lt;b&gt; &amp; Söhne: press a key.</Say>'
    expect(Twiml).toBe(
      '<?xml version="1.0" encoding="UTF-8"?><Response>' +
        `<Gather numDigits="1" timeout="10" method="POST" action="${callbackUrl}/answer">` +
        `${prompt}<Pause length="2"/>${prompt}</Gather><Hangup/></Response>`,
    )
  })

  test.each([
    ['none of its own', undefined],
    ['one that is too long', 'Press any key. '.repeat(400)],
  ])('a call with a prompt, %s, holds no code', async (_title, keyPrompt) => {
    service.answer = created
    await send({ channel: 'voice', text: 'Code 4 8 2 9 1 3', keyPrompt })
    const { Twiml = '' } = fields()
    expect(Twiml.length).toBeLessThanOrEqual(4_000)
    expect(Twiml).toMatch(/<Say [^>]*>[^<]+<\/Say>/)
    expect(Twiml).not.toMatch(/4\D{0,2}8\D{0,2}2\D{0,2}9/)
  })

  test.each([
    ['fr-CI', 'Polly.Lea', 'fr-FR'],
    ['pt-BR', 'Polly.Camila', 'pt-BR'],
    ['ar', 'Polly.Zeina', 'arb'],
    ['sw', 'Polly.Joanna', 'en-US'],
  ])('the voice for %s', async (locale, voice, language) => {
    service.answer = created
    await send({ channel: 'voice', locale, keyPrompt: 'x' })
    expect(fields()['Twiml']).toContain(`<Say voice="${voice}" language="${language}">x</Say>`)
  })
})

describe('what becomes of an answer', () => {
  test.each([
    ['nothing', ''],
    ['garbage', '<html>'],
    ['null', 'null'],
    ['members of the wrong type', { sid: 7, status: {}, price: 1, error_code: 'x' }],
  ])('a 2xx with %s is an acceptance', async (_title, body) => {
    service.answer = { status: 201, body }
    expect(await send()).toMatchObject({ providerMessageId: 'att_1' })
  })

  test.each([
    ['failed', 21211, 'invalid_number'],
    ['undelivered', 30004, 'blocked'],
    ['failed', null, 'unroutable'],
    ['canceled', null, 'unroutable'],
  ])('a message created as %s with %s was not accepted', async (status, error_code, fault) => {
    service.answer = { status: 201, body: { sid: messageSid, status, error_code } }
    expect(await faultOf(send())).toMatchObject({ fault })
  })

  /** Written from the table in the providers' reference, not from the code. */
  const faults: [code: number, fault: string][] = [
    ...[21211, 21214, 21217, 21614, 21635, 30005, 30006, 63003, 63024].map(
      (code): [number, string] => [code, 'invalid_number'],
    ),
    ...[21610, 30004, 63014].map((code): [number, string] => [code, 'blocked']),
    ...[21612, 30007, 30036].map((code): [number, string] => [code, 'unroutable']),
    ...[20429, 21611, 30001, 63018].map((code): [number, string] => [code, 'throttled']),
    ...[30003, 30008, 34002].map((code): [number, string] => [code, 'unavailable']),
    ...[20003, 21212, 30002, 60728, 63016, 63017, 63038].map((code): [number, string] => [
      code,
      'config',
    ]),
    // Of the number's country, or of a trial account: not a reason to give the account up.
    ...[21408, 21606, 21608, 60601].map((code): [number, string] => [code, 'unroutable']),
    // Nobody knows these.
    [21999, 'unroutable'],
    [1, 'unroutable'],
  ]
  test.each(faults)('400 with %i is %s', async (code, fault) => {
    const text = `The 'To' number ${to} is odd.`
    service.answer = {
      status: 400,
      body: { code, message: text, more_info: 'https://x', status: 400 },
    }
    const error = await faultOf(send())
    expect(error).toMatchObject({ fault, message: `Twilio answered 400, error ${code}.` })
    expect(error?.cause).toBeUndefined()
  })

  test.each([
    [401, { code: 20003, status: 401 }, 'config'],
    [401, '', 'config'],
    [403, { code: 99999 }, 'unroutable'],
    [404, { code: 20404 }, 'config'],
    [400, '', 'config'],
    [400, { code: 'rm -rf' }, 'config'],
    [400, 'null', 'config'],
    [429, { code: 20429 }, 'throttled'],
    [429, { code: 99999 }, 'throttled'],
    [429, { code: 63038 }, 'config'],
    [500, { code: 20500 }, 'unavailable'],
    [500, { code: 21211 }, 'unavailable'],
    [503, '<html>', 'unavailable'],
    [502, '<html>', 'in_doubt'],
    [504, '', 'in_doubt'],
    [302, '', 'config'],
  ])('%i with %j is %s', async (status, body, fault) => {
    service.answer = { status, body }
    expect(await faultOf(send())).toMatchObject({ fault })
  })

  test('429 says when to come again', async () => {
    service.answer = { status: 429, body: { code: 20429 }, headers: { 'retry-after': '3' } }
    expect(await faultOf(send())).toMatchObject({ fault: 'throttled', retryAfterMs: 3_000 })
  })
})

test('an account whose settings serve none of its channels is told where they are listed', () => {
  const twilio = { name: 'twilio', adapter: 'twilio', channels: ['voice' as const], test: false }
  const ofSms = {
    ...{ TWILIO_ACCOUNT_SID: `AC${'5a'.repeat(16)}`, TWILIO_AUTH_TOKEN: 'token-of-8' },
    TWILIO_FROM: 'Acme',
  }
  expect(accountsLeftOut([twilio], ofSms)).toEqual([
    {
      account: 'twilio',
      reason:
        'Provider account "twilio" is off: its settings suffice for none of voice (what each needs: docs/providers/twilio.md).',
      begun: true,
    },
  ])
})
