import { randomUUID } from 'node:crypto'
import express, { Router, type Request, type RequestHandler, type Response } from 'express'
import { z } from 'zod'
import type { Status } from '../words'
import { sends, type Sending } from './infobip-wire'
import type { Playing, Vendor, VendorParts } from './vendor'

/** Reports that fall into this time are one call, as far as they go to one address. */
const batchForMs = 20
const maxBatch = 100

/** Plays Infobip: SMS v3, text-to-speech calls, WhatsApp templates, logs, conversions; reports come in batches. */
export const infobip: Vendor = {
  name: 'infobip',
  health: '/account/1/balance',
  settings: (base) => ({
    BASE_URL: base,
    API_KEY: 'the-api-key-of-the-fake',
    SMS_FROM: 'Acme',
    VOICE_FROM: '447700900011',
    WHATSAPP_FROM: '447700900012',
    WHATSAPP_TEMPLATE: 'otp_code',
  }),
  routes(parts) {
    const router = Router()
    const account: Account = { parts, taken: new Map(), report: reporter(parts) }
    router.use(requireKey(parts), express.json())
    for (const [path, read] of sends)
      router.post(path, (req: Request, res: Response) => takeMessage(account, read, req, res))
    router.get(['/sms/3/logs', '/tts/3/logs', '/whatsapp/2/logs'], (req, res) => {
      const wanted = z.string().catch('').parse(req.query['messageId']).split(',')
      const results = wanted.flatMap((id) => account.taken.get(id) ?? [])
      res.json({ results })
    })
    router.post('/ct/1/log/end/:messageId', (req, res) => {
      const known = account.taken.has(req.params.messageId)
      if (!known) return fail(res, 404, 'NOT_FOUND')
      res.json({ processKey: 'ONE_TIME_PIN' })
    })
    router.get('/account/1/balance', (_req, res) => {
      res.json({ balance: 47.79, currency: 'EUR' })
    })
    return router
  },
  reply: (parts, { from, text, channel }) => {
    const { settings } = parts
    const { CALLBACK_USER: user, CALLBACK_PASSWORD: password, CALLBACK_SECRET } = settings
    const [secret] = (CALLBACK_SECRET ?? '').split(' ')
    const basic = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
    const common = { messageId: randomUUID(), from: from.replace(/^\+/, ''), receivedAt: now() }
    const result =
      channel === 'whatsapp'
        ? {
            ...{ ...common, to: settings['WHATSAPP_FROM'], integrationType: 'WHATSAPP' },
            message: { type: 'TEXT', text },
          }
        : { ...common, to: settings['SMS_FROM'], text, cleanText: text, smsCount: 1 }
    const place = secret ? `infobip/secret/${secret}` : 'infobip'
    return parts.call({
      url: `${parts.productUrl()}/webhooks/${place}/inbound`,
      headers: { 'content-type': 'application/json', ...(user && { authorization: basic }) },
      body: JSON.stringify({ results: [result], messageCount: 1, pendingMessageCount: 0 }),
    })
  },
}

interface Account {
  parts: VendorParts
  /** Every message by its id, as the logs show it. */
  taken: Map<string, object>
  report: ReturnType<typeof reporter>
}

function fail(res: Response, status: number, messageId: string, wrong?: Record<string, string[]>) {
  const serviceException = { messageId, text: messageId, ...(wrong && { validationErrors: wrong }) }
  res.status(status).json({ requestError: { serviceException } })
}

function requireKey({ settings }: VendorParts): RequestHandler {
  return (req, res, next) => {
    if (req.get('authorization') === `App ${settings['API_KEY']}`) next()
    else fail(res, 401, 'UNAUTHORIZED')
  }
}

interface Word {
  groupId: number
  groupName: string
  id: number
  name: string
}
const word = (groupId: number, groupName: string, id: number, name: string): Word => ({
  ...{ groupId, groupName, id, name },
})
const pending = word(1, 'PENDING', 26, 'PENDING_ACCEPTED')
const duplicate = word(5, 'REJECTED', 23, 'REJECTED_DUPLICATE_MESSAGE_ID')
const refusalOf: ReadonlyMap<string, Word> = new Map([
  ['INVALID_NUMBER', word(5, 'REJECTED', 52, 'REJECTED_DESTINATION')],
  ['BLOCKED', word(5, 'REJECTED', 14, 'REJECTED_DESTINATION_BLOCKLISTED')],
])
const delivered = word(3, 'DELIVERED', 5, 'DELIVERED_TO_HANDSET')
const failed = word(2, 'UNDELIVERABLE', 9, 'UNDELIVERABLE_NOT_DELIVERED')
/** What a report says of what happened; nothing of the rest. */
const wordOf: Partial<Record<Status, Word>> = {
  sent: word(3, 'DELIVERED', 2, 'DELIVERED_TO_OPERATOR'),
  delivered,
  answered: delivered,
  declined: word(5, 'REJECTED', 99, 'REJECTED'),
  failed,
  expired: word(4, 'EXPIRED', 15, 'EXPIRED_EXPIRED'),
}
const unanswered = word(2, 'UNDELIVERABLE', 96, 'NO_ANSWER')
const wordFor = ({ channel }: Sending, status: Status): Word | undefined =>
  status === 'failed' && channel === 'voice' ? unanswered : wordOf[status]

