import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freePort } from '../../cli/ports'
import { clientOf, type TestClient, until, untilState } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
beforeAll(async () => {
  const port = String(await freePort())
  const variables = { SMTP_PORT: port, SMTP_FAKE_PORT: port }
  system = await startSystem({ fakes: ['smtp'], variables })
  client = clientOf(system, system.liveKey)
})
afterAll(() => system.stop())

const sendTo = async (email: string, more: object = {}) => {
  const { status, body } = await client.call<{ request_id: string }>('POST', '/otp/send', {
    email,
    ...more,
  })
  expect(status).toBe(200)
  return body.request_id
}
const mailTo = (email: string) =>
  until(async () => (await client.inbox(email))[0], { what: `a mail to ${email}` })
const attemptsOf = async (requestId: string) =>
  (await client.status(requestId)).steps.flatMap(({ attempts }) => attempts)

test('a code goes out as a mail, and verifies', async () => {
  const requestId = await sendTo('ama@example.org')
  const mail = await mailTo('ama@example.org')
  expect(mail).toMatchObject({ provider: 'smtp', channel: 'email' })
  expect(mail.text).toContain(mail.code)
  expect(await attemptsOf(requestId)).toMatchObject([{ provider: 'smtp', status: 'accepted' }])
  await client.verify({ request_id: requestId, code: mail.code })
  await untilState(client, requestId, 'verified')
})

test('a caller’s own text, with letters that ASCII lacks', async () => {
  const message = 'Código {{code}}, válido {{minutes}} minutos, não partilhe; é só seu = seu.'
  await sendTo('kofi@example.org', { message })
  const { text, code } = await mailTo('kofi@example.org')
  expect(text).toContain(`Código ${code}, válido 5 minutos, não partilhe; é só seu = seu.`)
})

test('no such mailbox ends the request', async () => {
  await client.script('nobody@example.org', { accept: { error_code: 'INVALID_NUMBER' } })
  const requestId = await sendTo('nobody@example.org')
  await untilState(client, requestId, 'failed')
  expect(await attemptsOf(requestId)).toMatchObject([{ fault: 'invalid_number' }])
})

test('a connection that is cut after the mail: one mail too many at most, with the same code', async () => {
  await client.script('smtp', { accept: { drop: true, times: 1 } })
  const requestId = await sendTo('esi@example.org')
  await until(async () => (await attemptsOf(requestId)).some(({ in_doubt }) => in_doubt))
  const first = await mailTo('esi@example.org')
  const entries = await client.inbox('esi@example.org')
  expect(entries.length).toBeLessThanOrEqual(2)
  expect(new Set(entries.map(({ code }) => code))).toEqual(new Set([first.code]))
  expect(await client.verify({ request_id: requestId, code: first.code })).toMatchObject({
    body: { status: 'verified' },
  })
})

test('a test key reaches no mail server', async () => {
  const withTestKey = clientOf(system)
  await withTestKey.call('POST', '/otp/send', { email: 'yaw@example.org' })
  expect(await mailTo('yaw@example.org')).toMatchObject({ provider: 'sandbox-a' })
})
