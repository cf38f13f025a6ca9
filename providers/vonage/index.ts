import { createPrivateKey, type KeyObject } from 'node:crypto'
import type { Dispatcher } from 'undici'
import { z } from 'zod'
import type { Channel } from '../../core/channel'
import { type AccountBase, adapter, baseUrl, secrets } from '../adapter'
import { type CodeMeaning, faultOfMeaning, faultOfRefusal, meanings } from '../error-codes'
import { type Answer, callHttp, isNoAnswer, postJson } from '../http'
import type { Message, ProviderAccount, ProviderFault, Sent } from '../provider'
import { callAnswerer, callOf, inboundReader, receiptReader } from './callbacks'
import { codeIn, codeMeanings } from './codes'
import { appToken } from './jwt'
import { codeComponents, templateLanguage, templateLanguages } from '../whatsapp-template'

const usualBase = 'https://api.nexmo.com'
/** Where accounts are asked about. */
const usualRestBase = 'https://rest.nexmo.com'
/** Shorter lives are refused by its SMS networks. */
const minTtlSeconds = 20

const privateKey = z.string().transform((text, context): KeyObject => {
  try {
    // A variable of one line holds the key's lines with \n between them.
    const key = createPrivateKey(text.replaceAll('\\n', '\n'))
    if (key.asymmetricKeyType === 'rsa') return key
  } catch {
    // Nothing of the text may be shown.
  }
  context.addIssue({ code: 'custom', message: 'must be an RSA private key in PEM form' })
  return z.NEVER
})

/** Without `+`, as Vonage writes numbers. */
const digits = (number: string) => number.replace(/^\+/, '')
const number = z
  .string()
  .regex(/^\+?\d{3,15}$/, 'must be a number with its country code')
  .transform(digits)

const settings = z.object({
  API_KEY: z.string().min(1),
  APPLICATION_ID: z.string().min(1),
  PRIVATE_KEY: privateKey,
  SIGNATURE_SECRET: secrets,
  API_SECRET: z.string().min(1).optional(),
  SMS_FROM: z
    .string()
    .regex(/^(\+?\d{3,15}|[A-Za-z0-9 ]{1,11})$/, 'must be a number, or a name of up to 11 letters')
    .transform((from) => (/^\+\d+$/.test(from) ? digits(from) : from))
    .optional(),
  VOICE_FROM: number.optional(),
  WHATSAPP_FROM: number.optional(),
  WHATSAPP_TEMPLATE: z
    .string()
    .regex(/^[a-z0-9_]{1,512}$/, 'must be the name of a template')
    .optional(),
  WHATSAPP_LANGUAGES: templateLanguages,
  BASE_URL: baseUrl(usualBase),
  REST_BASE_URL: baseUrl(usualRestBase),
})
type Settings = z.infer<typeof settings>

/** Speaks Vonage's Messages API v1 (SMS, WhatsApp) and Voice API (docs/providers/vonage.md). */
export const vonage = adapter({
  name: 'vonage',
  channels: ['sms', 'voice', 'whatsapp'],
  settings,
  codes: codeMeanings,
  create: (account, given, { dispatcher }) => createAccount(account, given, dispatcher),
})

function createAccount(
  { name, channels, test }: AccountBase,
  given: Settings,
  dispatcher: Dispatcher,
): ProviderAccount {
  const application = { id: given.APPLICATION_ID, key: given.PRIVATE_KEY }
  const signature = { apiKey: given.API_KEY, secrets: given.SIGNATURE_SECRET }

  async function post(
    { path, payload, notAfter }: { path: string; payload: object; notAfter: number },
    signal: AbortSignal,
  ): Promise<unknown> {
    const headers = { authorization: `Bearer ${await appToken(application)}` }
    const body = JSON.stringify(payload)
    const call = { url: given.BASE_URL + path, headers, body, notAfter }
    return acceptedBody(await postJson(dispatcher, call, signal))
  }

  async function send(message: Message, signal: AbortSignal): Promise<Sent> {
    const { notAfter, attemptId } = message
    if (message.channel === 'voice') {
      const payload = callOf(message, given.VOICE_FROM ?? '')
      const body = await post({ path: '/v1/calls', payload, notAfter }, signal)
      return { providerMessageId: CallTaken.parse(body).uuid ?? attemptId }
    }
    const payload = messageOf(message, given)
    const body = await post({ path: '/v1/messages', payload, notAfter }, signal)
    return { providerMessageId: MessageTaken.parse(body).message_uuid ?? attemptId }
  }

  async function ping(signal: AbortSignal): Promise<void> {
    // Not in the address, where Vonage takes them too: addresses end up in the logs of proxies.
    const credentials = Buffer.from(`${given.API_KEY}:${given.API_SECRET ?? ''}`)
    const headers = { authorization: `Basic ${credentials.toString('base64')}` }
    const url = `${restBaseOf(given)}/account/get-balance`
    const answer = await callHttp(dispatcher, { url, headers }, signal)
    if (!isNoAnswer(answer)) acceptedBody(answer)
  }

  const served = channels.filter((channel) => isServed(channel, given))
  return {
    name,
    adapter: 'vonage',
    channels: served,
    test,
    sender: { send },
    receipts: receiptReader(signature),
    inbound: inboundReader(signature),
    ...(served.includes('voice') && { calls: callAnswerer(signature) }),
    ...(given.API_SECRET && { pinger: { ping } }),
  }
}

