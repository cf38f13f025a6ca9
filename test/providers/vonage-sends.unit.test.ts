import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { jwtVerify } from 'jose'
import { createProviders, settingsFaults } from '../../providers'
import type { Variables } from '../../providers/adapter'
import { type Message, ProviderFault, type ProviderAccount } from '../../providers/provider'
import { codeMeanings } from '../../providers/vonage/codes'
import { startRecorder } from '../harness/recorder'
import { applicationKey, vonageConfig, vonageVariables } from '../harness/vonage-account'

const message: Message = {
  requestId: 'otp_abc',
  attemptId: 'att_1',
  channel: 'sms',
  to: '+233241234567',
  code: '482913',
  text: 'Your Acme code is 482913',
  locale: 'en',
  brand: 'Acme',
  callbackUrl: 'https://otp.example/webhooks/vonage/token',
  validForSeconds: 271.5,
  notAfter: Infinity,
}
const voiceMessage: Message = {
  ...message,
  channel: 'voice',
  text: 'Your A&B code is 4 8 2 9 1 3. It is valid for 5 minutes.',
  keyPrompt: 'This is Acme. Press any key to hear your code.',
}

let vendor: Awaited<ReturnType<typeof startRecorder>>
const answerWith = (answer: {
  status: number
  body?: unknown
  headers?: Record<string, string>
}): void => {
  const { body = '', ...rest } = answer
  vendor.answerWith(() => ({
    ...rest,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  }))
}
/** What the vendor was asked last. */
const lastCall = () => {
  const { method, url: path, headers, body: raw = '' } = vendor.calls.at(-1) ?? {}
  return { method, path, headers, raw, body: raw === '' ? undefined : (JSON.parse(raw) as unknown) }
}
let account: ProviderAccount
const accountWith = (more: Variables = {}) => {
  const base = { VONAGE_BASE_URL: vendor.url, VONAGE_REST_BASE_URL: `${vendor.url}/` }
  return createProviders([vonageConfig], { ...vonageVariables, ...base, ...more }).get('vonage')
}
beforeAll(async () => {
  vendor = await startRecorder()
  const made = accountWith()
  if (!made) throw new Error('no account')
  account = made
})
beforeEach(() => answerWith({ status: 202, body: { message_uuid: 'uuid-1' } }))
afterAll(() => vendor.close())

const send = (given: Message = message) => account.sender.send(given, AbortSignal.timeout(5_000))
const faultOf = (given?: Message) =>
  send(given).then(
    () => 'sent',
    (error: unknown) => {
      if (!(error instanceof ProviderFault)) throw error
      expect(error.message).not.toMatch(/233241234567|482913|provider text/)
      return error.fault
    },
  )

