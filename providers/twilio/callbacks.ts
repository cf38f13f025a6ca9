import { createHash } from 'node:crypto'
import type { ReceiptStatus } from '../../core/delivery/receipt'
import type {
  CallAnswerer,
  ConnectedCall,
  InboundCallback,
  InboundMessage,
  InboundReader,
  Receipt,
  ReceiptReader,
} from '../provider'
import { receiptOfCode } from '../error-codes'
import { meaningOfCallStatus, meaningOfMessageStatus, twilioCodes } from './codes'
import { readSigned, type SignedFields } from './signature'
import { codeScript, response } from './voice'

const word = /^[a-z][a-z_-]{0,39}$/
/** A machine is no person: the step goes on. */
const machine = /^(machine|fax)/

/**
 * Marks the callbacks of a call whose other end is being looked into: that somebody, or something, picked up is no
 * answer yet.
 */
export const undecided = (callbackUrl: string) => `${callbackUrl}?answered-by=later`
const isUndecided = ({ url }: InboundCallback) =>
  new URL(url).searchParams.get('answered-by') === 'later'

const of = (fields: SignedFields, name: string): string | undefined => fields.get(name) || undefined

function codeOf(fields: SignedFields): string | undefined {
  const code = of(fields, 'ErrorCode')
  return code !== undefined && /^\d{1,6}$/.test(code) ? String(Number(code)) : undefined
}

interface Report {
  id: string
  status: ReceiptStatus
  /** Twilio's word. */
  said: string
  code?: string | undefined
  at?: Date | undefined
}

/** Twilio repeats a callback as it was: what it is about and what it says make it one event. */
const receiptOf = ({ id, status, said, code, at }: Report): Receipt => ({
  status,
  rawStatus: code === undefined ? said : `${said} ${code}`,
  eventKey: `${id}:${said}`,
  providerMessageId: id,
  at,
  ...(code !== undefined && { code }),
})

/** A word that is none may hold anything; what is recorded must be free of personal data. */
const saidBy = (text: string) => (word.test(text) ? text : 'unreadable')

function messageReceipts(fields: SignedFields): Receipt[] {
  const id = of(fields, 'MessageSid') ?? of(fields, 'SmsSid')
  const given = of(fields, 'MessageStatus') ?? of(fields, 'SmsStatus')
  if (id === undefined || given === undefined) return []
  const said = saidBy(given)
  const code = codeOf(fields)
  const meaning = meaningOfMessageStatus.get(said) ?? 'unknown'
  return [
    receiptOf({
      id,
      said,
      code,
      status: meaning === 'by code' ? receiptOfCode(twilioCodes, code) : meaning,
    }),
  ]
}

/** The result of looking into who answered comes on its own, or beside a call's status. */
function callReceipts(fields: SignedFields, id: string, isOpen: boolean): Receipt[] {
  const answeredBy = of(fields, 'AnsweredBy')
  const given = of(fields, 'CallStatus')
  const at = timeOf(of(fields, 'Timestamp'))
  if (answeredBy !== undefined && machine.test(answeredBy))
    return [receiptOf({ id, said: saidBy(answeredBy), status: 'failed.retryable', at })]
  if (given === undefined)
    return answeredBy === undefined
      ? []
      : [receiptOf({ id, said: saidBy(answeredBy), status: 'answered', at })]
  const said = saidBy(given)
  const code = codeOf(fields)
  const isUntold = isOpen && answeredBy === undefined
  const picksUp = said === 'in-progress' || said === 'answered'
  const status = picksUp && isUntold ? 'sent' : callStatus(said, fields, code)
  const receipt = receiptOf({ id, said, code, status, at })
  // A machine listens to the end too, and that it is one may have been told before, on its own.
  return [isUntold && status === 'answered' ? { ...receipt, inferred: true } : receipt]
}

function callStatus(said: string, fields: SignedFields, code: string | undefined): ReceiptStatus {
  // Of a call that lasted no second nobody can say whether it was heard.
  if (said === 'completed') return Number(of(fields, 'CallDuration')) > 0 ? 'answered' : 'unknown'
  const meaning = meaningOfCallStatus.get(said) ?? 'unknown'
  return meaning === 'by code' ? receiptOfCode(twilioCodes, code) : meaning
}

/** RFC 2822. */
function timeOf(text: string | undefined): Date | undefined {
  const at = new Date(text ?? Number.NaN)
  return Number.isNaN(at.getTime()) ? undefined : at
}

/** Reads what Twilio calls back about the messages and calls of an account with these tokens. */
export function callbacksOf(tokens: readonly string[]): {
  receipts: ReceiptReader
  calls: CallAnswerer
  inbound: InboundReader
} {
  function readReceipts(callback: InboundCallback): Receipt[] {
    const fields = readSigned(tokens, callback)
    const call = of(fields, 'CallSid')
    return call === undefined
      ? messageReceipts(fields)
      : callReceipts(fields, call, isUndecided(callback))
  }

  function readCall(callback: InboundCallback): ConnectedCall {
    const fields = readSigned(tokens, callback)
    const id = of(fields, 'CallSid')
    const keyPressed = of(fields, 'Digits') !== undefined
    const pressed = { status: 'answered', said: 'key-pressed' } as const
    return {
      providerMessageId: id,
      keyPressed,
      receipts: keyPressed && id !== undefined ? [receiptOf({ id, ...pressed })] : [],
      waits: keyPressed,
    }
  }

  /** STOP in the words that an account has of its own is told by OptOutType. The callback holds no time: it is when it first comes. */
  function readInbound(callback: InboundCallback): InboundMessage | undefined {
    const fields = readSigned(tokens, callback)
    const from = of(fields, 'From')?.replace(/^whatsapp:/, '')
    const text = of(fields, 'OptOutType') ?? fields.get('Body')
    const signed = createHash('sha256').update(fields.toString()).digest('hex')
    const id = of(fields, 'MessageSid') ?? of(fields, 'SmsSid') ?? signed
    const isPersons = from !== undefined && /^[+ ]?\d[\d .()-]{4,24}$/.test(from) && text !== null
    return isPersons ? { from, text, id, at: new Date() } : undefined
  }

  return {
    receipts: { signsAddress: true, readReceipts },
    calls: {
      readCall,
      answerCall: ({ keyPressed }, speech) => ({
        contentType: 'text/xml',
        body: codeScript(keyPressed ? speech : undefined),
      }),
    },
    // The answer to a message is read as what to do with it: anything else is error 12300 in Twilio's debugger.
    inbound: {
      readInbound,
      taken: { contentType: 'text/xml', body: response('') },
    },
  }
}
