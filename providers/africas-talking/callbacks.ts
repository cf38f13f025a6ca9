import { createHash } from 'node:crypto'
import { z } from 'zod'
import { receiptOfHangup, receiptOfReport } from './codes'
import { checkPathSecret, type PathSecret } from '../path-secret'
import type {
  CallAnswerer,
  ConnectedCall,
  InboundCallback,
  InboundReader,
  Receipt,
  Speech,
  UssdMenu,
} from '../provider'

/** Words of Africa's Talking's own: nothing else that it says is kept. */
export const word = /^[A-Za-z][A-Za-z_]{0,39}$/
const Text = z.string().optional().catch(undefined)
const Word = z.string().regex(word)
const OptionalWord = Word.optional().catch(undefined)
const Id = z.string().regex(/^[\w.:-]{1,150}$/)

const Report = z.object({ id: Id, status: Word, failureReason: OptionalWord })

const formOf = ({ body }: InboundCallback) =>
  Object.fromEntries(new URLSearchParams(body.toString('utf8')))

/** A report on an SMS, by form; the secret in the address is what proves it. */
export function readReceipts(path: PathSecret, callback: InboundCallback): Receipt[] {
  checkPathSecret(path, callback)
  const { data } = Report.safeParse(formOf(callback))
  if (!data) return []
  const { id, status, failureReason: reason } = data
  return [
    {
      status: receiptOfReport(status, reason),
      rawStatus: reason === undefined ? status : `${status}: ${reason}`,
      eventKey: `${id}:${status}`,
      providerMessageId: id,
      ...(reason !== undefined && { code: reason }),
    },
  ]
}

/** An SMS to one of the account's numbers [at-goa], or a press of "opt out" where Africa's Talking offers that itself. */
const Inbound = z.object({
  from: z.string().max(40),
  text: z.string().max(2_000),
  id: z.string().min(1).max(200).optional().catch(undefined),
})
const OptOut = z.object({ senderId: z.string().max(40), phoneNumber: z.string().max(40) })

/** The time in it names no zone: it counts from when it comes. */
export const inboundOf = (path: PathSecret): InboundReader => ({
  taken: { contentType: 'text/plain', body: '' },
  readInbound(callback) {
    checkPathSecret(path, callback)
    const fields = formOf(callback)
    const message = Inbound.safeParse(fields).data
    if (message) return { ...message, id: message.id ?? idOf(callback), at: new Date() }
    const optOut = OptOut.safeParse(fields).data
    if (!optOut) return undefined
    return { from: optOut.phoneNumber, text: 'STOP', id: idOf(callback), at: new Date() }
  },
})

/** Of a callback without one: who says the same to the same sender again says nothing new within the hour. */
const idOf = ({ body }: InboundCallback): string =>
  createHash('sha256')
    .update(`${Math.floor(Date.now() / 3_600_000)}|${body.toString('utf8')}`)
    .digest('hex')

const CallEvent = z.object({
  sessionId: Id,
  isActive: z.enum(['0', '1']),
  clientRequestId: Id.optional().catch(undefined),
  dtmfDigits: Text,
  hangupCause: OptionalWord,
  amount: Text,
  currencyCode: Text,
})
type CallEvent = z.infer<typeof CallEvent>

/** The dashboard has one voice callback per number: it asks what to say, and tells how the call ended [at-goa]. */
export const answererOf = (path: PathSecret): CallAnswerer => ({
  readCall(callback): ConnectedCall {
    checkPathSecret(path, callback)
    const { data } = CallEvent.safeParse(formOf(callback))
    if (!data) return { keyPressed: false, receipts: [], waits: false }
    const waits = data.isActive === '1'
    const keyPressed = waits && Boolean(data.dtmfDigits)
    return {
      providerMessageId: data.sessionId,
      attemptId: data.clientRequestId,
      keyPressed,
      receipts: [{ ...reportOf(data, { waits, keyPressed }), providerMessageId: data.sessionId }],
      waits,
    }
  },
  answerCall: (call, speech) => ({
    contentType: 'application/xml',
    body: `<?xml version="1.0" encoding="UTF-8"?><Response>${call.waits && speech ? actions(call, speech) : ''}</Response>`,
  }),
})

function reportOf(
  { sessionId, hangupCause, amount = '', currencyCode = '' }: CallEvent,
  { waits, keyPressed }: Pick<ConnectedCall, 'waits' | 'keyPressed'>,
): Receipt {
  // The code is read to who presses a key, so only that is an answer: a voicemail ends normally too.
  if (keyPressed)
    return { status: 'answered', rawStatus: 'key pressed', eventKey: `${sessionId}:key` }
  if (waits) return { status: 'sent', rawStatus: 'picked up', eventKey: `${sessionId}:active` }
  const ended = receiptOfHangup.get(hangupCause ?? '') ?? 'unknown'
  return {
    status: ended === 'answered' ? 'sent' : ended,
    rawStatus: hangupCause ?? 'ended',
    eventKey: `${sessionId}:ended`,
    cost: { amount, currency: currencyCode },
  }
}

function actions({ keyPressed }: ConnectedCall, { text, keyPrompt }: Speech): string {
  const say = (words: string) => `<Say>${escaped(words)}</Say>`
  // A key comes back to the same address, with the digit.
  if (keyPrompt !== undefined && !keyPressed)
    return `<GetDigits numDigits="1" timeout="10">${say(keyPrompt)}</GetDigits>`
  return say(text) + say(text)
}

const escapes: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}
const escaped = (text: string) =>
  // Control characters are not allowed in XML, written in any way.
  text.replace(/\p{Cc}/gu, ' ').replace(/[&<>"']/g, (character) => escapes[character] ?? '')

const Session = z.object({
  sessionId: z.string().min(1).max(200),
  phoneNumber: z
    .string()
    // A plus that was not encoded is a blank in a form.
    .regex(/^[+ ]?\d{5,17}$/)
    .transform((number) => `+${number.replace(/^([+ ]|00)/, '')}`),
  serviceCode: z.string().max(40).optional(),
  text: z.string().max(500),
})

export const menuOf = (serviceCode: string, path: PathSecret): UssdMenu => ({
  serviceCode,
  // A body without CON or END is an error of the session there.
  over: { contentType: 'text/plain', body: 'END' },
  readDial(callback) {
    checkPathSecret(path, callback)
    // The notification of a session's end holds no `text` [U].
    const { data } = Session.safeParse(formOf(callback))
    if (!data) return undefined
    const { text, ...dial } = data
    return { ...dial, inputs: text === '' ? [] : text.split('*') }
  },
  showScreen: (_dial, { text, asks = false }) => ({
    contentType: 'text/plain',
    body: `${asks ? 'CON' : 'END'} ${text}`,
  }),
})
