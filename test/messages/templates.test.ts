import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { PreviewAnswer, TemplateAnswer } from '../../api/contract/templates'
import { createApiKey } from '../../db/apps/api-keys'
import { createApp } from '../../db/apps/apps'
import { findTemplate, maxTemplates, putTemplate } from '../../db/messages/templates'
import { findSpokenCode } from '../../db/messages/spoken-code'
import { findAttemptById } from '../../db/delivery/receipts'
import { clientOf, freshPhone, type InboxEntry, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf, visitorsOf } from '../harness/visitor'

let system: System
let client: TestClient
let operator: TestClient

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  operator = clientOf(system, system.operatorKey)
})
afterAll(() => system.stop())

const firstMessage = (address: string): Promise<InboxEntry> =>
  until(async () => (await client.inbox(address))[0], { what: 'a message' })

/** An app of the test's own, its administrator with a live key, and a caller with a test key. */
async function freshApp(id: string) {
  await createApp(system.db, { id, name: 'Duka' })
  const keyOf = async (environment: 'production' | 'staging', scopes: string[]) =>
    clientOf(system, (await createApiKey(system.db, { appId: id, environment, scopes })).key)
  const admin = await keyOf('production', ['admin'])
  const at = (place: string) => `/admin/apps/${id}/templates${place}`
  return {
    at,
    admin,
    tester: await keyOf('staging', ['admin']),
    caller: await keyOf('staging', ['send', 'verify', 'read']),
    put: async (place: string, body: object) => {
      const answer = await admin.call<TemplateAnswer>('PUT', at(`/${place}`), body)
      expect([answer.status, answer.body]).toMatchObject([200, {}])
      return answer.body
    },
    list: async () =>
      (await admin.call<{ templates: TemplateAnswer[] }>('GET', at(''))).body.templates,
  }
}