async function takeMessage(
  { parts, taken, report }: Account,
  read: z.ZodType<Sending>,
  req: Request,
  res: Response,
): Promise<void> {
  const { data: sending, error } = read.safeParse(req.body)
  if (!sending) {
    const wrong = error.issues.map(({ path, message }) => [memberOf(path), [message]])
    return fail(res, 400, 'BAD_REQUEST', Object.fromEntries(wrong))
  }
  const { messageId, channel, text, code, validForSeconds } = sending
  const answer = (status: Word) =>
    void res.json({
      bulkId: randomUUID(),
      messages: [{ messageId, destination: sending.to, status: { ...status, description: '' } }],
    })
  if (taken.has(messageId)) return answer(duplicate)
  const message = { ...{ provider: 'infobip', channel, text, code }, to: `+${sending.to}` }
  await parts.play(
    res,
    { ...message, validForSeconds },
    {
      id: messageId,
      accept: () => answer(pending),
      taken: () => void taken.set(messageId, logOf(sending, pending)),
      refuse: refuseWith(res, answer),
      report: (status) => {
        const said = wordFor(sending, status)
        if (!said) return Promise.resolve()
        const known = taken.get(messageId)
        // What has come to its end stays so in the logs, whatever report is late.
        if (!known || status !== 'sent') taken.set(messageId, logOf(sending, said))
        return report(sending, said)
      },
    },
  )
}

/** As Infobip names what was wrong: `messages[0].destinations[0].to`. */
const memberOf = (path: PropertyKey[]): string =>
  path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .slice(1)

const refuseWith =
  (res: Response, answer: (status: Word) => void): Playing['refuse'] =>
  (_res, { status, errorCode, retryAfterSeconds }) => {
    const word = refusalOf.get(errorCode)
    if (word) return answer(word)
    if (retryAfterSeconds !== undefined) res.set('retry-after', String(retryAfterSeconds))
    const ofStatus: Readonly<Record<number, string>> = {
      401: 'UNAUTHORIZED',
      403: 'FORBIDDEN',
      429: 'TOO_MANY_REQUESTS',
    }
    fail(res, status, ofStatus[status] ?? 'GENERAL_ERROR')
  }

const now = (): string => new Date().toISOString().replace('Z', '+0000')
const priceOf = ({ channel }: Sending) =>
  channel === 'voice'
    ? { pricePerSecond: 0.002, currency: 'EUR' }
    : { pricePerMessage: 0.0421, currency: 'EUR' }

function logOf(sending: Sending, status: Word) {
  const { bulkId: _, callbackData: __, ...log } = reportOf(sending, status)
  return { ...log, content: { text: sending.text } }
}

function reportOf(sending: Sending, status: Word) {
  const isCall = sending.channel === 'voice'
  const isFailure = status === failed
  return {
    ...{ bulkId: randomUUID(), messageId: sending.messageId, to: sending.to, sender: 'Acme' },
    ...{ sentAt: now(), doneAt: now(), messageCount: 1, mccMnc: '62001' },
    callbackData: sending.callbackData,
    price: priceOf(sending),
    status: { ...status, description: '' },
    error: {
      ...(isFailure
        ? { groupId: 1, groupName: 'HANDSET_ERRORS', id: 1, name: 'EC_UNKNOWN_SUBSCRIBER' }
        : { groupId: 0, groupName: 'OK', id: 0, name: 'NO_ERROR' }),
      ...{ description: '', permanent: isFailure || status === unanswered },
    },
    ...(isCall && { voiceCall: { answerTime: now(), duration: 12, answeredBy: 'HUMAN' } }),
  }
}

/** Gathers reports for a moment, and then tells each address of all of its own. */
function reporter(parts: VendorParts) {
  const { settings, timers } = parts
  const gathering = new Map<string, { results: object[]; told: Promise<void> }>()

  async function tell(url: string, results: object[]): Promise<void> {
    await timers.wait(batchForMs)
    if (gathering.get(url)?.results === results) gathering.delete(url)
    const { CALLBACK_USER: user, CALLBACK_PASSWORD: password } = settings
    const basic = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
    const headers = { 'content-type': 'application/json', ...(user && { authorization: basic }) }
    await parts.deliver({ url, headers, body: JSON.stringify({ results }) })
  }

  return (sending: Sending, said: Word): Promise<void> => {
    const report = reportOf(sending, said)
    const url = sending.reportTo ?? `${parts.productUrl()}/webhooks/infobip`
    const open = gathering.get(url)
    if (open && open.results.length < maxBatch) {
      open.results.push(report)
      return open.told
    }
    const results = [report]
    const told = tell(url, results)
    gathering.set(url, { results, told })
    return told
  }
}
