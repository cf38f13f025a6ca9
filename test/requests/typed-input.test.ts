import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createApiKey } from '../../db/apps/api-keys'
import { createApp } from '../../db/apps/apps'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

// What people, keyboards and other people's programs put into fields, at every door that takes it.

let system: System
let client: TestClient
let operator: TestClient

beforeAll(async () => {
  system = await startSystem({ channels: ['sms', 'email'] })
  client = clientOf(system)
  operator = clientOf(system, system.operatorKey)
})
afterAll(() => system.stop())

const arabic = (text: string) =>
  text.replace(/\d/g, (digit) => String.fromCodePoint(0x660 + Number(digit)))
const fullWidth = (text: string) =>
  text.replace(/[!-~]/g, (one) => String.fromCodePoint(one.charCodeAt(0) + 0xfee0))
/** As contacts, messengers and keyboards hand a number over. */
const disguises: [string, (phone: string) => string][] = [
  ['embedded', (phone) => `\u202a${phone}\u202c`],
  ['overridden', (phone) => `\u202d${phone}\u202c`],
  ['isolated', (phone) => `\u2068${phone}\u2069`],
  ['marked', (phone) => `\u200e${phone}\u200b\u00ad\ufe0d`],
  ['Arabic', arabic],
  ['full width', fullWidth],
  ['Chakma', (phone) => phone.replace(/\d/g, (one) => String.fromCodePoint(0x11136 + Number(one)))],
]

/** An app of its own, and a key of it. */
async function callerOf(settings: { defaultCountry?: string; codeAlphabet?: 'alphanumeric' }) {
  const id = `app-${(settings.defaultCountry ?? 'letters').toLowerCase()}`
  await createApp(system.db, { id, name: 'Acme', ...settings })
  const scopes = ['send', 'verify', 'read']
  const { key } = await createApiKey(system.db, { appId: id, environment: 'staging', scopes })
  return clientOf(system, key)
}

const codeSentTo = async (address: string) => {
  const entry = await until(async () => (await client.inbox(address))[0], { what: 'the message' })
  return entry.code
}

describe('a phone number', () => {
  test.each(disguises)('%s is one and the same everywhere', async (_name, disguise) => {
    const phone = freshPhone()
    const odd = disguise(phone)
    const id = await client.sent(odd)
    expect((await client.send(phone)).body).toMatchObject({ request_id: id })
    const asked: [string, string, Record<string, unknown>, object][] = [
      ['POST', '/otp/search', {}, { requests: [{ request_id: id }] }],
      ['PUT', '/preferences', { channel: 'sms' }, { channel: 'sms' }],
      ['POST', '/preferences/lookup', {}, { channel: 'sms' }],
      ['POST', '/preferences/delete', {}, { deleted: true }],
      ['POST', '/consent/withdraw', {}, { status: 'withdrawn', requests_cancelled: 1 }],
    ]
    for (const [method, path, more, body] of asked)
      expect(await client.call(method, path, { phone_number: odd, ...more })).toMatchObject({
        status: 200,
        body,
      })
    const administered: [string, Record<string, unknown>, object][] = [
      ['/admin/recipients/unlock', { app_id: 'app', phone_number: odd }, { unlocked: false }],
      ['/admin/erasures', { phone_number: odd }, { erased: { recipients: 1 } }],
      [
        '/admin/lists',
        { verdict: 'block', kind: 'phone_number', value: odd },
        { value: `${phone.slice(0, -4)}****` },
      ],
      [
        '/admin/lists',
        { verdict: 'block', kind: 'prefix', value: disguise('+233 90') },
        { value: '+23390' },
      ],
      [
        '/admin/test-numbers',
        { app_id: 'app', phone_number: odd, code: disguise('246810') },
        { phone_number: phone, code: '246810' },
      ],
    ]
    for (const [path, given, body] of administered)
      expect(await operator.call('POST', path, given)).toMatchObject({ status: 200, body })
  })
})

