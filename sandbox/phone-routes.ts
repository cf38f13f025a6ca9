import { Router } from 'express'
import { z } from 'zod'
import type { Carrier } from './carrier'
import type { Inbox } from './inbox'
import { DialBody, ReplyBody } from './message'
import type { Phones } from './phones'
import { Problem, parse } from './problem'
import { readAddress } from './words'

interface PhoneParts {
  inbox: Inbox
  phones: Phones
  carrier: Carrier
}

const InboxQuery = z.strictObject({
  to: z.string().max(254).optional(),
  limit: z.coerce.number().int().min(1).max(10_000).default(200),
})

/** The users' side: the inbox for tests, and the phones of the page. */
export function phoneRoutes({ inbox, phones, carrier }: PhoneParts) {
  const router = Router()

  router.get('/inbox', (req, res) => {
    const { to, limit } = parse(InboxQuery, req.query)
    res.json(inbox.list(to === undefined ? undefined : addressOf(to), limit))
  })
  router.delete('/inbox', (_req, res) => {
    carrier.clear()
    res.status(204).end()
  })

  router.get('/phones', (_req, res) => {
    res.json(phones.list())
  })
  router.get('/phones/events', (_req, res) => {
    phones.openList(res)
  })
  router.get('/phones/:number/events', (req, res) => {
    const number = addressOf(req.params.number)
    phones.open(
      number,
      res,
      () => carrier.phone(number),
      () => carrier.release(number),
    )
  })
  router.post('/phones/:number/dial', async (req, res) => {
    const { service_code: serviceCode, session_id: sessionId, inputs } = parse(DialBody, req.body)
    const number = addressOf(req.params.number)
    const dialled = await carrier.dial({ number, serviceCode, sessionId, inputs })
    res.json({
      message: dialled.message,
      code: dialled.shown?.code ?? null,
      ends: dialled.ends,
      session_id: dialled.sessionId,
    })
  })
  router.post('/phones/:number/messages', async (req, res) => {
    const reply = parse(ReplyBody, req.body)
    if (await carrier.reply(addressOf(req.params.number), reply)) return res.status(204).end()
    throw new Problem(502, 'NOT_TAKEN', 'The product did not take the message.')
  })
  router.post('/calls/:id/:action', (req, res) => {
    const status = callActions.get(req.params.action)
    if (!status || !carrier.endCall(req.params.id, status)) {
      throw new Problem(404, 'NOT_FOUND', 'No such call is ringing.')
    }
    res.status(204).end()
  })

  return router
}

const callActions: ReadonlyMap<string, 'answered' | 'declined'> = new Map([
  ['answer', 'answered'],
  ['decline', 'declined'],
])

function addressOf(raw: string): string {
  const address = readAddress(raw)
  if (address !== undefined) return address
  throw new Problem(400, 'INVALID_NUMBER', 'This is neither a phone number nor an e-mail address.')
}