/** Whoever puts something else in Vonage's place means all of it. */
const restBaseOf = ({ BASE_URL, REST_BASE_URL }: Settings): string =>
  BASE_URL !== usualBase && REST_BASE_URL === usualRestBase ? BASE_URL : REST_BASE_URL

function isServed(channel: Channel, given: Settings): boolean {
  if (channel === 'sms') return given.SMS_FROM !== undefined
  if (channel === 'voice') return given.VOICE_FROM !== undefined
  return given.WHATSAPP_FROM !== undefined && given.WHATSAPP_TEMPLATE !== undefined
}

const MessageTaken = z.object({ message_uuid: z.string().optional().catch(undefined) }).catch({})
const CallTaken = z.object({ uuid: z.string().optional().catch(undefined) }).catch({})

/** A message as Messages v1 takes it (providers.md section 2 [S vg-msg14, vg-snip]). */
function messageOf(message: Message, given: Settings): object {
  const common = {
    to: digits(message.to),
    client_ref: message.attemptId,
    webhook_url: message.callbackUrl,
    webhook_version: 'v1',
  }
  if (message.channel === 'sms') {
    const ttl = Math.max(Math.floor(message.validForSeconds), minTtlSeconds)
    const own = { channel: 'sms', message_type: 'text', from: given.SMS_FROM }
    return { ...own, ...common, text: message.text, ttl }
  }
  const code = templateLanguage(message.locale, given.WHATSAPP_LANGUAGES)
  const template = {
    name: given.WHATSAPP_TEMPLATE,
    language: { policy: 'deterministic', code },
    components: codeComponents(message.code),
  }
  const own = { channel: 'whatsapp', message_type: 'custom', from: given.WHATSAPP_FROM }
  return { ...own, ...common, custom: { type: 'template', template } }
}

const text = z.union([z.string(), z.number()]).transform(String).catch('')
const Refusal = z
  .object({
    type: text.default(''),
    title: text.default(''),
    invalid_parameters: z
      .array(z.object({ name: z.string().catch('') }).catch({ name: '' }))
      .catch([])
      .default([]),
  })
  .catch({ type: '', title: '', invalid_parameters: [] })

/** @returns the body of a 2xx answer; @throws {ProviderFault} for any other. */
function acceptedBody(answer: Answer): unknown {
  const { status, body } = answer
  if (status >= 200 && status < 300) return body
  throw refusalOf(answer)
}

function refusalOf(answer: Answer): ProviderFault {
  const { status, body, retryAfterMs } = answer
  const { invalid_parameters: invalid, ...error } = Refusal.parse(body)
  const words = `Vonage answered ${status}.`
  const code = codeIn(error)
  const isBlamed = status === 400 || status === 403 || status === 422
  const parameters = isBlamed && !codeMeanings.has(code ?? '') ? invalid : []
  const meaning = meaningOfParameters(parameters.map(({ name }) => name))
  return meaning
    ? faultOfMeaning(meaning, words, { code, retryAfterMs })
    : faultOfRefusal(codeMeanings, answer, { code, words })
}

/** What an answer is about that says which parameters were wrong: 1150, and errors without a code. */
function meaningOfParameters(names: readonly string[]): CodeMeaning | undefined {
  // Of a call, `to[0].number`.
  if (names.some((name) => /^to\b/.test(name))) return meanings.badNumber
  // One app's text says nothing about the account.
  if (names.length > 0 && names.every((name) => /^(text|ncco)\b/.test(name)))
    return meanings.message
  return names.some((name) => /^(from|custom|channel|message_type)\b/.test(name))
    ? meanings.setup
    : undefined
}