test.each([
  ['IT', '326 066 0289', '+393260660289'],
  ['KE', '000 49 1512 3456789', '+4915123456789'],
  ['AR', '11 2345-6789', '+5491123456789'],
])('of %s, %s is sent to, found, checked and erased as %s', async (country, text, number) => {
  const caller = await callerOf({ defaultCountry: country })
  const id = await caller.sent(text)
  expect((await caller.call('POST', '/otp/search', { phone_number: text })).body).toMatchObject({
    requests: [{ request_id: id }],
  })
  const code = await codeSentTo(number)
  expect((await caller.verify({ phone_number: text, code })).body.status).toBe('verified')
  const erasure = { app_id: `app-${country.toLowerCase()}`, phone_number: text }
  expect((await operator.call('POST', '/admin/erasures', erasure)).body).toMatchObject({
    erased: { recipients: 1 },
  })
})

describe('a code', () => {
  test.each([
    ['in Arabic digits, with marks', (code: string) => `\u200f${arabic(code)}`],
    ['in full width', fullWidth],
    ['with the full stop after it', (code: string) => `${code}.`],
    ['in quotation marks', (code: string) => `“${code}”`],
  ])('%s verifies', async (_name, typed) => {
    const phone = freshPhone()
    await client.sent(phone)
    const code = typed(await codeSentTo(phone))
    expect((await client.verify({ phone_number: phone, code })).body).toMatchObject({
      status: 'verified',
    })
  })

  test('of letters verifies whatever their case and width', async () => {
    const caller = await callerOf({ codeAlphabet: 'alphanumeric' })
    const phone = freshPhone()
    await caller.sent(phone)
    const sent = await codeSentTo(phone)
    expect(sent).toMatch(/^[2-9A-HJ-NP-Z]+$/)
    const code = fullWidth(sent.toLowerCase())
    expect((await caller.verify({ phone_number: phone, code })).body.status).toBe('verified')
  })
})

test('e-mail addresses of a domain in another script are one, as typed and as Chrome sends them', async () => {
  const user = `ama.${freshPhone().slice(1)}`
  const send = (given: string) => client.call('POST', '/otp/send', { email: given })
  const { status, body } = await send(`${user}@россия.рф`)
  expect(status).toBe(200)
  expect((await send(`${user}@xn--h1alffa9f.xn--p1ai`)).body).toMatchObject({
    request_id: body.request_id,
  })
})

test('an e-mail address with marks, or in full width, is the address', async () => {
  const email = `ama.${freshPhone().slice(1)}@example.com`
  const send = (given: string) => client.call('POST', '/otp/send', { email: given })
  const { status, body } = await send(`\u200e${email}\u202c `)
  expect(status).toBe(200)
  expect((await send(fullWidth(email.toUpperCase()))).body).toMatchObject({
    request_id: body.request_id,
  })
})

describe('texts', () => {
  const textOf = async (given: Record<string, unknown>) => {
    const phone = freshPhone()
    await client.sent(phone, given)
    const { text, code } = await until(async () => (await client.inbox(phone))[0])
    return text.replace(code, '{{code}}')
  }

  test('of Windows have the line ends of phones', async () => {
    expect(await textOf({ message: 'Your code is {{code}}.\r\nKeep it.\r' })).toBe(
      'Your code is {{code}}.\nKeep it.\n',
    )
  })

  test('keep the marks of their language', async () => {
    const message = 'رمز می‌شود \u200f{{code}}\u200e'
    expect(await textOf({ message })).toBe(message)
  })

  test('name the brand as its language spells it', async () => {
    expect(await textOf({ message: '{{brand}}: {{code}}', brand: 'دیجی‌کالا' })).toBe(
      'دیجی‌کالا: {{code}}',
    )
  })

  test('that would be read as something else are refused, by name', async () => {
    const refused = async (given: Record<string, unknown>) => {
      const { status, body } = await client.send(freshPhone(), given)
      return [status, body.error_code, JSON.stringify(body).includes('U+202E')]
    }
    expect(await refused({ message: '{{code}}\u202e' })).toEqual([400, 'INVALID_MESSAGE', true])
    expect(await refused({ brand: 'Ac\u202eme' })).toEqual([400, 'INVALID_REQUEST', true])
  })

  test('of templates too, and of their previews', async () => {
    const text = '{{brand}} {{code}}\r\nNever share it.'
    const folded = '{{brand}} {{code}}\nNever share it.'
    const path = '/admin/apps/app/templates'
    const template = await operator.call('PUT', `${path}/email/en`, {
      text,
      html: `<p>${text}</p>\r\n`,
      subject: 'دیجی‌کالا',
    })
    expect(template).toMatchObject({
      status: 200,
      body: { text: folded, html: `<p>${folded}</p>\n` },
    })
    const preview = await operator.call('POST', `${path}/preview`, { channel: 'sms', text })
    expect([preview.status, JSON.stringify(preview.body).includes('\\r')]).toEqual([200, false])
  })
})

