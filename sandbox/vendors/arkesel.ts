import { randomInt, randomUUID } from 'node:crypto'
import express, { Router, type Request, type RequestHandler, type Response } from 'express'
import { z } from 'zod'
import type { Status } from '../words'
import type { Playing, UssdService, Vendor, VendorParts } from './vendor'

const maxKept = 10_000

/** Plays Arkesel: SMS v2 with reports that mostly wait to be asked for, the OTP API, USSD sessions. */
export const arkesel: Vendor = {
  name: 'arkesel',
  health: '/api/v2/clients/balance-details',
  settings: (base) => ({
    API_KEY: 'an-api-key-of-the-fake',
    SENDER: 'Acme',
    USSD_CODE: '*928*77#',
    CALLBACK_SECRET: 'a-callback-secret-of-the-fake',
    ALLOWED_IPS: '127.0.0.0/8,::1',
    BASE_URL: base,
  }),
  routes(parts) {
    const router = Router()
    const messages = new Map<string, SentMessage>()
    const otps = new Map<string, Otp>()
    router.use(requireKey(parts), express.json())
    router.post('/api/v2/sms/send', (req, res) => takeMessage(parts, messages, req, res))
    router.get('/api/v2/sms/:id', (req, res) => {
      const data = messages.get(req.params.id)
      if (data) res.json({ status: 'success', data: { ID: req.params.id, ...dataOf(data) } })
      else fail(res, { status: 404, message: 'message does not exist' })
    })
    router.post('/api/v2/sms/message-reports', (req, res) => reportAll(messages, req, res))
    router.get('/api/v2/clients/balance-details', (_req, res) => {
      res.json({ status: 'success', data: { sms_balance: '1,250', main_balance: 'GHS 36.20' } })
    })
    router.post('/api/otp/generate', (req, res) => generate(parts, otps, req, res))
    router.post('/api/otp/verify', (req, res) => verify(otps, req, res))
    return router
  },
  ussd: (parts) => serviceOf(parts),
}

function requireKey({ settings }: VendorParts): RequestHandler {
  return (req, res, next) => {
    if (req.get('api-key') === settings['API_KEY']) return next()
    fail(res, { status: 403, message: 'Invalid API key or inactive gateway' })
  }
}

interface Refusal {
  status: number
  message: string
  errors?: Record<string, string[]>
}

const fail = (res: Response, { status, message, errors }: Refusal): void =>
  void res.status(status).json({ status: 'error', message, ...(errors && { errors }) })

/** The body, or an answer that names the fields at fault. */
function read<T extends z.ZodType>(schema: T, req: Request, res: Response): z.infer<T> | undefined {
  const { data, error } = schema.safeParse(req.body)
  if (error) {
    const errors = Object.fromEntries(
      error.issues.map(({ path, message }) => [path.join('.'), [message]]),
    )
    fail(res, { status: 422, message: 'The given data was invalid.', errors })
  }
  return data
}

/** As the service takes them: international without `+`, or those of Ghana in national form. */
const PhoneNumber = z.string().regex(/^([1-9]\d{9,14}|0\d{9})$/)
const e164 = (number: string) => (number.startsWith('0') ? `+233${number.slice(1)}` : `+${number}`)

const Sms = z.object({
  sender: z.string().min(1).max(11),
  message: z.string().min(1).max(1_600),
  recipients: z.array(z.string()).length(1),
  callback_url: z.url().optional(),
  use_case: z.enum(['promotional', 'transactional']).optional(),
  sandbox: z.boolean().optional(),
})

type Word = 'QUEUED' | 'SUBMITTED' | 'DELIVERED' | 'NOT_DELIVERED' | 'PROHIBITED' | 'EXPIRED'

interface SentMessage {
  sender: string
  recipient: string
  message: string
  at: Date
  status: Word
}

const dataOf = ({ at, ...message }: SentMessage) => ({
  ...message,
  message_count: 1,
  sent_at_time: at.toISOString().slice(0, 19).replace('T', ' '),
})

function keep<T>(kept: Map<string, T>, key: string, value: T) {
  kept.delete(key)
  kept.set(key, value)
  const oldest = kept.size > maxKept ? kept.keys().next().value : undefined
  if (oldest !== undefined) kept.delete(oldest)
}

async function takeMessage(
  parts: VendorParts,
  messages: Map<string, SentMessage>,
  req: Request,
  res: Response,
): Promise<void> {
  const sms = read(Sms, req, res)
  if (!sms) return
  const [recipient = ''] = sms.recipients
  const invalid = (): void =>
    void res.json({ status: 'success', data: [{ 'invalid numbers': [recipient] }] })
  if (!PhoneNumber.safeParse(recipient).success) return invalid()
  const to = e164(recipient)
  if (to.startsWith('+234') && sms.use_case === undefined)
    return fail(res, { status: 422, message: 'Invalid.', errors: { use_case: ['is required'] } })
  const id = randomUUID()
  const accept = (): void => void res.json({ status: 'success', data: [{ recipient, id }] })
  const take = (status: Word) => {
    const { sender, message } = sms
    keep(messages, id, { sender, recipient, message, at: new Date(), status })
  }
  const refuse: Playing['refuse'] = (_res, { status, errorCode, retryAfterSeconds }) => {
    if (errorCode === 'INVALID_NUMBER') return invalid()
    if (errorCode === 'BLOCKED') {
      // It takes a message to a blocked number, and then does not deliver it.
      take('PROHIBITED')
      return accept()
    }
    if (retryAfterSeconds !== undefined) res.set('retry-after', String(retryAfterSeconds))
    fail(res, { status, message: 'Something went wrong.' })
  }
  if (sms.sandbox) {
    take('QUEUED')
    return accept()
  }
  const message = { provider: 'arkesel', channel: 'sms' as const, to, text: sms.message }
  await parts.play(res, message, {
    id,
    accept,
    taken: () => take('QUEUED'),
    refuse,
    report: (status) => report(parts, { id, kept: messages.get(id), sms, status }),
  })
}

