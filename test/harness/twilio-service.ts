import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll } from '@jest/globals'
import { createProviders, type AccountConfig } from '../../providers'
import { type Message, type ProviderAccount, ProviderFault } from '../../providers/provider'

export const accountSid = `AC${'0123456789abcdef'.repeat(2)}`
export const keySid = `SK${'0123456789abcdef'.repeat(2)}`
export const serviceSid = `MG${'0123456789abcdef'.repeat(2)}`
export const english = `HX${'e'.repeat(32)}`
export const french = `HX${'f'.repeat(32)}`
export const messageSid = `SM${'a'.repeat(32)}`
export const to = '+233241234567'
export const from = '+14155550100'
export const callbackUrl = 'https://otp.example.com/webhooks/twilio/token'

interface Seen {
  method: string
  path: string
  query: URLSearchParams
  authorization: string | undefined
  contentType: string | undefined
  form: URLSearchParams
}

/** What came to where Twilio's API is, and how the next call is answered; import it once at the top of a test file. */
export const service = {
  seen: [] as Seen[],
  answer: { status: 500, body: '' } as {
    status: number
    body: unknown
    headers?: Record<string, string>
  },
}
const server = createServer((req, res) => {
  void read(req).then((body) => {
    const url = new URL(req.url ?? '', 'http://localhost')
    service.seen.push({
      method: req.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      authorization: req.headers.authorization,
      contentType: req.headers['content-type'],
      form: new URLSearchParams(body),
    })
    const { answer } = service
    const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body)
    res.writeHead(answer.status, answer.headers).end(text)
  })
})
let base = ''
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
afterEach(() => void (service.seen = []))

async function read(req: IncomingMessage) {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

export const config = (name = 'twilio'): AccountConfig => ({
  name,
  adapter: 'twilio',
  channels: ['sms', 'voice', 'whatsapp'],
  test: false,
})
export const variables = (more: Record<string, string | undefined> = {}) => ({
  TWILIO_ACCOUNT_SID: accountSid,
  TWILIO_AUTH_TOKEN: 'the-auth-token',
  TWILIO_FROM: from,
  TWILIO_VOICE_FROM: from,
  TWILIO_WHATSAPP_FROM: from,
  TWILIO_WHATSAPP_CONTENT_SID: english,
  TWILIO_BASE_URL: base,
  TWILIO_LOOKUP_BASE_URL: base,
  ...more,
})

export function account(more: Record<string, string | undefined> = {}): ProviderAccount {
  const made = createProviders([config()], variables(more)).get('twilio')
  if (!made) throw new Error('no account')
  return made
}

const message = (more: Partial<Message> = {}): Message => ({
  requestId: 'otp_abc',
  attemptId: 'att_1',
  channel: 'sms',
  to,
  code: '482913',
  text: 'Your Acme code is 482913 & more',
  locale: 'en',
  brand: 'Acme',
  callbackUrl,
  validForSeconds: 287,
  notAfter: Infinity,
  ...more,
})

export const soon = () => AbortSignal.timeout(5_000)
export const send = (given: Partial<Message> = {}, more: Record<string, string | undefined> = {}) =>
  account(more).sender.send(message(given), soon())
export const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => {
      if (!(error instanceof ProviderFault)) throw error
      return error
    },
  )
export const created = { status: 201, body: { sid: messageSid, status: 'queued', price: null } }
export const basic = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`

export function only(): Seen {
  const [one, another] = service.seen
  if (!one || another) throw new Error(`${service.seen.length} calls`)
  return one
}
export const fields = () => Object.fromEntries(only().form)
