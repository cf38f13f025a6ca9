import { type Request, type Response, Router, urlencoded } from 'express'
import type { Entry } from '../inbox'
import type { Status } from '../words'
import { PlayedCall } from './twilio-call'
import { type Fields, faultOfCall, faultOfMessage, messageOf, text } from './twilio-checks'
import { basicAuth, newSid, readScript, refuse, signedForm, timeNow } from './twilio-wire'
import type { Playing, Vendor, VendorParts } from './vendor'

const keptAtMost = 1_000
const sender = '+14155550100'

/** A message or a call, as the lists show it. */
interface Resource {
  sid: string
  to: string
  from: string | null
  messaging_service_sid: string | null
  status: string
  direction: 'outbound-api'
  date_created: string
  price: null
  price_unit: 'USD'
}

interface Kept {
  resource: Resource
  takesFeedback: boolean
  /** On its phone. */
  entry?: Entry | undefined
}

/** Callbacks are signed with the account's first token. */
const tokenOf = ({ AUTH_TOKEN = '' }: VendorParts['settings']) => AUTH_TOKEN.split(' ')[0] ?? ''

/** Plays Twilio: messages, calls, their lists, feedback, look-ups, and callbacks signed as its own are. */
export const twilio: Vendor = {
  name: 'twilio',
  settings: (base) => ({
    ACCOUNT_SID: `AC${'5a'.repeat(16)}`,
    AUTH_TOKEN: 'auth-token-of-the-played-twilio',
    FROM: sender,
    VOICE_FROM: sender,
    WHATSAPP_FROM: sender,
    WHATSAPP_CONTENT_SID: `HX${'5a'.repeat(16)}`,
    BASE_URL: base,
    LOOKUP_BASE_URL: base,
  }),
  routes: (parts) => routesOf(parts, new Twilio(parts)),
  reply: (parts, { from: number, text: Body, channel }) => {
    const { settings } = parts
    const { ACCOUNT_SID: AccountSid = '', FROM: To = sender } = settings
    const spoken = channel === 'whatsapp' ? 'whatsapp:' : ''
    const fields = {
      ...{ MessageSid: newSid('SM'), AccountSid, Body },
      ...{ From: spoken + number, To: spoken + To },
    }
    const url = `${parts.productUrl()}/webhooks/twilio/inbound`
    return parts.call(signedForm(url, fields, tokenOf(settings)))
  },
}

const fieldsOf = ({ body }: Request) => (body ?? {}) as Fields

function routesOf({ settings, outage }: VendorParts, played: Twilio): Router {
  const router = Router()
  const account = '/2010-04-01/Accounts/:account'
  router.use(basicAuth(settings))
  router.get(`${account}.json`, (req, res) => {
    const status = outage()
    if (status !== undefined) return refuse(res, refusalOf(status, 'SCRIPTED', 'everybody'))
    res.json({ sid: req.params.account, status: 'active', type: 'Full' })
  })
  router.get(`${account}/Messages.json`, (req, res) => {
    res.json({ messages: played.listed('messages', req.query), next_page_uri: null })
  })
  router.get(`${account}/Calls.json`, (req, res) => {
    res.json({ calls: played.listed('calls', req.query), next_page_uri: null })
  })
  router.get('/v2/PhoneNumbers/:number', (req, res) => {
    res.json(lineOf(req.params.number, req.query['Fields']))
  })
  // Anything but a form has no fields, as far as Twilio is concerned.
  router.use(urlencoded({ extended: false, limit: '64kb' }))
  router.post(`${account}/Messages.json`, (req, res) => played.takeMessage(fieldsOf(req), res))
  router.post(`${account}/Calls.json`, (req, res) => played.takeCall(fieldsOf(req), res))
  router.post(`${account}/Messages/:sid/Feedback.json`, (req, res) => {
    played.takeFeedback(req.params.sid, text(fieldsOf(req)['Outcome']), res)
  })
  router.use((_req, res) => {
    refuse(res, { status: 404, code: 20404, message: 'The requested resource was not found' })
  })
  return router
}

/** MessageStatus, and ErrorCode where it says why, for the sandbox's words. */
const messageWords: ReadonlyMap<Status, readonly [status: string, errorCode?: string]> = new Map([
  ['queued', ['sending']],
  ['sent', ['sent']],
  ['delivered', ['delivered']],
  ['read', ['read']],
  ['failed', ['undelivered', '30005']],
  ['expired', ['failed', '30036']],
])

class Twilio {
  private readonly kept: Record<'messages' | 'calls', Kept[]> = { messages: [], calls: [] }
  private readonly account: string
  private readonly token: string

  constructor(private readonly parts: VendorParts) {
    this.account = parts.settings['ACCOUNT_SID'] ?? ''
    this.token = tokenOf(parts.settings)
  }

  /** Newest first; of the filters those that otpilot uses. */
  listed(kind: 'messages' | 'calls', query: Request['query']): Resource[] {
    const { To: to, From: from, 'DateSent>': since } = query
    const day = typeof since === 'string' ? Date.parse(since) : 0
    return this.kept[kind]
      .map(({ resource }) => resource)
      .filter((each) => to === undefined || each.to === to)
      .filter((each) => from === undefined || each.from === from)
      .filter((each) => Date.parse(each.date_created) >= day)
      .slice(0, Number(query['PageSize'] ?? 50))
  }

