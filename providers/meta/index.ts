import { createHash, timingSafeEqual } from 'node:crypto'
import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { type AccountBase, adapter, baseUrl, secrets } from '../adapter'
import { faultOfMeaning, faultOfRefusal, meanings } from '../error-codes'
import { type Answer, callHttp, isNoAnswer, parseJson, postJson } from '../http'
import { codeMeanings, failureOf, meaningOf, statusOf } from './codes'
import { checkHubSignature } from './signature'
import {
  ForgedCallback,
  type InboundCallback,
  type InboundMessage,
  type Message,
  type ProviderAccount,
  ProviderFault,
  type Receipt,
  type Screen,
  type Sent,
} from '../provider'
import { codeComponents, templateLanguage, templateLanguages } from '../whatsapp-template'

const settings = z.object({
  ACCESS_TOKEN: z.string().min(1),
  PHONE_NUMBER_ID: z
    .string()
    .regex(/^[\w-]{1,40}$/, 'must be the id of a phone number, not the number'),
  APP_SECRET: secrets,
  VERIFY_TOKEN: z.string().min(1, 'must be the words entered beside the callback address'),
  TEMPLATE: z.string().regex(/^[a-z0-9_]{1,512}$/, 'must be the name of a template'),
  TEMPLATE_LANGUAGES: templateLanguages,
  API_VERSION: z
    .string()
    .regex(/^v\d{1,3}\.\d$/, 'must be a version such as v23.0')
    .default('v23.0'),
  BASE_URL: baseUrl('https://graph.facebook.com'),
})
type Settings = z.infer<typeof settings>

/** Speaks Meta's WhatsApp Cloud API (docs/providers/meta.md). */
export const meta = adapter({
  name: 'meta',
  channels: ['whatsapp'],
  settings,
  codes: codeMeanings,
  create: (account, given, { dispatcher }) => createAccount(account, given, dispatcher),
})

function createAccount(
  { name, channels, test }: AccountBase,
  given: Settings,
  dispatcher: Dispatcher,
): ProviderAccount {
  const phone = `${given.BASE_URL}/${given.API_VERSION}/${given.PHONE_NUMBER_ID}`
  const headers = { authorization: `Bearer ${given.ACCESS_TOKEN}` }

  async function send(message: Message, signal: AbortSignal): Promise<Sent> {
    const body = JSON.stringify(templateMessage(message, given))
    const post = { url: `${phone}/messages`, headers, body, notAfter: message.notAfter }
    const taken = Taken.parse(acceptedBody(await postJson(dispatcher, post, signal)))
    return { providerMessageId: taken.messages[0]?.id ?? message.attemptId }
  }

  async function ping(signal: AbortSignal): Promise<void> {
    const url = `${phone}?fields=health_status`
    const answer = await callHttp(dispatcher, { url, headers }, signal)
    // A wrong id is a 400.
    if (isNoAnswer(answer)) return
    const body = acceptedBody(answer, { hasRecipient: false })
    // [U] beside AVAILABLE: a word that nobody wrote down is no reason to send nothing.
    if (Health.parse(body).health_status.can_send_message === 'BLOCKED')
      throw new ProviderFault('config', 'Meta says that this number cannot send.')
  }

  return {
    name,
    adapter: 'meta',
    channels,
    test,
    sender: { send },
    receipts: { readReceipts: (callback) => readReceipts(callback, given) },
    inbound: { atAccount: true, readInbound: (callback) => readInbound(callback, given) },
    handshake: { answerHandshake: (callback) => answerHandshake(callback, given) },
    pinger: { ping },
  }
}

/** A message as the Cloud API takes it (providers.md section 3 [D, S meta]). */
const templateMessage = ({ to, code, locale, attemptId }: Message, given: Settings) => ({
  messaging_product: 'whatsapp',
  recipient_type: 'individual',
  to: to.replace(/^\+/, ''),
  type: 'template',
  template: {
    name: given.TEMPLATE,
    language: {
      policy: 'deterministic',
      code: templateLanguage(locale, given.TEMPLATE_LANGUAGES),
    },
    components: codeComponents(code),
  },
  biz_opaque_callback_data: attemptId,
})

/** A message that Meta holds back to look at its quality has been taken too. */
const Taken = z.object({ messages: z.array(z.object({ id: z.string() })) }).catch({ messages: [] })
const Health = z
  .object({ health_status: z.object({ can_send_message: z.string() }) })
  .catch({ health_status: { can_send_message: '' } })
/** Beside code 100: the id in the address, which is ours, is that of nothing. */
const noSuchObject = 33
const Refusal = z
  .object({
    error: z.object({
      code: z.number().int().min(0).max(999_999),
      error_subcode: z.number().optional().catch(undefined),
      is_transient: z.boolean().optional().catch(undefined),
    }),
  })
  .transform(({ error }) => error)
  .optional()
  .catch(undefined)

/** @returns the body of a 2xx answer; @throws {ProviderFault} for any other. */
function acceptedBody(answer: Answer, { hasRecipient = true } = {}): unknown {
  const { status, body, retryAfterMs } = answer
  if (status >= 200 && status < 300) return body
  const error = Refusal.parse(body)
  const words = `Meta answered ${status}.`
  const code = error && String(error.code)
  const isOfId = error?.code === 100 && (!hasRecipient || error.error_subcode === noSuchObject)
  const meaning = error && (isOfId ? meanings.setup : meaningOf(error.code))
  // A known code decides, whatever the status: Meta says to build on it.
  if (meaning) throw faultOfMeaning(meaning, words, { code, retryAfterMs })
  if (error?.is_transient) throw new ProviderFault('unavailable', words, { code, retryAfterMs })
  throw faultOfRefusal(codeMeanings, answer, { code, words })
}