describe('templates', () => {
  test('are put, listed, changed and taken back, and the trail says by whom', async () => {
    const { at, admin, put, list } = await freshApp('duka')
    expect(await list()).toEqual([])
    const text = '{{brand}}: {{code}}, {{lifetime}}. Ne le donnez à personne.'
    const made = await put('sms/FR-ci', { text })
    expect(made).toMatchObject({
      ...{ app_id: 'duka', channel: 'sms', locale: 'fr-CI', text, revision: 1, warnings: [] },
      ...{ subject: null, html: null, key_prompt: null },
    })
    await put('email/fr', { text: 'Code {{code}}', subject: 'Code', html: '<p>{{code}}</p>' })
    expect(await put('sms/fr-CI', { text: 'Code {{code}}' })).toMatchObject({
      revision: 3,
      warnings: [{ rule: 'brand_missing' }, { rule: 'secrecy_missing' }],
    })
    expect(
      (await list()).map(({ channel, locale, text: words }) => [channel, locale, words]),
    ).toEqual(
      expect.arrayContaining([
        ['sms', 'fr-CI', 'Code {{code}}'],
        ['email', 'fr', 'Code {{code}}'],
      ]),
    )
    expect(await list()).toHaveLength(2)
    const remove = () => admin.call('DELETE', at('/sms/fr-CI'))
    expect((await remove()).body).toEqual({ deleted: true })
    expect((await remove()).body).toEqual({ deleted: false })
    expect((await list()).map(({ channel }) => channel)).toEqual(['email'])
    const trail = await system.db.many<{ type: string; detail: object }>(
      sql`select type, detail from audit_events where app_id = 'duka' and type::text like 'template%' order by id`,
    )
    expect(trail.map(({ type }) => type)).toEqual([
      ...['template_changed', 'template_changed', 'template_changed', 'template_deleted'],
    ])
    expect(trail[0]?.detail).toEqual({ channel: 'sms', locale: 'fr-CI', revision: 1 })
  })

  test('without a code, or with what cannot be filled in, are refused with everything that is wrong', async () => {
    const { at, admin } = await freshApp('refused')
    const refused = async (place: string, body: object) => {
      const answer = await admin.call<{ error_code: string; errors: { field: string }[] }>(
        'PUT',
        at(`/${place}`),
        body,
      )
      return [answer.status, answer.body.error_code, answer.body.errors?.map(({ field }) => field)]
    }
    const wrong = (...fields: string[]) => [400, 'INVALID_MESSAGE', fields]
    expect(await refused('sms/en', { text: 'Hello' })).toEqual(wrong('text'))
    expect(await refused('sms/en', { text: '{{ code }}' })).toEqual(wrong('text', 'text'))
    expect(await refused('sms/en', { text: '{{code}}', subject: 'S' })).toEqual(wrong('subject'))
    expect(await refused('sms/en', { text: '{{code}}', html: 'H' })).toEqual(wrong('html', 'html'))
    expect(await refused('voice/en', { text: '{{code}}', key_prompt: '{{code}}' })).toEqual(
      wrong('key_prompt'),
    )
    const invalid = (...fields: string[]) => [400, 'INVALID_REQUEST', fields]
    expect(await refused('sms/en', { text: '{{code}}\u202e' })).toEqual(invalid('text'))
    expect(await refused('sms/en', { text: '{{code}}', subject: 'a\nb' })).toEqual(
      invalid('subject'),
    )
    expect(await refused('sms/en', {})).toEqual(invalid('text'))
    expect(await refused('sms/x-private', { text: '{{code}}' })).toEqual(invalid('locale'))
    expect(await refused('pigeon/en', { text: '{{code}}' })).toEqual(invalid('channel'))
    const { body } = await admin.call('PUT', at('/sms/en'), { text: 'Hello' })
    expect(body.message).toBe('text: must hold {{code}}.')
  })

  test('are for live keys to change, of the app itself or of an operator; a test key may look', async () => {
    const { at, tester, put } = await freshApp('guarded')
    await put('sms/en', { text: 'Code {{code}}' })
    const codeOf = async (by: TestClient, method: string, body?: object) =>
      (await by.call(method, at('/sms/en'), body)).body.error_code
    expect(await codeOf(tester, 'PUT', { text: '{{code}}' })).toBe('FORBIDDEN')
    expect(await codeOf(tester, 'DELETE')).toBe('FORBIDDEN')
    expect((await tester.call('GET', at(''))).status).toBe(200)
    expect((await tester.call('POST', at('/preview'), { channel: 'sms' })).status).toBe(200)
    const { admin: stranger } = await freshApp('stranger')
    expect(await codeOf(stranger, 'PUT', { text: '{{code}}' })).toBe('NOT_FOUND')
    expect(await codeOf(operator, 'PUT', { text: '{{code}}' })).toBeUndefined()
    const nobody = '/admin/apps/nobody/templates'
    expect((await operator.call('GET', nobody)).status).toBe(404)
    expect((await operator.call('PUT', `${nobody}/sms/en`, { text: '{{code}}' })).status).toBe(404)
  })

  test('are looked up by the longest locale that fits, and English stands in', async () => {
    const { put } = await freshApp('lookup')
    const find = async (locale: string, channel: 'sms' | 'voice' = 'sms') =>
      (await findTemplate(system.db, { appId: 'lookup', channel, locale }))?.locale
    expect(await find('fr')).toBeUndefined()
    for (const locale of ['fr', 'fr-CI', 'en', 'en-GB', 'zh-Hant'])
      await put(`sms/${locale}`, { text: `{{code}} ${locale}` })
    const cases = [
      ...[
        ['fr', 'fr'],
        ['fr-CI', 'fr-CI'],
        ['fr-ci', 'fr-CI'],
        ['fr-CI-x', 'fr-CI'],
        ['fr-SN', 'fr'],
      ],
      ...[
        ['frc', 'en'],
        ['sw', 'en'],
        ['en-GH', 'en'],
        ['en-GB', 'en-GB'],
        ['zh-Hant-TW', 'zh-Hant'],
      ],
      ...[['zh', 'en']],
    ]
    for (const [locale = '', found] of cases)
      expect([locale, await find(locale)]).toEqual([locale, found])
    expect(await find('fr', 'voice')).toBeUndefined()
  })

  test('put at once all count, each as a revision of its own, up to a limit', async () => {
    const { list } = await freshApp('crowd')
    const place = (n: number) => ({
      ...{ appId: 'crowd', channel: 'sms' as const, actor: 'cli' },
      locale: `en-x${n}`,
    })
    await Promise.all(
      Array.from({ length: 12 }, (_, n) => putTemplate(system.db, place(n), { text: '{{code}}' })),
    )
    const revisions = (await list()).map(({ revision }) => revision)
    expect(revisions.sort((one, other) => one - other)).toEqual(
      Array.from({ length: 12 }, (_, n) => n + 1),
    )
    await system.db.many(sql`
      insert into message_templates (app_id, channel, locale, revision, text)
      select 'crowd', 'voice', 'en-y' || n, 1, '{{code}}' from generate_series(13, ${maxTemplates}) n`)
    expect(await putTemplate(system.db, place(99), { text: '{{code}}' })).toBe('full')
    expect(await putTemplate(system.db, place(1), { text: 'New {{code}}' })).toMatchObject({
      text: 'New {{code}}',
    })
  })
})

