import { randomBytes, randomUUID } from 'node:crypto'
import express, { Router, type Request, type RequestHandler, type Response } from 'express'
import { z } from 'zod'
import type { Entry } from '../inbox'
import type { Status } from '../words'
import { codeIn, type Playing, type UssdService, type Vendor, type VendorParts } from './vendor'

const listenTries = 3
const listenPauseMs = 500

/** Plays Africa's Talking: SMS, calls that ask the dashboard's callback what to say, USSD sessions. */
export const africasTalking: Vendor = {
  name: 'africas-talking',
  health: '/version1/user',
  settings: (base) => ({
    USERNAME: 'acme',
    API_KEY: 'an-api-key-of-the-fake',
    SENDER: 'ACME',
    VOICE_NUMBER: '+254711082000',
    USSD_CODE: '*384*77#',
    CALLBACK_SECRET: 'a-callback-secret-of-the-fake',
    ALLOWED_IPS: '127.0.0.0/8,::1',
    BASE_URL: base,
  }),
  routes(parts) {
    const router = Router()
    router.use(requireKey(parts), express.urlencoded({ extended: false }))
    router.post('/version1/messaging', (req, res) => takeMessage(parts, req, res))
    router.post('/call', (req, res) => takeCall(parts, req, res))
    router.get('/version1/user', (req, res) => {
      if (req.query['username'] !== parts.settings['USERNAME']) return unknown(res)
      res.json({ UserData: { balance: 'KES 1785.5000' } })
    })
    return router
  },
  ussd: (parts) => serviceOf(parts),
  reply: (parts, { from, text }) => {
    const fields = {
      ...{ from, text, to: parts.settings['SENDER'] ?? '21500', id: randomUUID() },
      ...{ linkId: randomUUID(), date: new Date().toISOString(), networkCode: '63902' },
    }
    return parts.call(formCall(`${addressOf(parts)}/inbound`, fields))
  },
}

const unknown = (res: Response): void =>
  void res.status(401).type('text').send('The supplied authentication is invalid')

function requireKey({ settings }: VendorParts): RequestHandler {
  return (req, res, next) => {
    if (req.get('apiKey') !== settings['API_KEY']) return unknown(res)
    if (req.get('accept') === 'application/json') return next()
    res.status(406).type('text').send('XML is what you would get')
  }
}

/** The form, when it is this app's and whole. */
function read<T extends z.ZodType<{ username: string }>>(
  { settings }: VendorParts,
  schema: T,
  req: Request,
  res: Response,
): z.infer<T> | undefined {
  const { data, error } = schema.safeParse(req.body)
  if (data?.username === settings['USERNAME']) return data
  const wrong = error?.issues.map(({ path }) => path.join('.')).join(', ')
  if (wrong === undefined) unknown(res)
  else res.status(400).type('text').send(`Bad request: ${wrong}`)
  return undefined
}

const PhoneNumber = z.string().regex(/^\+[1-9]\d{7,14}$/)
const newId = (prefix: string) => prefix + randomBytes(16).toString('hex')

const Sms = z.object({
  username: z.string(),
  to: z.string().min(1),
  message: z.string().min(1),
  from: z.string().min(1).optional(),
  bulkSMSMode: z.literal('1'),
  enqueue: z.enum(['0', '1']).optional(),
})

async function takeMessage(parts: VendorParts, req: Request, res: Response): Promise<void> {
  const sms = read(parts, Sms, req, res)
  if (!sms) return
  const { to: number, message: text, from } = sms
  const answer = (Message: string, Recipients: object[]): void =>
    void res.status(201).json({ SMSMessageData: { Message, Recipients } })
  const refused = (statusCode: number, status: string): void =>
    answer('Sent to 0/1 Total Cost: 0', [
      { statusCode, number, status, cost: '0', messageId: 'None' },
    ])
  if (from !== undefined && from !== parts.settings['SENDER']) return answer('InvalidSenderId', [])
  if (!PhoneNumber.safeParse(number).success) return refused(403, 'InvalidPhoneNumber')
  const id = newId('ATXid_')
  const taken = { statusCode: 101, number, status: 'Success', cost: 'KES 0.8000', messageId: id }
  await parts.play(
    res,
    { provider: 'africas-talking', channel: 'sms', to: number, text },
    {
      id,
      accept: () => answer('Sent to 1/1 Total Cost: KES 0.8000', [taken]),
      refuse: (_res, refusal) => {
        if (refusal.errorCode === 'INVALID_NUMBER') return refused(403, 'InvalidPhoneNumber')
        if (refusal.errorCode === 'BLOCKED') return refused(406, 'UserInBlacklist')
        refusePlainly(res, refusal)
      },
      report: (status) => reportMessage(parts, { id, phoneNumber: number, status }),
    },
  )
}

const refusePlainly: Playing['refuse'] = (res, { status, retryAfterSeconds }) => {
  if (retryAfterSeconds !== undefined) res.set('retry-after', String(retryAfterSeconds))
  res.status(status).type('text').send('Something went wrong')
}

const reportOf: Partial<Record<Status, { status: string; failureReason?: string }>> = {
  queued: { status: 'Submitted' },
  sent: { status: 'Sent' },
  delivered: { status: 'Success' },
  failed: { status: 'Failed', failureReason: 'UserDoesNotExist' },
  declined: { status: 'Rejected', failureReason: 'DeliveryFailure' },
  expired: { status: 'Expired' },
}

const formCall = (url: string, fields: Record<string, string>) => ({
  url,
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: new URLSearchParams(fields).toString(),
})

