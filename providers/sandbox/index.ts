import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { channels } from '../../core/channel'
import type { ReceiptStatus } from '../../core/delivery/receipt'
import { type AccountBase, adapter } from '../adapter'
import { Accepted, acceptedBody, ownCodes } from '../answer'
import { callHttp, parseJson, postJson } from '../http'
import {
  ForgedCallback,
  type InboundCallback,
  type InboundMessage,
  type Message,
  type Outcome,
  type ProviderAccount,
  type Receipt,
  type UssdDial,
  type UssdMenu,
} from '../provider'
import { checkSignature, signedAt, signedId, webhookSecret, webhooksOf } from '../standard-webhook'

/** The words of sandbox/words.ts; anything else is unknown. */
const receiptOf: ReadonlyMap<string, ReceiptStatus> = new Map([
  ['queued', 'accepted'],
  ['sent', 'sent'],
  ['ringing', 'sent'],
  ['delivered', 'delivered'],
  ['read', 'delivered'],
  ['dialled', 'delivered'],
  ['answered', 'answered'],
  ['declined', 'failed.retryable'],
  ['failed', 'failed.permanent'],
  ['expired', 'expired'],
])

const Callback = z.object({
  id: z.string().min(1).max(200),
  status: z.string().regex(/^[a-z_]{1,40}$/),
  at: z.iso.datetime().optional(),
})
const Reply = z.object({
  from: z.string().min(1).max(40),
  text: z.string().max(1_000),
  at: z.iso.datetime().optional(),
})
const Dial = z.object({
  session_id: z.string().min(1).max(200),
  phone_number: z.string().regex(/^\+\d{5,15}$/),
  service_code: z.string().max(40).optional(),
  input: z.string().max(200).optional(),
})
/** What the sandbox's phones dial (docs/sandbox.md). */
const serviceCode = '*920*1#'

const settings = z.object({
  URL: z.url({ protocol: /^https?$/, error: 'must be an http or https address' }),
  SECRET: webhookSecret,
})

/** Speaks the sandbox's wire contract (docs/sandbox.md). */
export const sandbox = adapter({
  name: 'sandbox',
  channels,
  settings,
  codes: ownCodes,
  prefix: 'SANDBOX',
  create: (account, { URL: url, SECRET: secret }, { dispatcher }) =>
    createAccount(account, { base: url.replace(/\/+$/, ''), secret }, dispatcher),
})

function createAccount(
  { name, channels, test }: AccountBase,
  { base, secret }: { base: string; secret: string },
  dispatcher: Dispatcher,
): ProviderAccount {
  const [token] = secret.split(' ')

  const call = async (path: string, payload: object, signal: AbortSignal, notAfter?: number) => {
    const headers = { authorization: `Bearer ${token}` }
    const post = { url: base + path, headers, body: JSON.stringify(payload), notAfter }
    return acceptedBody(await postJson(dispatcher, post, signal))
  }

  async function send(message: Message, signal: AbortSignal) {
    const path = `/providers/${name}/messages`
    const body = await call(path, wireMessage(message), signal, message.notAfter)
    // A 2xx is an acceptance whatever its body holds; receipts find the attempt by their URL.
    const { id, cost } = Accepted.parse(body)
    return { providerMessageId: id ?? message.attemptId, cost }
  }

  async function reportOutcome(
    { requestId, providerMessageId, outcome }: Outcome,
    signal: AbortSignal,
  ) {
    const payload = { outcome, provider_message_id: providerMessageId }
    await call(`/requests/${encodeURIComponent(requestId)}/outcome`, payload, signal)
  }

  async function ping(signal: AbortSignal) {
    const headers = { authorization: `Bearer ${token}` }
    const url = `${base}/providers/${name}/health`
    acceptedBody(await callHttp(dispatcher, { url, headers }, signal))
  }

  return {
    name,
    adapter: 'sandbox',
    channels,
    test,
    sender: { send },
    ...readersOf(webhooksOf(secret)),
    outcomes: { reportOutcome },
    pinger: { ping },
  }
}

/** What the sandbox tells us, each signed with the account's secret. */
function readersOf(webhooks: ReturnType<typeof webhooksOf>) {
  function readReceipts(callback: InboundCallback): Receipt[] {
    checkSignature(webhooks, callback)
    const { data } = Callback.safeParse(parseJson(callback.body.toString('utf8')))
    if (!data) return []
    const { id, status, at } = data
    return [
      {
        status: receiptOf.get(status) ?? 'unknown',
        rawStatus: status,
        eventKey: `${id}:${status}`,
        providerMessageId: id,
        at: at === undefined ? undefined : new Date(at),
      },
    ]
  }

  function readDial(callback: InboundCallback): UssdDial {
    checkSignature(webhooks, callback)
    const { data } = Dial.safeParse(parseJson(callback.body.toString('utf8')))
    if (!data) throw new ForgedCallback('The callback is signed but is no USSD session.')
    const { session_id: sessionId, phone_number: phoneNumber, service_code, input = '' } = data
    return {
      sessionId,
      phoneNumber,
      serviceCode: service_code,
      inputs: input === '' ? [] : input.split('*'),
    }
  }

  function readInbound(callback: InboundCallback): InboundMessage | undefined {
    checkSignature(webhooks, callback)
    const { data } = Reply.safeParse(parseJson(callback.body.toString('utf8')))
    const at = data?.at === undefined ? signedAt(callback) : new Date(data.at)
    return data && { ...data, at, id: signedId(callback) }
  }

  return {
    receipts: { readReceipts },
    inbound: { readInbound },
    ussd: { serviceCode, readDial, showScreen },
  }
}

const showScreen: UssdMenu['showScreen'] = (_dial, { text, code, asks = false }) => ({
  contentType: 'application/json',
  body: JSON.stringify({ message: text, code: code ?? null, end: !asks }),
})

const wireMessage = (message: Message) => ({
  reference: message.attemptId,
  request_id: message.requestId,
  channel: message.channel,
  to: message.to,
  text: message.text,
  code: message.code,
  locale: message.locale,
  brand: message.brand,
  callback_url: message.callbackUrl,
  valid_for_seconds: message.validForSeconds,
})