  async takeMessage(fields: Fields, res: Response) {
    const wrong = faultOfMessage(fields)
    if (wrong) return refuse(res, { status: 400, ...wrong })
    const service = text(fields['MessagingServiceSid'])
    const status = service ? 'accepted' : 'queued'
    const resource = { ...resourceOf(fields, 'SM'), status }
    const kept: Kept = { resource, takesFeedback: fields['ProvideFeedback'] === 'true' }
    const url = text(fields['StatusCallback'])
    await this.parts.play(res, messageOf(fields), {
      ...this.answersOf(kept, 'messages'),
      report: async (news, entry) => {
        kept.entry = entry
        const [word, ErrorCode] = messageWords.get(news) ?? []
        if (word === undefined) return
        resource.status = word
        if (!url) return
        const { sid, to, from, messaging_service_sid: MessagingServiceSid } = resource
        await this.tell(url, {
          ...{ MessageSid: sid, MessageStatus: word, SmsSid: sid, SmsStatus: word },
          ...{ AccountSid: this.account, ApiVersion: '2010-04-01' },
          ...{ To: to, From: from ?? sender },
          ...(MessagingServiceSid && { MessagingServiceSid }),
          ...(ErrorCode && { ErrorCode }),
        })
      },
    })
  }

  async takeCall(fields: Fields, res: Response) {
    const wrong = faultOfCall(fields)
    if (wrong) return refuse(res, { status: 400, ...wrong })
    const resource = { ...resourceOf(fields, 'CA'), status: 'queued' }
    const { says, asksAt } = readScript(text(fields['Twiml']))
    const { sid, to, from } = resource
    const call = new PlayedCall({
      named: { CallSid: sid, AccountSid: this.account, To: to, From: from ?? '' },
      events: new Set([fields['StatusCallbackEvent'] ?? 'completed'].flat()),
      statusUrl: text(fields['StatusCallback']),
      detectionUrl: text(fields['MachineDetection']) && text(fields['AsyncAmdStatusCallback']),
      keyUrl: asksAt,
      onStatus: (status) => void (resource.status = status),
      tell: (url, form) => this.tell(url, form),
      ask: (url, form) => this.parts.call(signedForm(url, form, this.token)),
    })
    const message = { provider: 'twilio', channel: 'voice', to, text: says } as const
    await this.parts.play(res, message, {
      ...this.answersOf({ resource, takesFeedback: false }, 'calls'),
      report: (status, entry) => call.report(status, entry),
    })
  }

  /** Feedback shows on the phone as what became of the request. */
  takeFeedback(sid: string, outcome: string, res: Response) {
    const kept = this.kept.messages.find(({ resource }) => resource.sid === sid)
    const wasAsked = kept?.takesFeedback === true
    if (!wasAsked || !['confirmed', 'unconfirmed'].includes(outcome)) {
      const status = wasAsked ? 400 : 404
      return refuse(res, { status, code: wasAsked ? 20001 : 20404, message: 'No such feedback' })
    }
    if (kept.entry) kept.entry.outcome = outcome === 'confirmed' ? 'verified' : 'not_verified'
    res.status(201).json({ message_sid: sid, outcome })
  }

  private answersOf(kept: Kept, kind: 'messages' | 'calls'): Omit<Playing, 'report'> {
    const { resource } = kept
    const all = this.kept[kind]
    return {
      id: resource.sid,
      taken: () => {
        if (all.unshift(kept) > keptAtMost) all.pop()
      },
      accept: (res) => res.status(201).json({ ...resource, num_segments: '1', error_code: null }),
      refuse: (res, { status, errorCode, retryAfterSeconds }) => {
        if (retryAfterSeconds !== undefined) res.set('retry-after', String(retryAfterSeconds))
        refuse(res, refusalOf(status, errorCode, resource.to))
      },
    }
  }

  private tell(url: string, fields: Record<string, string>): Promise<void> {
    return this.parts.deliver(signedForm(url, fields, this.token))
  }
}

const resourceOf = (fields: Fields, kind: string): Omit<Resource, 'status'> => ({
  sid: newSid(kind),
  to: text(fields['To']),
  from: text(fields['From']) || null,
  messaging_service_sid: text(fields['MessagingServiceSid']) || null,
  direction: 'outbound-api',
  date_created: timeNow(),
  price: null,
  price_unit: 'USD',
})

/** Twilio names the number in what it says. */
function refusalOf(status: number, errorCode: string, to: string) {
  if (errorCode === 'INVALID_NUMBER')
    return { status: 400, code: 21211, message: `The 'To' number ${to} is not valid.` }
  if (errorCode === 'BLOCKED')
    return { status: 400, code: 21610, message: `${to} has opted out of messages.` }
  const ofStatus: Readonly<Record<number, number>> = { 401: 20003, 403: 20403, 429: 20429 }
  const code = ofStatus[status] ?? (status >= 500 ? 20500 : 20001)
  return { status, code, message: `Refused for ${to}, as this scenario says.` }
}

/** Every well-formed number is a mobile phone's, with the SIM card that it has long had, and nobody pumps it. */
function lineOf(phoneNumber: string, asked: unknown) {
  const valid = /^\+[1-9]\d{7,14}$/.test(phoneNumber)
  const validation_errors = valid ? [] : ['INVALID_LENGTH']
  const wanted = (field: string) => valid && String(asked).split(',').includes(field)
  const error_code = null
  return {
    phone_number: phoneNumber,
    valid,
    validation_errors,
    line_type_intelligence: wanted('line_type_intelligence')
      ? { type: 'mobile', carrier_name: 'Played Carrier', error_code }
      : null,
    sms_pumping_risk: wanted('sms_pumping_risk')
      ? { sms_pumping_risk_score: 0, number_blocked: false, error_code }
      : null,
    sim_swap: wanted('sim_swap')
      ? {
          last_sim_swap: {
            last_sim_swap_date: '2020-01-01T00:00:00Z',
            swapped_period: 'PT48H',
            swapped_in_period: false,
          },
          carrier_name: 'Played Carrier',
          error_code,
        }
      : null,
  }
}
