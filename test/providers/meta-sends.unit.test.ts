import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { createProviders, settingsFaults } from '../../providers'
import type { Variables } from '../../providers/adapter'
import { codeMeanings } from '../../providers/meta/codes'
import { type Message, ProviderFault, type ProviderAccount } from '../../providers/provider'
import { codeRows, metaConfig, metaVariables, phoneId } from '../harness/meta-account'
import { startRecorder } from '../harness/recorder'

const message: Message = {
  requestId: 'otp_abc',
  attemptId: 'att_1',
  channel: 'whatsapp',
  to: '+233241234567',
  code: '482913',
  text: 'Your Acme code is 482913',
  locale: 'en',
  brand: 'Acme',
  callbackUrl: 'https://otp.example/webhooks/meta/token',
  validForSeconds: 300,
  notAfter: Infinity,
}

let vendor: Awaited<ReturnType<typeof startRecorder>>
let account: ProviderAccount
const accountWith = (more: Variables = {}) =>
  createProviders([metaConfig], { ...metaVariables, META_BASE_URL: vendor.url, ...more }).get(
    'meta',
  )
const answerWith = (status: number, body: unknown = '', headers: Record<string, string> = {}) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  vendor.answerWith(() => ({ status, headers, body: text }))
}
const errorOf = (code: unknown, more: object = {}) => ({
  error: { message: 'their text +233241234567', type: 'OAuthException', code, ...more },
})

beforeAll(async () => {
  vendor = await startRecorder()
  const made = accountWith()
  if (!made) throw new Error('no account')
  account = made
})
beforeEach(() => answerWith(200, { messages: [{ id: 'wamid.1', message_status: 'accepted' }] }))
afterAll(() => vendor.close())

const send = (given: Message = message) => account.sender.send(given, AbortSignal.timeout(5_000))
const refusal = () =>
  send().then(
    () => 'sent',
    (error: unknown) => {
      if (!(error instanceof ProviderFault)) throw error
      expect(error.message).not.toMatch(/233241234567|482913|their text/)
      const { fault, retryAfterMs, ofRecipient } = error
      return { fault, retryAfterMs, ...(ofRecipient && { ofRecipient }) }
    },
  )

describe('what is sent', () => {
  test.each([
    ['en', 'en_US'],
    ['en-GB', 'en_US'],
    ['pt-BR', 'pt_BR'],
    ['pt', 'pt_BR'],
    ['sw', 'fr'],
  ])('the template, for %s in %s, with the code twice and nothing else', async (locale, code) => {
    expect(await send({ ...message, locale })).toMatchObject({ providerMessageId: 'wamid.1' })
    const [call] = vendor.calls
    expect(call).toMatchObject({ method: 'POST', url: `/v23.0/${phoneId}/messages` })
    expect(call?.headers).toMatchObject({
      authorization: 'Bearer EAAG-token',
      'content-type': 'application/json',
    })
    const parameters = [{ type: 'text', text: '482913' }]
    expect(JSON.parse(call?.body ?? '')).toEqual({
      messaging_product: 'whatsapp',
      recipient_type: 'individual',
      to: '233241234567',
      type: 'template',
      template: {
        name: 'otp_code',
        language: { policy: 'deterministic', code },
        components: [
          { type: 'body', parameters },
          { type: 'button', sub_type: 'url', index: '0', parameters },
        ],
      },
      biz_opaque_callback_data: 'att_1',
    })
  })

  test.each([
    ['{}', 'att_1'],
    ['', 'att_1'],
    ['<html>', 'att_1'],
    ['{"messages":[]}', 'att_1'],
    ['{"messages":[{"id":5}]}', 'att_1'],
    ['{"messages":[{"id":"w","message_status":"held_for_quality_assessment"}]}', 'w'],
    ['{"messages":[{"id":"w","message_status":"paused"}]}', 'w'],
  ])('200 with %s is an acceptance', async (body, providerMessageId) => {
    answerWith(200, body)
    expect(await send()).toMatchObject({ providerMessageId })
  })
})

