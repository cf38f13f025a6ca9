import { z } from 'zod'
import type { ReceiptStatus } from '../../core/delivery/receipt'
import { receiptOfCode } from '../error-codes'
import { parseJson } from '../http'
import type {
  CallAnswerer,
  ConnectedCall,
  Cost,
  InboundCallback,
  InboundReader,
  Message,
  Receipt,
  ReceiptReader,
  Speech,
} from '../provider'
import {
  callDetailStatusOf,
  callStatusOf,
  codeIn,
  codeMeanings,
  messageStatusOf,
  voiceOf,
} from './codes'
import { checkVonageSignature } from './jwt'

interface Signature {
  apiKey: string
  secrets: readonly string[]
}

/** Of the text of one `talk` (providers.md section 2 [S ncco-reference]). */
const maxTalkLength = 1_500
/** Between two digits: time to write one down. */
const digitPause = '<break time="600ms"/>'
const repeatPause = '<break time="1s"/>'
const keyTimeoutSeconds = 10
/** On the event address of a call that asks for a key. */
const byKey = 'answered=by-key'

const xmlOf: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }

/** Characters that stand apart already, as a code does in a text for voices, get a pause between them; all of it twice. */
function talk({ text, locale }: Pick<Speech, 'text' | 'locale'>) {
  const spaced = text
    .replace(/[&<>]/g, (character) => xmlOf[character] ?? '')
    .replace(/(?<![^\s])[0-9A-Z](?:[,،]? [0-9A-Z](?![0-9A-Za-z])){3,}/g, (code) =>
      code.replace(/[,،]? /g, digitPause),
    )
  const ssml = `<speak>${spaced}${repeatPause}</speak>`
  const spoken = ssml.length > maxTalkLength ? text.slice(0, maxTalkLength) : ssml
  return { action: 'talk', text: spoken, language: voiceOf(locale), loop: 2 }
}

/**
 * A call as the Voice API takes it. With a key to press, the code is asked for only once it was pressed, so no
 * voicemail can hear it; without one, a call that a machine answers is ended.
 */
export function callOf({ to, callbackUrl, keyPrompt, ...speech }: Message, from: string): object {
  const common = {
    to: [{ type: 'phone', number: to.replace(/^\+/, '') }],
    from: { type: 'phone', number: from },
    event_method: 'POST',
  }
  if (keyPrompt === undefined)
    return {
      ...common,
      event_url: [callbackUrl],
      machine_detection: 'hangup',
      ncco: [talk(speech)],
    }
  const prompt = { ...talk({ ...speech, text: keyPrompt }), loop: 1, bargeIn: true }
  const key = {
    action: 'input',
    type: ['dtmf'],
    dtmf: { maxDigits: 1, timeOut: keyTimeoutSeconds },
    eventUrl: [`${callbackUrl}/answer`],
    eventMethod: 'POST',
  }
  return {
    ...common,
    event_url: [`${callbackUrl}?${byKey}`],
    // Taken for a machine, a person can still press the key.
    machine_detection: 'continue',
    ncco: [prompt, key],
  }
}

const word = z.string().regex(/^[a-z_]{1,40}$/)
const id = z.string().min(1).max(200)
const text = z.union([z.string(), z.number()]).transform(String)
const reference = z.string().regex(/^[\w-]{1,100}$/)
const moment = z
  .string()
  .transform((at) => new Date(at))
  .optional()
  .catch(undefined)

const MessageStatus = z.object({
  message_uuid: id,
  status: word,
  client_ref: reference.optional().catch(undefined),
  timestamp: moment,
  error: z
    .object({ type: text.default('').catch(''), title: text.default('').catch('') })
    .optional()
    .catch(undefined),
  usage: z.object({ price: text, currency: z.string() }).optional().catch(undefined),
})

const CallBody = z
  .object({
    uuid: id.optional().catch(undefined),
    // Where machine detection reports.
    call_uuid: id.optional().catch(undefined),
    status: word,
    detail: word.optional().catch(undefined),
    timestamp: moment,
    price: text.optional().catch(undefined),
  })
  .transform(({ uuid, call_uuid, ...event }) => ({ ...event, call: uuid ?? call_uuid }))

/** Reads the status webhook of Messages v1 and the event webhook of Voice: both are signed the same way. */
export const receiptReader = (signature: Signature): ReceiptReader => ({
  readReceipts(callback) {
    checkVonageSignature(callback, signature)
    const body = parseJson(callback.body.toString('utf8'))
    const message = MessageStatus.safeParse(body).data
    if (message) return [messageReceipt(message)]
    const { call, ...event } = CallBody.safeParse(body).data ?? {}
    if (call === undefined || !('status' in event)) return []
    return [callReceipt({ call, ...event }, callback)]
  },
})

