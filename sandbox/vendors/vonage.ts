import { createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto'
import express, { Router, type Request, type RequestHandler, type Response } from 'express'
import { jwtVerify } from 'jose'
import { z } from 'zod'
import type { Status } from '../words'
import { listed, type Vendor, type VendorMessage, type VendorParts } from './vendor'
import { takeCall } from './vonage-calls'
import { fail, number, read, refuseAs, signed } from './vonage-wire'

let madeKey: string | undefined
/** One key for as long as the process lives; on one line, as a variable holds it. */
const privateKey = (): string =>
  (madeKey ??= generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString()
    .trim()
    .replaceAll('\n', '\\n'))

/** Plays Vonage: Messages v1, Voice with calls that listen to their NCCO, signed webhooks. */
export const vonage: Vendor = {
  name: 'vonage',
  health: '/account/get-balance',
  settings: (base) => ({
    API_KEY: 'abcd1234',
    API_SECRET: 'a-secret-of-the-fake',
    APPLICATION_ID: '78d335fa-323d-0114-9c3d-d6f0d48968cf',
    PRIVATE_KEY: privateKey(),
    SIGNATURE_SECRET: 'the-fakes-signature-secret-32-chars',
    SMS_FROM: 'Acme',
    VOICE_FROM: '447700900001',
    WHATSAPP_FROM: '447700900002',
    WHATSAPP_TEMPLATE: 'otp_code',
    WHATSAPP_LANGUAGES: 'en_US,fr',
    BASE_URL: base,
    REST_BASE_URL: base,
  }),
  routes(parts) {
    const router = Router()
    const byToken = [requireToken(parts), express.json()]
    router.post('/v1/messages', byToken, (req: Request, res: Response) =>
      takeMessage(parts, req, res),
    )
    router.post('/v1/calls', byToken, (req: Request, res: Response) => takeCall(parts, req, res))
    router.get('/account/get-balance', (req, res) => {
      const { API_KEY, API_SECRET } = parts.settings
      const basic = Buffer.from(`${API_KEY}:${API_SECRET}`).toString('base64')
      if (req.get('authorization') !== `Basic ${basic}`)
        return fail(res, { status: 401, title: 'Unauthorized' })
      res.json({ value: 10.28, autoReload: false })
    })
    return router
  },
  async reply(parts, { from, text, channel }) {
    const sender = channel === 'whatsapp' ? 'WHATSAPP_FROM' : 'SMS_FROM'
    const message = {
      ...{ channel, message_type: 'text', message_uuid: randomUUID(), text },
      ...{ to: parts.settings[sender], from: from.replace(/^\+/, '') },
      timestamp: new Date().toISOString(),
    }
    const url = `${parts.productUrl()}/webhooks/vonage/inbound`
    return parts.call(await signed(parts, url, JSON.stringify(message)))
  },
}

/** RS256 by the application's key, with the claims that Vonage asks for. */
function requireToken({ settings }: VendorParts): RequestHandler {
  return async (req, res, next) => {
    const token = /^Bearer (\S+)$/.exec(req.get('authorization') ?? '')?.[1] ?? ''
    const { PRIVATE_KEY = '', APPLICATION_ID } = settings
    try {
      const key = createPublicKey(PRIVATE_KEY.replaceAll('\\n', '\n'))
      const { payload } = await jwtVerify(token, key, {
        algorithms: ['RS256'],
        requiredClaims: ['iat', 'exp', 'jti'],
        maxTokenAge: '24h',
      })
      if (payload['application_id'] !== APPLICATION_ID) throw new Error('another application')
    } catch {
      return fail(res, { status: 401, title: 'Unauthorized', kind: '#unauthorized' })
    }
    next()
  }
}

const parameter = z.tuple([z.object({ type: z.literal('text'), text: z.string().min(1).max(15) })])
const common = {
  to: number,
  from: z.string().min(1),
  client_ref: z.string().max(100).optional(),
  webhook_url: z.url().optional(),
  webhook_version: z.literal('v1').optional(),
}
const Sms = z.object({
  ...common,
  channel: z.literal('sms'),
  message_type: z.literal('text'),
  text: z.string().min(1).max(1_000),
  ttl: z.int().min(20).max(604_800).optional(),
})
const Template = z.object({
  name: z.string(),
  language: z.object({ policy: z.literal('deterministic'), code: z.string() }),
  components: z.tuple([
    z.object({ type: z.literal('body'), parameters: parameter }),
    z.object({
      type: z.literal('button'),
      sub_type: z.literal('url'),
      index: z.literal('0'),
      parameters: parameter,
    }),
  ]),
})
const WhatsApp = z.object({
  ...common,
  channel: z.literal('whatsapp'),
  message_type: z.literal('custom'),
  custom: z.object({ type: z.literal('template'), template: Template }),
})
const Outbound = z.discriminatedUnion('channel', [Sms, WhatsApp])
type Outbound = z.infer<typeof Outbound>

async function takeMessage(parts: VendorParts, req: Request, res: Response): Promise<void> {
  const message = read(Outbound, req, res)
  if (!message) return
  const { settings } = parts
  if (message.channel === 'whatsapp') {
    const { name, language } = message.custom.template
    const languages = listed(settings['WHATSAPP_LANGUAGES'], 'en')
    if (name !== settings['WHATSAPP_TEMPLATE'] || !languages.includes(language.code))
      return fail(res, { status: 422, title: '1022', detail: 'There is no such template.' })
  }
  const id = randomUUID()
  await parts.play(res, playedMessage(message), {
    id,
    accept: () => void res.status(202).json({ message_uuid: id }),
    refuse: refuseAs(res, '/messages'),
    report: (status) => reportMessage(parts, { id, message, status }),
  })
}

function playedMessage(message: Outbound): VendorMessage {
  const common = { provider: 'vonage', channel: message.channel, to: `+${message.to}` }
  if (message.channel === 'sms')
    return { ...common, text: message.text, validForSeconds: message.ttl }
  const { name, language, components } = message.custom.template
  const [{ text: code }] = components[0].parameters
  return { ...common, text: `${name} (${language.code}): ${code}`, code }
}

/** What Messages v1 says of what happened; undefined where it says nothing. */
const wordOf: Partial<Record<Status, { status: string; code?: string }>> = {
  sent: { status: 'submitted' },
  delivered: { status: 'delivered' },
  read: { status: 'read' },
  declined: { status: 'undeliverable' },
  failed: { status: 'rejected', code: '1190' },
  expired: { status: 'rejected', code: '1360' },
}

async function reportMessage(
  parts: VendorParts,
  { id, message, status }: { id: string; message: Outbound; status: Status },
): Promise<void> {
  const word = wordOf[status]
  if (!word) return
  const { to, from, channel, client_ref, webhook_url } = message
  const kind = `https://developer.vonage.com/api-errors/messages#${word.code}`
  const body = JSON.stringify({
    message_uuid: id,
    ...{ to, from, channel, client_ref },
    timestamp: new Date().toISOString(),
    status: word.status,
    ...(word.code && {
      error: { type: kind, title: word.code, detail: 'It failed.', instance: randomUUID() },
    }),
    ...(channel === 'sms' && { usage: { currency: 'EUR', price: '0.0333' } }),
    destination: { network_code: '62001' },
  })
  await parts.deliver(await signed(parts, webhook_url ?? accountUrl(parts), body))
}

const accountUrl = ({ productUrl }: VendorParts) => `${productUrl()}/webhooks/vonage`