const Status = z.object({
  id: z.string().min(1).max(200),
  status: z.string().regex(/^[a-z_]{1,40}$/),
  timestamp: z
    .union([z.string(), z.number()])
    .transform((seconds) => new Date(Number(seconds) * 1_000))
    .optional()
    .catch(undefined),
  biz_opaque_callback_data: z
    .string()
    .regex(/^[\w-]{1,100}$/)
    .optional()
    .catch(undefined),
  errors: z
    .array(z.object({ code: z.number().int() }))
    .optional()
    .catch(undefined),
})
/** What a person wrote, or the button that they pressed (providers.md section 3 [S meta]); other kinds hold no words. */
const Inbound = z.object({
  id: z.string().min(1).max(200),
  // Missing of users who show their name only.
  from: z.string().min(1).max(40),
  timestamp: Status.shape.timestamp,
  text: z
    .object({ body: z.string().max(5_000) })
    .optional()
    .catch(undefined),
  button: z
    .object({ text: z.string().max(200) })
    .optional()
    .catch(undefined),
  interactive: z
    .object({ button_reply: z.object({ title: z.string().max(200) }) })
    .optional()
    .catch(undefined),
})
/** One bad entry of a batch must not take the others with it. */
const Change = z
  .object({
    value: z.object({
      metadata: z.object({ phone_number_id: z.string() }).optional().catch(undefined),
      statuses: z.array(Status.optional().catch(undefined)).catch([]).default([]),
      messages: z.array(Inbound.optional().catch(undefined)).catch([]).default([]),
    }),
  })
  .optional()
  .catch(undefined)
const Batch = z
  .object({
    entry: z.array(
      z.object({ changes: z.array(Change).catch([]).default([]) }).catch({ changes: [] }),
    ),
  })
  .catch({ entry: [] })

/** All statuses of a batch: a callback may hold those of many messages, and of other numbers of the same Meta app. */
const readReceipts = (callback: InboundCallback, given: Settings): Receipt[] =>
  valuesOf(callback, given)
    .flatMap(({ statuses }) => statuses.flatMap((status) => status ?? []))
    .map(receiptOf)

const readInbound = (callback: InboundCallback, given: Settings): InboundMessage[] =>
  valuesOf(callback, given)
    .flatMap(({ messages }) => messages.flatMap((message) => message ?? []))
    .flatMap(({ id, from, timestamp: at, text, button, interactive }) => {
      const words = text?.body ?? button?.text ?? interactive?.button_reply.title
      return words === undefined ? [] : [{ id, from, text: words, at: endOfSecond(at) }]
    })

/** Meta's times are whole seconds: a message is no newer than the end of its second, nor than its arrival. */
function endOfSecond(at: Date | undefined): Date {
  const ms = at?.getTime() ?? Number.NaN
  return Number.isNaN(ms) ? new Date() : new Date(Math.min(ms + 999, Date.now()))
}

/** @throws {ForgedCallback} for what Meta did not sign */
function valuesOf(callback: InboundCallback, { APP_SECRET, PHONE_NUMBER_ID: own }: Settings) {
  checkHubSignature(callback, APP_SECRET)
  return Batch.parse(parseJson(callback.body.toString('utf8')))
    .entry.flatMap(({ changes }) => changes)
    .flatMap((change) => change?.value ?? [])
    .filter(({ metadata }) => (metadata?.phone_number_id ?? own) === own)
}

function receiptOf({
  id,
  status,
  timestamp: at,
  errors,
  ...more
}: z.infer<typeof Status>): Receipt {
  const code = status === 'failed' ? errors?.[0]?.code : undefined
  const known = status === 'failed' ? failureOf(code) : statusOf.get(status)
  return {
    status: known ?? 'unknown',
    rawStatus: code === undefined ? status : `${status}:${code}`,
    eventKey: `${id}:${status}`,
    providerMessageId: id,
    attemptId: more.biz_opaque_callback_data,
    at,
    code: code === undefined ? undefined : String(code),
  }
}

/** The GET by which Meta sees that the address is ours (providers.md section 3 [D]): its challenge, as it came. */
function answerHandshake({ url }: InboundCallback, { VERIFY_TOKEN }: Settings): Screen {
  const query = new URL(url).searchParams
  const challenge = query.get('hub.challenge') ?? ''
  if (query.get('hub.mode') !== 'subscribe' || !isSame(query.get('hub.verify_token'), VERIFY_TOKEN))
    throw new ForgedCallback('The handshake does not know the verify token.')
  if (!/^[\w-]{1,200}$/.test(challenge)) throw new ForgedCallback('The handshake has no challenge.')
  return { contentType: 'text/plain', body: challenge }
}

/** In constant time, whatever their lengths. */
function isSame(given: string | null, wanted: string): boolean {
  const [a, b] = [given ?? '', wanted].map((text) => createHash('sha256').update(text).digest())
  return a !== undefined && b !== undefined && timingSafeEqual(a, b)
}