function messageReceipt(report: z.infer<typeof MessageStatus>): Receipt {
  const { status, error, usage } = report
  const code = error && codeIn(error)
  const meaning =
    status === 'rejected' ? receiptOfCode(codeMeanings, code) : messageStatusOf.get(status)
  return {
    status: meaning ?? 'unknown',
    rawStatus: code === undefined ? status : `${status}:${code}`,
    eventKey: `${report.message_uuid}:${status}`,
    providerMessageId: report.message_uuid,
    attemptId: report.client_ref,
    at: report.timestamp,
    cost: usage && costOf(usage),
    ...(code !== undefined && { code }),
  }
}

/** Prices come with up to eight decimals; six are kept. */
const costOf = ({ price, currency }: { price: string; currency: string }): Cost | undefined =>
  /^\d{1,9}(\.\d+)?$/.test(price)
    ? { amount: Number(price).toFixed(6), currency: currency.toUpperCase() }
    : undefined

/** Of the Voice API's prices [D nx-docs webhook-reference]. */
const callCurrency = 'EUR'

interface CallEvent {
  call: string
  status: string
  detail?: string | undefined
  timestamp?: Date | undefined
  price?: string | undefined
}

function callReceipt(event: CallEvent, { url }: InboundCallback): Receipt {
  const { call, status, detail, price, timestamp: at } = event
  return {
    status: callStatus(event, new URL(url).searchParams.get('answered') === 'by-key'),
    rawStatus: detail === undefined ? status : `${status}:${detail}`,
    eventKey: `${call}:${status}`,
    providerMessageId: call,
    at,
    cost: price === undefined ? undefined : costOf({ price, currency: callCurrency }),
  }
}

function callStatus(
  { status, detail }: Pick<CallEvent, 'status' | 'detail'>,
  asksForKey: boolean,
): ReceiptStatus {
  // A voicemail answers too: such a call counts as answered when somebody is heard, or presses the key.
  if (status === 'answered' && asksForKey) return 'sent'
  const byDetail =
    status === 'rejected' || status === 'failed' ? callDetailStatusOf.get(detail ?? '') : undefined
  return byDetail ?? callStatusOf.get(status) ?? 'unknown'
}

/** `dtmf` was only the digits before it was an object with them. */
const KeyPress = z.object({
  uuid: id.optional().catch(undefined),
  timestamp: moment,
  dtmf: z
    .union([z.string(), z.object({ digits: z.string() }).transform(({ digits }) => digits)])
    .optional()
    .catch(undefined),
})

/** Reads what an `input` action heard, and answers with what the call says next. */
export const callAnswerer = (signature: Signature): CallAnswerer => ({
  readCall(callback): ConnectedCall {
    checkVonageSignature(callback, signature)
    const { data } = KeyPress.safeParse(parseJson(callback.body.toString('utf8')))
    const { uuid, dtmf, timestamp: at } = data ?? {}
    const keyPressed = dtmf !== undefined && dtmf !== ''
    const receipt = keyPressed
      ? ({ status: 'answered', rawStatus: 'key_pressed' } as const)
      : ({ status: 'failed.retryable', rawStatus: 'no_key_pressed' } as const)
    return {
      providerMessageId: uuid,
      keyPressed,
      receipts:
        uuid === undefined || dtmf === undefined
          ? []
          : [{ ...receipt, eventKey: `${uuid}:${receipt.rawStatus}`, providerMessageId: uuid, at }],
      waits: keyPressed,
    }
  },
  // Without an action left, Vonage ends the call.
  answerCall: ({ keyPressed }, speech) => ({
    contentType: 'application/json',
    body: JSON.stringify(speech && keyPressed ? [talk(speech)] : []),
  }),
})

/** A message of a person by Messages v1 [S vg-java InboundMessage]: a text, or a button of WhatsApp's. */
const Inbound = z.object({
  message_uuid: id,
  from: text,
  timestamp: moment,
  text: z.string().max(5_000).optional().catch(undefined),
  button: z
    .object({ text: z.string().max(200) })
    .optional()
    .catch(undefined),
  reply: z
    .object({ title: z.string().max(200) })
    .optional()
    .catch(undefined),
})

/** Reads the inbound webhook of Messages v1, signed as the others are. */
export const inboundReader = (signature: Signature): InboundReader => ({
  readInbound(callback) {
    checkVonageSignature(callback, signature)
    const { data } = Inbound.safeParse(parseJson(callback.body.toString('utf8')))
    const words = data?.text ?? data?.button?.text ?? data?.reply?.title
    if (!data || words === undefined) return undefined
    const { message_uuid: id, from, timestamp: at } = data
    const isTime = at !== undefined && !Number.isNaN(at.getTime())
    return { id, from, text: words, at: isTime ? at : new Date() }
  },
})