describe('what is sent', () => {
  test('an SMS, to the last field', async () => {
    expect(await send()).toMatchObject({ providerMessageId: 'uuid-1' })
    const { method, path, headers, body } = lastCall()
    expect({ method, path, body }).toEqual({
      method: 'POST',
      path: '/v1/messages',
      body: {
        channel: 'sms',
        message_type: 'text',
        from: 'Acme',
        to: '233241234567',
        client_ref: 'att_1',
        webhook_url: 'https://otp.example/webhooks/vonage/token',
        webhook_version: 'v1',
        text: 'Your Acme code is 482913',
        ttl: 271,
      },
    })
    expect(headers).toMatchObject({ 'content-type': 'application/json' })
    const [, token = ''] = String(headers?.authorization).split('Bearer ')
    const { payload } = await jwtVerify(token, applicationKey, { algorithms: ['RS256'] })
    expect(payload['application_id']).toBe('app-1')
  })

  test('a code that dies in a moment still has the shortest time to live', async () => {
    await send({ ...message, validForSeconds: 3 })
    expect(lastCall().body).toMatchObject({ ttl: 20 })
  })

  test.each([
    ['en', 'en_US'],
    ['fr-CI', 'fr'],
    ['pt', 'pt_BR'],
    ['pt-BR', 'pt_BR'],
    ['sw', 'en_US'],
  ])('WhatsApp in %s: the template in %s, with the code twice and nothing else', async (...row) => {
    const [locale, code] = row
    await send({ ...message, channel: 'whatsapp', locale })
    const parameters = [{ type: 'text', text: '482913' }]
    const { path, body } = lastCall()
    expect({ path, body }).toEqual({
      path: '/v1/messages',
      body: {
        channel: 'whatsapp',
        message_type: 'custom',
        from: '447700900002',
        to: '233241234567',
        client_ref: 'att_1',
        webhook_url: 'https://otp.example/webhooks/vonage/token',
        webhook_version: 'v1',
        custom: {
          type: 'template',
          template: {
            name: 'otp_code',
            language: { policy: 'deterministic', code },
            components: [
              { type: 'body', parameters },
              { type: 'button', sub_type: 'url', index: '0', parameters },
            ],
          },
        },
      },
    })
  })

  test('a call that asks for a key holds no code', async () => {
    answerWith({ status: 201, body: { uuid: 'call-1', status: 'started' } })
    expect(await send(voiceMessage)).toMatchObject({ providerMessageId: 'call-1' })
    const { path, raw, body } = lastCall()
    expect(raw).not.toMatch(/4.{0,40}8.{0,40}2.{0,40}9.{0,40}1.{0,40}3/)
    expect({ path, body }).toEqual({
      path: '/v1/calls',
      body: {
        to: [{ type: 'phone', number: '233241234567' }],
        from: { type: 'phone', number: '447700900001' },
        event_method: 'POST',
        event_url: ['https://otp.example/webhooks/vonage/token?answered=by-key'],
        machine_detection: 'continue',
        ncco: [
          {
            action: 'talk',
            text: '<speak>This is Acme. Press any key to hear your code.<break time="1s"/></speak>',
            language: 'en-US',
            loop: 1,
            bargeIn: true,
          },
          {
            action: 'input',
            type: ['dtmf'],
            dtmf: { maxDigits: 1, timeOut: 10 },
            eventUrl: ['https://otp.example/webhooks/vonage/token/answer'],
            eventMethod: 'POST',
          },
        ],
      },
    })
  })

  const slowly = '4<break time="600ms"/>8<break time="600ms"/>2<break time="600ms"/>9'
  test('a call without a key to press says the code slowly, twice, and never to a machine', async () => {
    await send({ ...voiceMessage, keyPrompt: undefined, locale: 'fr-CI' })
    expect(lastCall().body).toMatchObject({
      event_url: ['https://otp.example/webhooks/vonage/token'],
      machine_detection: 'hangup',
      ncco: [
        {
          action: 'talk',
          text: `<speak>Your A&amp;B code is ${slowly}<break time="600ms"/>1<break time="600ms"/>3. It is valid for 5 minutes.<break time="1s"/></speak>`,
          language: 'fr-FR',
          loop: 2,
        },
      ],
    })
  })

  test.each([
    ['letters', 'Code A, 7, B, 9, C, 2 for you', /Code A(<break [^>]+>[0-9A-Z]){5} for you/],
    ['Arabic commas', 'رمزك 4، 8، 2، 9', /4(<break [^>]+>\d){3}</],
    ['no code', 'Call 112 if 5 or 6 of you', /<speak>Call 112 if 5 or 6 of you</],
  ])('%s', async (_title, text, spoken) => {
    await send({ ...voiceMessage, keyPrompt: undefined, text })
    const { ncco } = lastCall().body as { ncco: { text: string }[] }
    expect(ncco[0]?.text).toMatch(spoken)
  })

  test('a text too long for SSML is said without', async () => {
    const text = `${'&'.repeat(490)} 4 8 2 9 1 3`
    await send({ ...voiceMessage, keyPrompt: undefined, text })
    expect(lastCall().body).toMatchObject({ ncco: [{ text }] })
  })
})

