import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { createServer, type RequestListener, type Server } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { SignJWT } from 'jose'
import pino from 'pino'
import { createSandbox } from '../../sandbox'
import { variablesFor, vendors } from '../../sandbox/vendors'
import { closeServer, listen } from '../harness/listening'

let url: string
let server: Server
let sandbox: ReturnType<typeof createSandbox>
let variables: Record<string, string>
beforeAll(async () => {
  server = createServer()
  url = await listen(server)
  variables = variablesFor(
    url,
    vendors.filter(({ name }) => name === 'vonage'),
  )
  const logger = pino({ level: 'silent' })
  const secret = `whsec_${Buffer.alloc(32, 5).toString('base64')}`
  sandbox = createSandbox({ secret, otpilotUrl: 'http://127.0.0.1:9', logger, variables })
  server.on('request', sandbox.app as RequestListener)
})
afterAll(async () => {
  await sandbox.close()
  await closeServer(server)
})

const api = (path: string, init: RequestInit) =>
  fetch(`${url}/vendors/vonage${path}`, {
    method: 'POST',
    ...init,
    headers: { 'content-type': 'application/json', ...(init.headers as Record<string, string>) },
  })
test('the fake takes no token but the application’s', async () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const other = await new SignJWT({ application_id: '78d335fa-323d-0114-9c3d-d6f0d48968cf' })
    .setProtectedHeader({ alg: 'RS256' })
    .setIssuedAt()
    .setExpirationTime('5m')
    .setJti('1')
    .sign(privateKey)
  for (const authorization of ['', 'Bearer x', 'Basic YTpi', `Bearer ${other}`])
    for (const path of ['/v1/messages', '/v1/calls']) {
      const answer = await api(path, { headers: { authorization }, body: '{}' })
      expect(answer.status).toBe(401)
      expect(await answer.json()).toMatchObject({ title: 'Unauthorized' })
    }
})

/** A token of the application that the fake's settings name. */
const goodToken = () => {
  const { VONAGE_APPLICATION_ID: application_id, VONAGE_PRIVATE_KEY: pem = '' } = variables
  return new SignJWT({ application_id })
    .setProtectedHeader({ alg: 'RS256' })
    .setIssuedAt()
    .setExpirationTime('5m')
    .setJti('1')
    .sign(createPrivateKey(pem.replaceAll('\\n', '\n')))
}
const sms = { channel: 'sms', message_type: 'text', to: '233241234567', from: 'Acme', text: 'x' }
const fill = (text: string) => [{ type: 'text', text }]
const components = [
  { type: 'body', parameters: fill('482913') },
  { type: 'button', sub_type: 'url', index: '0', parameters: fill('482913') },
]
const language = { policy: 'deterministic', code: 'fr' }
const whatsapp = (template: object) => ({
  ...{ channel: 'whatsapp', message_type: 'custom', to: '233241234567', from: '447700900002' },
  custom: { type: 'template', template: { name: 'otp_code', language, components, ...template } },
})
const call = (ncco: object[]) => ({
  to: [{ type: 'phone', number: '233241234567' }],
  from: { type: 'phone', number: '447700900001' },
  ...{ event_url: [url], event_method: 'POST', machine_detection: 'continue', ncco },
})
test.each<[string, number, () => object]>([
  ['takes an SMS', 202, () => sms],
  ['refuses a number with a plus', 422, () => ({ ...sms, to: '+233241234567' })],
  ['refuses an SMS without a text', 422, () => ({ ...sms, text: undefined })],
  ['refuses an SMS without a sender', 422, () => ({ ...sms, from: undefined })],
  ['refuses a life of nothing', 422, () => ({ ...sms, ttl: 0 })],
  ['takes a template', 202, () => whatsapp({})],
  ['refuses a free text', 422, () => ({ ...sms, channel: 'whatsapp' })],
  ['refuses another template', 422, () => whatsapp({ name: 'another' })],
  ['refuses another language', 422, () => whatsapp({ language: { ...language, code: 'de' } })],
  ['refuses no button', 422, () => whatsapp({ components: components.slice(0, 1) })],
  ['refuses a call that says nothing', 422, () => call([])],
  ['refuses a call of another kind', 422, () => call([{ action: 'stream' }])],
])('the fake %s: %i', async (_title, status, payload) => {
  const body = payload()
  const answer = await api('channel' in body ? '/v1/messages' : '/v1/calls', {
    headers: { authorization: `Bearer ${await goodToken()}` },
    body: JSON.stringify(body),
  })
  expect(answer.status).toBe(status)
  expect(await answer.json()).toMatchObject(
    status === 202 ? { message_uuid: expect.any(String) } : { title: expect.any(String) },
  )
})
