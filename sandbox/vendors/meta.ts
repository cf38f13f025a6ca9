import { createHmac, randomBytes } from 'node:crypto'
import express, { Router, type Request, type RequestHandler, type Response } from 'express'
import { z } from 'zod'
import type { Status } from '../words'
import { listed, type Playing, type Vendor, type VendorParts } from './vendor'

/** Plays Meta's WhatsApp Cloud API: templates, signed batches of statuses. */
export const meta: Vendor = {
  name: 'meta',
  health: '/:version/:phone',
  settings: (base) => ({
    ACCESS_TOKEN: 'EAAG-a-token-of-the-fake',
    PHONE_NUMBER_ID: '106540352242922',
    APP_SECRET: '0123456789abcdef0123456789abcdef',
    VERIFY_TOKEN: 'a-verify-token-of-the-fake',
    TEMPLATE: 'otp_code',
    TEMPLATE_LANGUAGES: 'en_US,fr',
    BASE_URL: base,
  }),
  routes(parts) {
    const router = Router()
    const phone = '/:version/:phone'
    router.use(phone, requireToken(parts))
    router.post(`${phone}/messages`, express.json(), (req, res) => takeMessage(parts, req, res))
    router.get(phone, (req, res) => {
      const id = req.params.phone
      const can_send_message = 'AVAILABLE'
      const entities = [{ entity_type: 'PHONE_NUMBER', id, can_send_message }]
      const isAsked = req.query['fields'] === 'health_status'
      res.json({ id, ...(isAsked && { health_status: { can_send_message, entities } }) })
    })
    return router
  },
  reply: (parts, { from, text }) => {
    const id = from.replace(/^\+/, '')
    const message = {
      ...{ from: id, id: newId(), timestamp: String(Math.floor(Date.now() / 1_000)) },
      ...{ type: 'text', text: { body: text } },
    }
    const contacts = [{ profile: { name: 'A person' }, wa_id: id }]
    return parts.call(signedBatch(parts, { contacts, messages: [message] }))
  },
}

/** An error as the Graph API answers one. */
function fail(
  res: Response,
  { status, code, details }: Record<'status' | 'code', number> & { details: string },
) {
  const type = code === 190 ? 'OAuthException' : 'GraphMethodException'
  const error_data = { messaging_product: 'whatsapp', details }
  const message = `(#${code}) ${details}`
  res.status(status).json({
    error: { message, type, code, error_data, fbtrace_id: randomBytes(8).toString('hex') },
  })
}

function requireToken({ settings }: VendorParts): RequestHandler {
  return (req, res, next) => {
    if (req.get('authorization') !== `Bearer ${settings['ACCESS_TOKEN']}`)
      return fail(res, { status: 401, code: 190, details: 'Invalid OAuth access token.' })
    const isKnown = req.params['phone'] === settings['PHONE_NUMBER_ID']
    if (!isKnown || !/^v\d+\.\d$/.test(String(req.params['version'])))
      return fail(res, { status: 400, code: 100, details: 'Object with this ID does not exist.' })
    next()
  }
}

const parameter = z.tuple([z.object({ type: z.literal('text'), text: z.string().min(1).max(15) })])
const Outbound = z.object({
  messaging_product: z.literal('whatsapp'),
  recipient_type: z.literal('individual').optional(),
  to: z.string().regex(/^\+?[1-9]\d{6,14}$/),
  type: z.literal('template'),
  template: z.object({
    name: z.string(),
    language: z.object({ code: z.string() }),
    components: z.tuple([
      z.object({ type: z.literal('body'), parameters: parameter }),
      z.object({
        type: z.literal('button'),
        sub_type: z.literal('url'),
        index: z.literal('0'),
        parameters: parameter,
      }),
    ]),
  }),
  biz_opaque_callback_data: z.string().max(512).optional(),
})
type Outbound = z.infer<typeof Outbound>