const wordOf: Partial<Record<Status, Word>> = {
  sent: 'SUBMITTED',
  delivered: 'DELIVERED',
  declined: 'NOT_DELIVERED',
  failed: 'NOT_DELIVERED',
  expired: 'EXPIRED',
}

interface SmsEvent {
  id: string
  kept: SentMessage | undefined
  sms: z.infer<typeof Sms>
  status: Status
}

/** Calls back for a delivery only: whoever wants to know of a failure has to ask. */
async function report(parts: VendorParts, { id, kept, sms, status }: SmsEvent) {
  const word = wordOf[status]
  if (!word || !kept) return
  kept.status = word
  if (word !== 'DELIVERED' || sms.callback_url === undefined) return
  const url = new URL(sms.callback_url)
  url.searchParams.set('sms_id', id)
  url.searchParams.set('status', word)
  await parts.deliver({ url: url.href })
}

function reportAll(messages: Map<string, SentMessage>, req: Request, res: Response) {
  const body = read(z.object({ msg_ids: z.array(z.string()).min(1).max(1_000) }), req, res)
  if (!body) return
  const reportOf = (id: string) => {
    const message = messages.get(id)
    return message ? dataOf(message) : { status: 'error', response: 'message does not exist' }
  }
  const data = Object.fromEntries(body.msg_ids.map((id) => [id, reportOf(id)]))
  res.json({ status: 'success', data })
}

interface Otp {
  code: string
  until: number
}

const Generate = z.object({
  expiry: z.int().min(1).max(10),
  length: z.int().min(6).max(15),
  medium: z.enum(['sms', 'voice']),
  message: z.string().regex(/%otp_code%/),
  number: z.string(),
  sender_id: z.string().min(1).max(11),
  type: z.enum(['numeric', 'alphanumeric']),
})

const say = (res: Response, status: number, code: string, message: string): void =>
  void res.status(status).json({ code, message })

/** Makes a code of its own, which takes the place of the one before it. */
async function generate(
  parts: VendorParts,
  otps: Map<string, Otp>,
  { body }: Request,
  res: Response,
): Promise<void> {
  const { data: wish } = Generate.safeParse(body)
  if (!wish) return say(res, 422, '1001', 'Validation error')
  const { expiry, length, medium, number } = wish
  if (!PhoneNumber.safeParse(number).success) return say(res, 422, '1005', 'Invalid phone number')
  const code = Array.from({ length }, () => randomInt(10)).join('')
  const spoken = medium === 'voice' ? [...code].join(' ') : code
  const text = wish.message.replace('%otp_code%', spoken).replace('%expiry%', String(expiry))
  if (medium === 'voice' && text.length > 500) return say(res, 422, '1009', 'Message is too long')
  const to = e164(number)
  await parts.play(
    res,
    { provider: 'arkesel', channel: medium, to, text, code, validForSeconds: expiry * 60 },
    {
      id: randomUUID(),
      accept: () =>
        void res.json({ code: '1000', ussd_code: '*928*01#', message: 'Successful, OTP is sent' }),
      taken: () => keep(otps, to, { code, until: Date.now() + expiry * 60_000 }),
      refuse: (_res, { status, errorCode }) => {
        if (errorCode === 'INVALID_NUMBER') return say(res, 422, '1005', 'Invalid phone number')
        if (errorCode === 'BLOCKED') return say(res, 422, '1006', 'Country is not allowed')
        say(res, status, '1011', 'Internal error')
      },
    },
  )
}

/** A code is good once. */
function verify(otps: Map<string, Otp>, { body }: Request, res: Response): void {
  const { data } = z
    .object({ number: PhoneNumber, code: z.string().min(6).max(15) })
    .safeParse(body)
  if (!data) return say(res, 422, '1101', 'Validation error')
  const to = e164(data.number)
  const otp = otps.get(to)
  if (otp?.code !== data.code) return say(res, 200, '1104', 'Invalid code')
  otps.delete(to)
  if (otp.until < Date.now()) return say(res, 200, '1105', 'Code has expired')
  say(res, 200, '1100', 'Successful')
}

const Screen = z.object({
  sessionID: z.string(),
  userID: z.string(),
  msisdn: z.string(),
  message: z.string(),
  continueSession: z.boolean(),
})

function serviceOf(parts: VendorParts): UssdService | undefined {
  const { USSD_CODE: serviceCode, CALLBACK_SECRET = '' } = parts.settings
  if (!serviceCode) return undefined
  const [secret = ''] = CALLBACK_SECRET.split(' ')
  return {
    serviceCode,
    async screen({ id, number, inputs }) {
      const session = {
        sessionID: id,
        userID: 'ACME_USSD',
        newSession: inputs.length === 0,
        msisdn: number.slice(1),
        // What was dialled, then what was typed last.
        userData: inputs.at(-1) ?? serviceCode,
        network: 'MTN',
      }
      const answer = await parts.call({
        url: `${parts.productUrl()}/ussd/arkesel/${secret}`,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(session),
      })
      const { sessionID, userID, msisdn, message, continueSession } = Screen.parse(
        JSON.parse(answer),
      )
      if (sessionID !== id || userID !== session.userID || msisdn !== session.msisdn)
        throw new Error('The answer is for another session.')
      return { text: message, ends: !continueSession }
    },
  }
}
