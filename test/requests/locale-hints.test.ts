import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let operator: TestClient

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  operator = clientOf(system, system.operatorKey)
})
afterAll(() => system.stop())

test.each([
  ['fr_CI', /^Votre code/],
  ['es-u-ms-metric', /^Su clave/],
  ['sw_TZ_#Latn', /^Msimbo/],
  // No language is in these: the one of the number's country stands in.
  ['x-private', /^Your Acme/],
  ['', /^Your Acme/],
  ['l'.repeat(60), /^Your Acme/],
])('the locale %j refuses nobody a code', async (locale, text) => {
  const phone = freshPhone()
  await client.sent(phone, { locale })
  const [message] = await until(async () => {
    const inbox = await client.inbox(phone)
    return inbox.length > 0 && inbox
  })
  expect(message?.text).toMatch(text)
})

test('a template is set for the locale that a tag means', async () => {
  const path = '/admin/apps/app/templates'
  const text = 'Abidjan {{code}}'
  expect(await operator.call('PUT', `${path}/sms/fr_CI`, { text })).toMatchObject({
    status: 200,
    body: { locale: 'fr-CI' },
  })
  expect((await operator.call('DELETE', `${path}/sms/FR-ci-u-nu-latn`)).body).toEqual({
    deleted: true,
  })
  const preview = { channel: 'sms', locale: 'x-private' }
  expect((await operator.call('POST', `${path}/preview`, preview)).body).toMatchObject({
    locale: 'en',
  })
})