describe('what answers mean', () => {
  test.each(codeRows)('code %i: %s', async (code, fault) => {
    answerWith(400, errorOf(code))
    // Of one user and not of the account: no breaker may count it.
    const ofPair = code === 131056 && { retryAfterMs: 6_000, ofRecipient: true }
    expect(await refusal()).toEqual({ fault, ...ofPair })
  })
  // Three of the numbers between 200 and 299 are a range.
  test('the table has no code more', () => expect(codeMeanings.size).toBe(codeRows.length - 3))

  test.each<[string, number, unknown, string]>([
    ['a code that nobody wrote down', 400, errorOf(131999), 'unroutable'],
    ['the same with 404', 404, errorOf(131999), 'unroutable'],
    ['the same, and it passes', 400, errorOf(131999, { is_transient: true }), 'unavailable'],
    ['a known one stays itself', 400, errorOf(190, { is_transient: true }), 'config'],
    ['the same with 500', 500, errorOf(131999), 'unavailable'],
    ['a code that is no number', 400, errorOf('190'), 'config'],
    ['401', 401, '', 'config'],
    ['401 with an unknown code', 401, errorOf(131999), 'unroutable'],
    ['a country that the account may not write to', 403, errorOf(130497), 'unroutable'],
    ['what Meta says to a send to the sender itself', 400, errorOf(100), 'unroutable'],
    ['of a number id that is none', 400, errorOf(100, { error_subcode: 33 }), 'config'],
    ['403 with HTML', 403, '<html>', 'config'],
    ['429', 429, '', 'throttled'],
    ['500', 500, 'oops', 'unavailable'],
    ['502', 502, '', 'in_doubt'],
    ['400 and null', 400, 'null', 'config'],
  ])('%s', async (_title, status, body, fault) => {
    answerWith(status, body)
    expect(await refusal()).toMatchObject({ fault })
  })

  test.each([
    ['2', 6_000],
    ['9', 9_000],
  ])('131056 with Retry-After: %s waits %i ms', async (header, retryAfterMs) => {
    answerWith(400, errorOf(131056), { 'retry-after': header })
    expect(await refusal()).toEqual({ fault: 'throttled', retryAfterMs, ofRecipient: true })
  })

  test.each<[string, number, unknown, string | undefined]>([
    ['AVAILABLE', 200, { health_status: { can_send_message: 'AVAILABLE' } }, undefined],
    ['LIMITED', 200, { health_status: { can_send_message: 'LIMITED' } }, undefined],
    ['BLOCKED', 200, { health_status: { can_send_message: 'BLOCKED' } }, 'config'],
    ['a word of its own', 200, { health_status: { can_send_message: 'DANCING' } }, undefined],
    ['nothing', 200, '', undefined],
    ['404, as a mock says', 404, '<html>', undefined],
    ['401', 401, errorOf(190), 'config'],
    ['a number id that is none', 400, errorOf(100), 'config'],
    ['503', 503, '', 'unavailable'],
  ])('the ping: %s', async (_title, status, body, fault) => {
    answerWith(status, body)
    const ping = account.pinger?.ping(AbortSignal.timeout(5_000))
    if (fault) await expect(ping).rejects.toMatchObject({ fault })
    else await expect(ping).resolves.toBeUndefined()
    expect(vendor.calls[0]).toMatchObject({
      method: 'GET',
      url: `/v23.0/${phoneId}?fields=health_status`,
      headers: { authorization: 'Bearer EAAG-token' },
    })
  })
})

test('settings that cannot be used are said, and not shown', () => {
  const wrong = {
    META_PHONE_NUMBER_ID: '+15550783881',
    META_APP_SECRET: 'a b c',
    META_API_VERSION: '23',
    META_BASE_URL: 'http://graph.example',
  }
  expect(
    settingsFaults([metaConfig], { ...metaVariables, ...wrong }, { isProduction: true }),
  ).toEqual([
    'META_PHONE_NUMBER_ID: must be the id of a phone number, not the number',
    'META_APP_SECRET: must be one secret, or two separated by a blank',
    'META_API_VERSION: must be a version such as v23.0',
    'META_BASE_URL: must be https in production',
  ])
  expect(accountWith({ META_TEMPLATE: '' })).toBeUndefined()
})