describe('a preview', () => {
  test('shows what is in force, or what is given, and counts its parts', async () => {
    const { at, admin, put } = await freshApp('shown')
    const preview = async (body: object) =>
      (await admin.call<PreviewAnswer>('POST', at('/preview'), body)).body
    expect(await preview({ channel: 'sms' })).toMatchObject({
      ...{ author: 'otpilot', locale: 'en', subject: null, warnings: [] },
      ...{ text: 'Your Duka code is 456789. It is valid for 5 minutes. Do not share it.' },
      sms: { encoding: 'GSM-7', units: 69, parts: 1 },
    })
    await put('sms/pt', { text: '{{brand}}: {{code}}. Não o revele.' })
    expect(await preview({ channel: 'sms', locale: 'pt-MZ' })).toMatchObject({
      ...{ author: 'app', locale: 'pt-MZ', text: 'Duka: 456789. Não o revele.' },
      ...{ sms: { encoding: 'UCS-2', parts: 1 }, warnings: [{ rule: 'ucs2' }] },
    })
    const given = { channel: 'email', locale: 'ar', text: '{{brand}}: {{code}}', brand: 'دكان' }
    expect(await preview(given)).toMatchObject({
      ...{ author: 'given', sms: null, key_prompt: null, subject: expect.stringContaining('دكان') },
      html: expect.stringContaining('dir="rtl"'),
    })
    expect(await preview({ channel: 'sms', text: 'x' })).toMatchObject({
      error_code: 'INVALID_MESSAGE',
    })
  })
})