describe('what answers mean', () => {
  const refusal = (more: object) => ({
    type: 'https://developer.vonage.com/api-errors/messages',
    title: 'Invalid params',
    detail: 'provider text +233241234567',
    instance: 'bf0ca0bf927b3b52e3cb03217e1a1ddf',
    ...more,
  })
  const inTo = [{ name: 'to', reason: 'provider text' }]
  test.each<[number, unknown, string]>([
    [401, refusal({ title: 'Unauthorized' }), 'config'],
    [402, refusal({ title: 'Low balance' }), 'config'],
    [403, refusal({ title: 'Forbidden' }), 'config'],
    [404, '<h1>no</h1>', 'config'],
    [422, refusal({ invalid_parameters: inTo }), 'invalid_number'],
    [422, refusal({ type: '…/messages#1150', invalid_parameters: inTo }), 'invalid_number'],
    [400, refusal({ invalid_parameters: [{ name: 'to[0].number' }] }), 'invalid_number'],
    [422, refusal({ invalid_parameters: [{ name: 'token' }] }), 'config'],
    [422, refusal({ invalid_parameters: [{ name: 'from' }] }), 'config'],
    [422, refusal({ invalid_parameters: [{ name: 'text' }] }), 'unroutable'],
    [400, refusal({ invalid_parameters: [{ name: 'ncco[0].text' }] }), 'unroutable'],
    [422, refusal({ invalid_parameters: [{ name: 'text' }, { name: 'from' }] }), 'config'],
    [422, refusal({ invalid_parameters: 'to' }), 'config'],
    [422, refusal({ title: '1999' }), 'unroutable'],
    [422, refusal({ title: 1240 }), 'blocked'],
    [422, null, 'config'],
    [429, refusal({ title: 'Rate Limit Hit' }), 'throttled'],
    [500, refusal({ title: '1170' }), 'unavailable'],
    [503, '', 'unavailable'],
    [504, '', 'in_doubt'],
  ])('%i %j', async (status, body, fault) => {
    answerWith({ status, body })
    expect(await faultOf()).toBe(fault)
  })

  test.each([...codeMeanings])('code %s, in the title or the address', async (code, { fault }) => {
    if (/^\d/.test(code)) {
      answerWith({ status: 422, body: refusal({ title: code }) })
      expect(await faultOf()).toBe(fault)
    }
    answerWith({ status: 422, body: refusal({ type: `https://x/api-errors#${code}` }) })
    expect(await faultOf()).toBe(fault)
  })

  test('Retry-After', async () => {
    answerWith({ status: 429, headers: { 'retry-after': '7' } })
    await expect(send()).rejects.toMatchObject({ fault: 'throttled', retryAfterMs: 7_000 })
  })

  test.each([['{}'], ['<html>'], [''], ['{"message_uuid":7}'], ['[]']])(
    '202 with %s is an acceptance all the same',
    async (body) => {
      answerWith({ status: 202, body })
      expect(await send()).toMatchObject({ providerMessageId: 'att_1' })
      expect(await send(voiceMessage)).toMatchObject({ providerMessageId: 'att_1' })
    },
  )

  test('the ping asks for the balance; a refusal is a fault of the account', async () => {
    answerWith({ status: 200, body: { value: 10.28, autoReload: false } })
    await account.pinger?.ping(AbortSignal.timeout(5_000))
    const authorization = `Basic ${Buffer.from('abcd1234:a-secret').toString('base64')}`
    const asked = { method: 'GET', path: '/account/get-balance', headers: { authorization } }
    expect(lastCall()).toMatchObject(asked)
    answerWith({ status: 404 })
    await account.pinger?.ping(AbortSignal.timeout(5_000))
    const elsewhere = accountWith({ VONAGE_REST_BASE_URL: '' })
    await elsewhere?.pinger?.ping(AbortSignal.timeout(5_000))
    expect(vendor.calls).toHaveLength(2)
    answerWith({ status: 401 })
    await expect(account.pinger?.ping(AbortSignal.timeout(5_000))).rejects.toMatchObject({
      fault: 'config',
    })
  })
})

describe('its settings', () => {
  test('a channel is served once its sender is set', () => {
    const without = { VONAGE_SMS_FROM: '', VONAGE_WHATSAPP_TEMPLATE: '' }
    expect(accountWith()?.channels).toEqual(['sms', 'voice', 'whatsapp'])
    expect(accountWith(without)?.channels).toEqual(['voice'])
    expect(accountWith({ VONAGE_VOICE_FROM: '' })).not.toHaveProperty('calls')
    expect(accountWith({ VONAGE_API_SECRET: '' })).not.toHaveProperty('pinger')
    expect(accountWith({ ...without, VONAGE_VOICE_FROM: '' })).toBeUndefined()
  })

  test('a key on one line', () => {
    expect(
      accountWith({
        VONAGE_PRIVATE_KEY: vonageVariables.VONAGE_PRIVATE_KEY.replaceAll('\n', '\\n'),
      }),
    ).toBeDefined()
  })

  test('what cannot be used is said, and not shown', () => {
    const { privateKey: curve } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const wrong = {
      VONAGE_PRIVATE_KEY: curve.export({ type: 'pkcs8', format: 'pem' }).toString(),
      VONAGE_SIGNATURE_SECRET: 'one two three',
      VONAGE_VOICE_FROM: 'Acme',
    }
    const faults = settingsFaults(
      [vonageConfig],
      { ...vonageVariables, ...wrong },
      { isProduction: true },
    )
    expect(faults).toEqual([
      'VONAGE_PRIVATE_KEY: must be an RSA private key in PEM form',
      'VONAGE_SIGNATURE_SECRET: must be one secret, or two separated by a blank',
      'VONAGE_VOICE_FROM: must be a number with its country code',
    ])
  })
})