describe('null', () => {
  test('is a field that is not set, in nested ones too', async () => {
    const phone = freshPhone()
    const given = {
      email: null,
      channel: null,
      channels: null,
      expiry_seconds: null,
      message: null,
      locale: null,
      purpose: null,
      risk: null,
      ip_address: null,
      consent: { text_version: '1', given_at: null, source: null, basis: null },
      brand: null,
      rate_limit_keys: null,
      metadata: { order: '17', campaign: null },
      challenge: null,
    }
    const id = await client.sent(phone, given)
    expect(await client.status(id)).toMatchObject({ metadata: { order: '17' } })
    const code = await codeSentTo(phone)
    const check = { phone_number: phone, email: null, request_id: null, purpose: null }
    expect((await client.verify({ ...check, challenge: null, code })).body.status).toBe('verified')
    const search = { phone_number: phone, state: null, channel: null, cursor: null, limit: null }
    expect(await client.call('POST', '/otp/search', search)).toMatchObject({
      status: 200,
      body: { requests: [{ request_id: id }] },
    })
    const preview = { channel: 'sms', locale: null, text: null, subject: null, brand: null }
    expect((await operator.call('POST', '/admin/apps/app/templates/preview', preview)).status).toBe(
      200,
    )
  })

  test('is no value where one is required, and keeps its meaning where it has one', async () => {
    const { status, body } = await client.call('POST', '/otp/verify', {
      phone_number: freshPhone(),
      code: null,
    })
    expect([status, body.error_code]).toEqual([400, 'INVALID_REQUEST'])
    expect(JSON.stringify(body)).toContain('"field":"code"')
    const region = { region: null, default_country: null, name: 'App' }
    expect(await operator.call('PATCH', '/admin/apps/app', region)).toMatchObject({
      status: 200,
      body: { default_country: null },
    })
  })
})

test('the address of an end user is one with a port, in quotation marks, and as IPv6 writes it', async () => {
  const shipped = system.policy.protection
  system.policy.protection = { limits: { ip: [{ max: 2, seconds: 60 }] } }
  const answers = []
  for (const ip_address of ['203.0.113.90:4711', ' "203.0.113.90" ', '[::ffff:203.0.113.90]:443'])
    answers.push((await client.send(freshPhone(), { ip_address })).status)
  system.policy.protection = shipped
  expect(answers).toEqual([200, 200, 429])
})

test('a key of metadata that is not allowed is named, with the rule', async () => {
  const errorsOf = async (given: Record<string, unknown>) =>
    (await client.call('POST', '/otp/send', { phone_number: freshPhone(), ...given })).body.errors
  expect(await errorsOf({ metadata: { 'order id': '17' } })).toEqual([
    {
      field: 'metadata',
      message: 'a key has 1 to 40 letters of ASCII, digits, _ . or -, "order id" does not',
    },
  ])
  expect(await errorsOf({ rate_limit_keys: { Device: '17' } })).toEqual([
    { field: 'rate_limit_keys', message: expect.stringContaining('"Device" does not') },
  ])
  const hidden = JSON.stringify(await errorsOf({ metadata: { '+233241234567': 'x' } }))
  expect(hidden).toContain('1 to 40 letters')
  expect(hidden).not.toContain('4567')
})