describe('in the inbox', () => {
  test.each([
    ['+33612345678', 'fr', /^Votre code Acme est \d{6}\. Il expire dans 5 minutes\./],
    ['+351912345678', 'pt', /^O seu PIN Acme é \d{6}\. Expira em 5 minutos\./],
    ['+34612345678', 'es', /^Su clave de Acme es \d{6}\. Vence en 5 minutos\./],
    ['+255712345678', 'sw', /^Msimbo wako wa Acme ni \d{6}\. Unaisha baada ya dakika 5\./],
    ['+201001234567', 'ar', /^رمز Acme هو \d{6}، صالح 5 دقائق\. لا تشاركه\.$/],
    ['+233241234567', 'en', /^Your Acme code is \d{6}\. It is valid for 5 minutes\./],
    ['+4915112345678', 'en', /^Your Acme code is/],
  ])('a number like %s is written to in %s', async (phone, _, text) => {
    await client.sent(phone)
    expect((await firstMessage(phone)).text).toMatch(text)
  })

  test('a locale that is given goes before the number’s', async () => {
    const phone = freshPhone()
    await client.sent(phone, { locale: 'FR-fr' })
    expect((await firstMessage(phone)).text).toMatch(/^Votre code/)
  })

  test('a page’s key writes in the number’s language too, or in the one that it names', async () => {
    const visitor = visitorsOf(system, await publishableKeyOf(system))
    const [plain, named] = ['+33612345679', '+33612345680'] as const
    expect((await visitor().send(plain)).status).toBe(200)
    expect((await visitor().send(named, { locale: 'es' })).status).toBe(200)
    expect((await firstMessage(plain)).text).toMatch(/^Votre code Acme est/)
    expect((await firstMessage(named)).text).toMatch(/^Su clave de Acme es/)
  })

  test('an app’s default country stands in where an address has none', async () => {
    await createApp(system.db, { id: 'mail', name: 'Boutique', defaultCountry: 'CI' })
    const { key } = await createApiKey(system.db, {
      ...{ appId: 'mail', environment: 'staging', scopes: ['send'] },
    })
    const email = `awa.${process.pid}@example.com`
    const sent = await clientOf(system, key).call('POST', '/otp/send', { email })
    expect(sent.status).toBe(200)
    expect((await firstMessage(email)).text).toMatch(
      /^Votre code Boutique est \d{6}\.\n\nIl expire/,
    )
  })

  test('a code copied with the marks around it verifies', async () => {
    const phone = '+201001234570'
    await client.sent(phone, { channels: ['whatsapp'] })
    const { text, code } = await firstMessage(phone)
    const copied = `\u2066${code}\u2069`
    expect(text).toContain(copied)
    const checked = await client.verify({ phone_number: phone, code: copied })
    expect(checked.body).toMatchObject({ status: 'verified' })
  })

  test('an app’s own words go out, but before them those of the caller', async () => {
    const { put, caller } = await freshApp('worded')
    await put('sms/en', { text: 'Karibu {{brand}}: {{code}} ({{minutes}})' })
    await put('voice/en', { text: 'Hello. {{code}}', key_prompt: 'Press a key for {{brand}}.' })
    await put('ussd/en', { text: 'Screen {{code}}' })
    const [own, callers, called] = [freshPhone(), freshPhone(), freshPhone()]
    await caller.sent(own, { expiry_seconds: 120 })
    expect((await firstMessage(own)).text).toMatch(/^Karibu Duka: \d{6} \(2\)$/)
    await caller.sent(callers, { message: 'Mine {{code}}' })
    expect((await firstMessage(callers)).text).toMatch(/^Mine \d{6}$/)
    const requestId = await caller.sent(called, { channels: ['voice'] })
    expect((await firstMessage(called)).text).toMatch(/^Hello\. (\d ){5}\d$/)
    const row = await system.db.one<{ id: string; provider: string }>(
      sql`select id, provider from attempts where request_id = ${requestId}`,
    )
    if (!row) throw new Error('no attempt')
    const attempt = await findAttemptById(system.db, { provider: row.provider, attemptId: row.id })
    if (!attempt) throw new Error('no attempt of this id')
    expect(await findSpokenCode(system.db, system.keyring, attempt)).toEqual({
      text: expect.stringMatching(/^Hello\. (\d ){5}\d$/),
      keyPrompt: 'Press a key for Duka.',
      locale: 'en-GH',
    })
  })

  test('a live request keeps the words of its send, whatever becomes of them', async () => {
    const { put, caller, admin, at } = await freshApp('steady')
    await put('sms/en', { text: 'One {{code}}' })
    await put('whatsapp/en', { text: 'First {{code}}' })
    const phone = freshPhone()
    const requestId = await caller.sent(phone, { channels: ['sms', 'whatsapp'] })
    const { code } = await firstMessage(phone)
    await put('whatsapp/en', { text: 'Second {{code}}' })
    await admin.call('DELETE', at('/whatsapp/en'))
    await put('whatsapp/en-GH', { text: 'Third {{code}}' })
    expect((await caller.call('POST', `/otp/${requestId}/next`)).status).toBe(200)
    const texts = await until(async () => {
      const inbox = await client.inbox(phone)
      return inbox.length > 1 && inbox.map(({ text }) => text)
    })
    expect(texts).toEqual([`First ${code}`, `One ${code}`])
    const later = freshPhone()
    await caller.sent(later, { channels: ['whatsapp'] })
    expect((await firstMessage(later)).text).toMatch(/^Third \d{6}$/)
  })
})
