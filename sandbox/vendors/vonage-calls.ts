import { randomUUID } from 'node:crypto'
import type { Request, Response } from 'express'
import { z } from 'zod'
import type { Entry } from '../inbox'
import type { Status } from '../words'
import { codeIn, type VendorParts } from './vendor'
import { number, read, refuseAs, signed } from './vonage-wire'

const listenTries = 3
const listenPauseMs = 500

const Talk = z.object({
  action: z.literal('talk'),
  text: z.string().min(1).max(1_500),
  language: z.string().regex(/^[a-z]{2,3}(-[A-Z]{2})?$/),
  loop: z.int().min(0),
  bargeIn: z.boolean().optional(),
})
const Input = z.object({
  action: z.literal('input'),
  type: z.tuple([z.literal('dtmf')]),
  dtmf: z.object({ maxDigits: z.int().min(1).max(20), timeOut: z.int().min(0).max(10) }),
  eventUrl: z.tuple([z.url()]),
  eventMethod: z.literal('POST'),
})
const Ncco = z.array(z.discriminatedUnion('action', [Talk, Input]))
const Call = z.object({
  to: z.tuple([z.object({ type: z.literal('phone'), number })]),
  from: z.object({ type: z.literal('phone'), number }),
  event_url: z.tuple([z.url()]),
  event_method: z.literal('POST'),
  machine_detection: z.enum(['continue', 'hangup']),
  ncco: Ncco.min(1),
})
type Call = z.infer<typeof Call>

/** Takes a call of the Voice API, whose phone listens to its NCCO. */
export async function takeCall(parts: VendorParts, req: Request, res: Response): Promise<void> {
  const call = read(Call, req, res)
  if (!call) return
  const id = randomUUID()
  const conversation_uuid = `CON-${randomUUID()}`
  const [{ number: to }] = call.to
  const message = {
    provider: 'vonage',
    channel: 'voice' as const,
    to: `+${to}`,
    text: spokenBy(call.ncco),
  }
  await parts.play(res, message, {
    id,
    accept: () => {
      res
        .status(201)
        .json({ uuid: id, status: 'started', direction: 'outbound', conversation_uuid })
    },
    refuse: refuseAs(res, '/voice'),
    report: (status, entry) => reportCall(parts, { id, call, status, entry }),
  })
}

/** What an ear makes of the text of all `talk` actions. */
const spokenBy = (ncco: z.infer<typeof Ncco>): string =>
  ncco
    .map((action) => (action.action === 'talk' ? action.text : ''))
    .join(' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&(amp|lt|gt);/g, (_all, name: string) => ({ amp: '&', lt: '<', gt: '>' })[name] ?? '')
    .replace(/\s+/g, ' ')
    .trim()

const eventOf: Partial<Record<Status, { status: string; detail?: string }>> = {
  queued: { status: 'started' },
  ringing: { status: 'ringing' },
  answered: { status: 'answered' },
  declined: { status: 'rejected', detail: 'declined' },
  failed: { status: 'failed', detail: 'number_out_of_service' },
  expired: { status: 'timeout' },
}

interface CallEvent {
  id: string
  call: Call
  status: Status
  entry: Entry | undefined
}

async function reportCall(parts: VendorParts, { id, call, status, entry }: CallEvent) {
  const event = eventOf[status]
  if (!event) return
  const post = async (payload: object) => {
    const body = JSON.stringify({
      uuid: id,
      from: call.from.number,
      to: call.to[0].number,
      direction: 'outbound',
      timestamp: new Date().toISOString(),
      ...payload,
    })
    await parts.deliver(await signed(parts, call.event_url[0], body))
  }
  await post(event)
  if (status !== 'answered') return
  await listen(parts, { id, call, entry })
  await post({ status: 'completed', duration: '12', price: '0.01230000', rate: '0.0600' })
}

/** The user hears the call out, and presses a key where it asks for one. */
async function listen(parts: VendorParts, { id, call, entry }: Omit<CallEvent, 'status'>) {
  const input = call.ncco.find((action) => action.action === 'input')
  if (!input || !entry) return
  const body = JSON.stringify({
    ...{ uuid: id, from: call.from.number, to: call.to[0].number },
    dtmf: { digits: '1', timed_out: false },
    speech: { results: [] },
    timestamp: new Date().toISOString(),
  })
  for (let tries = 0; tries < listenTries; tries++) {
    try {
      const answer = await parts.call(await signed(parts, input.eventUrl[0], body))
      entry.text = spokenBy(Ncco.parse(JSON.parse(answer))) || entry.text
      entry.code = codeIn(entry.text)
      return
    } catch {
      await parts.timers.wait(listenPauseMs)
    }
  }
}