const secretIn = ({ settings }: VendorParts) => (settings['CALLBACK_SECRET'] ?? '').split(' ')[0]

/** At the address that the dashboard has for all messages. */
const addressOf = (parts: VendorParts) =>
  `${parts.productUrl()}/webhooks/africas-talking/secret/${secretIn(parts)}`

async function reportMessage(
  parts: VendorParts,
  { id, phoneNumber, status }: { id: string; phoneNumber: string; status: Status },
) {
  const report = reportOf[status]
  if (!report) return
  const fields = { id, phoneNumber, networkCode: '63902', retryCount: '0', ...report }
  await parts.deliver(formCall(addressOf(parts), fields))
}

const Call = z.object({
  username: z.string(),
  from: PhoneNumber,
  to: z.string().min(1),
  clientRequestId: z.string().min(1).optional(),
})

async function takeCall(parts: VendorParts, req: Request, res: Response): Promise<void> {
  const call = read(parts, Call, req, res)
  if (!call) return
  const sessionId = newId('ATVId_')
  const answer = (status: string, errorMessage: string) => {
    const entry = { phoneNumber: call.to, status, sessionId: status === 'Queued' ? sessionId : '' }
    res.json({ entries: [entry], errorMessage })
  }
  if (call.from !== parts.settings['VOICE_NUMBER'])
    return void res.json({ entries: [], errorMessage: 'Invalid callerId' })
  if (!PhoneNumber.safeParse(call.to).success) return answer('InvalidPhoneNumber', 'None')
  await parts.play(
    res,
    {
      provider: 'africas-talking',
      channel: 'voice',
      to: call.to,
      text: 'The phone rings.',
      code: '',
    },
    {
      id: sessionId,
      accept: () => answer('Queued', 'None'),
      refuse: (_res, refusal) => {
        if (refusal.errorCode === 'INVALID_NUMBER') return answer('InvalidPhoneNumber', 'None')
        if (refusal.errorCode === 'BLOCKED') return answer('DestinationNotSupported', 'None')
        refusePlainly(res, refusal)
      },
      report: (status, entry) => reportCall(parts, { sessionId, call, status, entry }),
    },
  )
}

interface CallEvent {
  sessionId: string
  call: z.infer<typeof Call>
  status: Status
  entry: Entry | undefined
}

const hangupOf: Partial<Record<Status, string>> = {
  answered: 'NORMAL_CLEARING',
  declined: 'USER_BUSY',
  failed: 'NO_ANSWER',
  expired: 'NO_USER_RESPONSE',
}

async function reportCall(parts: VendorParts, { sessionId, call, status, entry }: CallEvent) {
  const hangupCause = hangupOf[status]
  if (!hangupCause) return
  const base = {
    sessionId,
    direction: 'Outbound',
    callerNumber: call.to,
    destinationNumber: call.from,
    ...(call.clientRequestId && { clientRequestId: call.clientRequestId }),
  }
  const url = `${addressOf(parts)}/answer`
  if (status === 'answered')
    await listen(parts, entry, (fields) =>
      formCall(url, { ...base, isActive: '1', callSessionState: 'Active', ...fields }),
    )
  const isHeard = status === 'answered'
  await parts.deliver(
    formCall(url, {
      ...base,
      isActive: '0',
      callSessionState: 'Completed',
      durationInSeconds: isHeard ? '14' : '0',
      amount: isHeard ? '1.4000' : '0',
      currencyCode: 'KES',
      hangupCause,
    }),
  )
}

type Asking = (fields: Record<string, string>) => Parameters<VendorParts['call']>[0]

/** The user hears what the product has to say, and presses a key where it asks for one. */
async function listen(parts: VendorParts, entry: Entry | undefined, asking: Asking) {
  for (let tries = 0; tries < listenTries; tries++) {
    try {
      const first = await parts.call(asking({}))
      const asks = /<GetDigits[^>]*>/.test(first)
      const said = asks ? await parts.call(asking({ dtmfDigits: '1' })) : first
      if (entry) entry.text = [asks ? spokenBy(first) : '', spokenBy(said)].join(' ').trim()
      if (entry) entry.code = codeIn(spokenBy(said))
      return
    } catch {
      await parts.timers.wait(listenPauseMs)
    }
  }
}

const letters: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }

/** What an ear makes of every `Say`. */
const spokenBy = (xml: string): string =>
  [...xml.matchAll(/<Say>([^<]*)<\/Say>/g)]
    .map(([, words = '']) => words.replace(/&(\w+);/g, (_all, name: string) => letters[name] ?? ''))
    .join(' ')

function serviceOf(parts: VendorParts): UssdService | undefined {
  const serviceCode = parts.settings['USSD_CODE']
  if (!serviceCode) return undefined
  return {
    serviceCode,
    async screen({ id, number, inputs }) {
      const url = `${parts.productUrl()}/ussd/africas-talking/${secretIn(parts)}`
      const session = { sessionId: id, serviceCode, phoneNumber: number, networkCode: '63902' }
      const said = await parts.call(formCall(url, { ...session, text: inputs.join('*') }))
      const [, verb, text] = /^(CON|END) ([^]*)$/.exec(said) ?? []
      if (verb === undefined || text === undefined) throw new Error('It says neither CON nor END.')
      if (verb === 'END') {
        const ended = { ...session, status: 'Success', durationInMillis: '4200', hopsCount: '1' }
        await parts.deliver(formCall(url, ended))
      }
      return { text, ends: verb === 'END' }
    },
  }
}
