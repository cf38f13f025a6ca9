import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from '../harness/properties'
import { charactersOf } from '../../core/verify/alphabet'
import { appHashShape, domainShape, withAutofill } from '../../core/messages/autofill'
import { languages } from '../../core/messages/languages'
import { messageText } from '../../core/messages/text'
import { changeApp } from '../../db/apps/apps'
import { clientOf, freshPhone, type InboxEntry, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

/**
 * What a browser makes of a message, after the algorithm of "Origin-bound one-time codes delivered via SMS" (WICG):
 * only the last line counts; `@`, the host, one space, `#` and the code, and nothing that is not space after it.
 */
function readByBrowser(message: string): { host: string; code: string } | undefined {
  const line = message.slice(message.lastIndexOf('\n') + 1)
  if (!line.startsWith('@')) return undefined
  const [host = '', ...rest] = line.slice(1).split(/[\t\f\r ]/)
  const [marked = ''] = rest
  if (host === '' || !line.startsWith(`@${host} #`) || marked.length < 2) return undefined
  return { host, code: marked.slice(1) }
}

/** What Android hands to an app: no more than 140 bytes, with the hash in them as a word of its own. */
const readByAndroid = (message: string, hash: string): boolean =>
  Buffer.byteLength(message) <= 140 && message.split(/\s/).includes(hash)

const domain = 'shop.example'
const appHash = 'FA+9qCX9VSu'
const both = { domain, appHash }

describe('the lines', () => {
  const text = 'Your code is 482913.'
  const cases: [string, string, { domain: string | null; appHash: string | null }, string][] = [
    ['none, unless the app wants them', text, { domain: null, appHash: null }, text],
    ['the site’s', text, { domain, appHash: null }, `${text}\n@${domain} #482913`],
    ['the Android app’s', text, { domain: null, appHash }, `${text}\n${appHash}`],
    ['the site’s last of both', text, both, `${text}\n${appHash}\n@${domain} #482913`],
    ['after blank ends', `${text} \n\n`, { domain, appHash: null }, `${text}\n@${domain} #482913`],
    [
      'not twice',
      `${text}\n@${domain} #482913`,
      { domain, appHash: null },
      `${text}\n@${domain} #482913`,
    ],
    [
      'not after another site’s',
      `${text}\n@a.example #482913`,
      { domain, appHash: null },
      `${text}\n@a.example #482913`,
    ],
    [
      'the app’s above a site’s that is there',
      `${text}\n@a.example #482913`,
      both,
      `${text}\n${appHash}\n@a.example #482913`,
    ],
    [
      'no hash that is there',
      `${text} ${appHash}`,
      { domain: null, appHash },
      `${text} ${appHash}`,
    ],
  ]
  test.each(cases)('%s', (_, given, autofill, expected) => {
    expect(withAutofill(given, '482913', autofill)).toBe(expected)
  })

  test('property: browsers read the code and Android finds its hash, whatever the text and the code', () => {
    const code = fc.oneof(
      ...Object.values(charactersOf).map((characters) =>
        fc
          .array(fc.constantFrom(...characters.split('')), { minLength: 6, maxLength: 10 })
          .map((all) => all.join('')),
      ),
    )
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), code, (words, shown) => {
        const message = withAutofill(`${words.replaceAll('@', '')} ${shown}`, shown, both)
        expect(readByBrowser(message)).toEqual({ host: domain, code: shown })
        expect(message.split('\n')).toContain(appHash)
      }),
    )
  })

  test.each(Object.keys(languages).filter((tag) => tag !== 'ar'))(
    'in %s, our own words leave room for both within what Android reads',
    (locale) => {
      const { text } = messageText({
        ...{ channel: 'sms', message: undefined, template: undefined, locale, autofill: both },
        ...{ code: '482913', brand: 'Acme', lifetimeSeconds: 600 },
      })
      expect(readByAndroid(text, appHash)).toBe(true)
      expect(readByBrowser(text)).toEqual({ host: domain, code: '482913' })
    },
  )

  test('are on sms only', () => {
    for (const channel of ['voice', 'whatsapp', 'email', 'ussd'] as const) {
      const parts = { channel, message: undefined, template: undefined, locale: 'en' } as const
      const { text } = messageText({
        ...{ ...parts, autofill: both, code: '482913', brand: 'Acme', lifetimeSeconds: 300 },
      })
      expect(text).not.toContain(domain)
    }
  })
})

describe('the settings', () => {
  test.each(['shop.example', 'a.b-c.co', 'xn--bcher-kva.example', 'a.xn--p1ai'])(
    '%s is a host',
    (host) => expect(host).toMatch(domainShape),
  )
  test.each([
    ...[
      'localhost',
      'Shop.example',
      'shop.example.',
      '-a.example',
      'a..example',
      '127.0.0.1',
      'a b.example',
    ],
    ...[
      'https://a.example',
      'a.example/',
      'a.example:443',
      '@a.example',
      'bücher.example',
      'a_b.example',
    ],
    'a.example\n',
  ])('%j is none', (host) => expect(domainShape.test(host)).toBe(false))
  test.each(['FA+9qCX9VSu', 'abcdefghij/'])('%s is a hash', (hash) =>
    expect(hash).toMatch(appHashShape),
  )
  test.each(['FA+9qCX9VS', 'FA+9qCX9VSuu', 'FA+9qCX9VS=', 'FA 9qCX9VSu', 'FA+9qCX9VSu\n'])(
    '%j is none',
    (hash) => expect(appHashShape.test(hash)).toBe(false),
  )
})

describe('in the inbox', () => {
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

  test('an app that sets its site and its app gets both, after a caller’s text too; a live request keeps its lines', async () => {
    const [before, own, callers] = [freshPhone(), freshPhone(), freshPhone()]
    await client.sent(before)
    const settings = { autofill_domain: domain, android_app_hash: appHash }
    const changed = await operator.call('PATCH', '/admin/apps/app', settings)
    expect(changed).toMatchObject({ status: 200, body: settings })

    expect((await firstMessage(before)).text).not.toContain(domain)
    await client.sent(own)
    const { text, code } = await firstMessage(own)
    expect(text).toMatch(/^Your Acme code is \d{6}\..*\nFA\+9qCX9VSu\n@shop\.example #\d{6}$/)
    expect(readByBrowser(text)).toEqual({ host: domain, code })
    expect(readByAndroid(text, appHash)).toBe(true)

    await client.sent(callers, { message: 'Code: {{code}}', channels: ['sms'] })
    const message = await firstMessage(callers)
    expect(message.text).toBe(`Code: ${message.code}\n${appHash}\n@${domain} #${message.code}`)

    await changeApp(system.db, 'app', { autofillDomain: null, androidAppHash: null })
    const after = freshPhone()
    await client.sent(after, { message: 'Code: {{code}}' })
    const plain = await firstMessage(after)
    expect(plain.text).toBe(`Code: ${plain.code}`)
  })

  test('what is no host and no hash is refused', async () => {
    const tooLong = `${'a.'.repeat(50)}example`
    const settings = { autofill_domain: tooLong, android_app_hash: 'short' }
    const { status, body } = await operator.call<{ errors?: { field: string }[] }>(
      'PATCH',
      '/admin/apps/app',
      settings,
    )
    expect(status).toBe(400)
    expect(body.errors?.map(({ field }) => field)).toEqual(['autofill_domain', 'android_app_hash'])
  })
})