async function takeMessage(parts: VendorParts, req: Request, res: Response): Promise<void> {
  const { data: message, error } = Outbound.safeParse(req.body)
  if (!message) {
    const inTemplate = error.issues[0]?.path.includes('components') ?? false
    const details = error.issues.map(({ path, message: fault }) => `${path.join('.')}: ${fault}`)
    return fail(res, { status: 400, code: inTemplate ? 132000 : 100, details: details.join('; ') })
  }
  const { name, language, components } = message.template
  const languages = listed(parts.settings['TEMPLATE_LANGUAGES'], 'en')
  if (name !== parts.settings['TEMPLATE'] || !languages.includes(language.code))
    return fail(res, { status: 404, code: 132001, details: 'No such template in this language.' })
  const [{ text: code }] = components[0].parameters
  if (components[1].parameters[0].text !== code)
    return fail(res, { status: 400, code: 132012, details: 'The button copies another code.' })
  const id = newId()
  const to = message.to.replace(/^\+/, '')
  const text = `${name} (${language.code}): ${code}`
  await parts.play(
    res,
    { provider: 'meta', channel: 'whatsapp', to: `+${to}`, text, code },
    {
      id,
      accept: () => {
        const contacts = [{ input: message.to, wa_id: to }]
        const messages = [{ id, message_status: 'accepted' }]
        res.json({ messaging_product: 'whatsapp', contacts, messages })
      },
      refuse,
      report: (status) => report(parts, { id, message, status }),
    },
  )
}

const refuse: Playing['refuse'] = (res, { status, errorCode, retryAfterSeconds }) => {
  if (retryAfterSeconds !== undefined) res.set('retry-after', String(retryAfterSeconds))
  if (errorCode === 'INVALID_NUMBER')
    return fail(res, { status: 400, code: 131026, details: 'Message undeliverable.' })
  if (errorCode === 'BLOCKED')
    return fail(res, { status: 400, code: 131050, details: 'The user has opted out.' })
  const ofStatus: Readonly<Record<number, number>> = { 401: 190, 403: 10, 429: 130429 }
  const code = ofStatus[status] ?? 131000
  fail(res, { status, code, details: 'Something went wrong.' })
}

const newId = () => `wamid.${randomBytes(24).toString('base64')}`

/** What Meta says of what happened; undefined where it says nothing. */
const wordOf: Partial<Record<Status, { status: string; code?: number }>> = {
  sent: { status: 'sent' },
  delivered: { status: 'delivered' },
  read: { status: 'read' },
  declined: { status: 'failed', code: 131049 },
  failed: { status: 'failed', code: 131026 },
  expired: { status: 'failed', code: 131000 },
}

async function report(
  parts: VendorParts,
  { id, message, status }: { id: string; message: Outbound; status: Status },
): Promise<void> {
  const word = wordOf[status]
  if (!word) return
  const { biz_opaque_callback_data } = message
  const recipient_id = message.to.replace(/^\+/, '')
  const errors = word.code && [{ code: word.code, title: 'Failed', message: 'It failed – sorry.' }]
  const sent = {
    ...{ id, status: word.status, recipient_id, biz_opaque_callback_data },
    timestamp: String(Math.floor(Date.now() / 1_000)),
    pricing: { billable: true, pricing_model: 'PMP', category: 'authentication' },
    ...(errors && { errors }),
  }
  await parts.deliver(signedBatch(parts, { statuses: [sent] }))
}

/** At the one address that a Meta app has. */
function signedBatch({ settings, productUrl }: VendorParts, value: object) {
  const body = batchOf(settings['PHONE_NUMBER_ID'], value)
  const [secret = ''] = (settings['APP_SECRET'] ?? '').split(' ')
  const signature = createHmac('sha256', secret).update(body).digest('hex')
  const headers = {
    'content-type': 'application/json',
    'x-hub-signature-256': `sha256=${signature}`,
  }
  return { url: `${productUrl()}/webhooks/meta`, headers, body }
}

/** With slashes and other letters than ASCII's escaped, as Meta writes JSON. */
function batchOf(phone_number_id: string | undefined, said: object): string {
  const metadata = { display_phone_number: '15550783881', phone_number_id }
  const value = { messaging_product: 'whatsapp', metadata, ...said }
  const entry = [{ id: '102290129340398', changes: [{ value, field: 'messages' }] }]
  return JSON.stringify({ object: 'whatsapp_business_account', entry })
    .replaceAll('/', '\\/')
    .replace(
      /[\u0080-\uffff]/g,
      (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
}
