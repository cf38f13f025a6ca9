import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import { Router, type RequestHandler, type Response } from 'express'
import type { Carrier } from './carrier'
import { OutcomeBody, SendBody, type Message } from './message'
import { Problem, parse } from './problem'
import type { Scenarios } from './scenarios'
import type { Verdict } from './scenario'
import type { Timers } from './timers'
import type { Line } from './vendors/vendor'
import { accountPattern, readAddress } from './words'

interface ProviderParts {
  secret: string
  carrier: Carrier
  scenarios: Scenarios
  timers: Timers
  /** Where the product takes the reports of all messages of an account. */
  accountUrl: (account: string) => string
  /** Sends that are never answered. */
  hanging: Set<Line>
}

const priceOf = { sms: '0.03', voice: '0.05', whatsapp: '0.02', ussd: '0.01', email: '0.001' }

/** The provider's side: taking messages, and reports of what became of a request. */
export function providerRoutes(parts: ProviderParts) {
  const { secret, carrier, scenarios, timers, hanging, accountUrl } = parts
  const router = Router()
  router.use(['/providers', '/requests'], bearer(secret))

  router.post('/providers/:account/messages', async (req, res) => {
    const sent = readMessage(req.params.account, req.body)
    const verdict = scenarios.decide({
      provider: sent.provider,
      channel: sent.channel,
      to: sent.to,
      requestId: sent.request_id,
    })
    const message = verdict.receiptsToAccount
      ? { ...sent, callback_url: accountUrl(sent.provider) }
      : sent
    await timers.wait(verdict.latencyMs)
    switch (verdict.answer.kind) {
      case 'refuse':
        return refuse(res, verdict.answer)
      case 'hang':
        hanging.add(res)
        return void res.on('close', () => hanging.delete(res))
      case 'drop':
        carrier.accept(message, verdict.receipts).schedule()
        return void res.destroy()
      case 'accept':
        return accept(res, message, verdict)
    }
  })

  router.get('/providers/:account/health', (req, res) => {
    const answer = scenarios.healthOf(req.params.account)
    if (answer.kind === 'refuse') return refuse(res, answer)
    if (answer.kind === 'accept') return void res.json({ status: 'ok' })
    hanging.add(res)
    res.on('close', () => hanging.delete(res))
    if (answer.kind === 'drop') res.destroy()
  })

  async function accept(res: Response, message: Message, verdict: Verdict) {
    const receipts = carrier.accept(message, verdict.receipts)
    if (verdict.receiptsFirst) await receipts.playNow()
    else receipts.schedule()
    const cost = { amount: priceOf[message.channel], currency: 'USD' }
    res.status(201).json({ id: message.id, status: 'accepted', cost })
  }

  router.post('/requests/:requestId/outcome', (req, res) => {
    const { outcome } = parse(OutcomeBody, req.body)
    res.json({ marked: carrier.settle(req.params.requestId, outcome) })
  })

  return router
}

function readMessage(account: unknown, body: unknown): Message {
  if (typeof account !== 'string' || !accountPattern.test(account)) {
    throw new Problem(404, 'NOT_FOUND', 'A provider account has a name like sandbox-a.')
  }
  const send = parse(SendBody, body)
  const to = readAddress(send.to)
  const wantsMailbox = send.channel === 'email'
  if (to === undefined || to.includes('@') !== wantsMailbox) {
    throw new Problem(400, 'INVALID_NUMBER', `This is no address for ${send.channel}.`)
  }
  return { ...send, to, id: `msg_${randomUUID()}`, provider: account }
}

function refuse(res: Response, answer: Verdict['answer'] & { kind: 'refuse' }) {
  const { status, errorCode, retryAfterSeconds } = answer
  if (retryAfterSeconds !== undefined) res.set('retry-after', String(retryAfterSeconds))
  res.status(status).json({ error_code: errorCode, message: 'Refused, as this scenario says.' })
}

function bearer(secret: string): RequestHandler {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  const expected = secret.split(' ').map((each) => digest(`Bearer ${each}`))
  return (req, _res, next) => {
    const given = digest(req.headers.authorization ?? '')
    if (expected.some((each) => timingSafeEqual(given, each))) return next()
    throw new Problem(401, 'UNAUTHENTICATED', 'Send the sandbox secret as a Bearer token.')
  }
}
