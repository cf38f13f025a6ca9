import { createHash, timingSafeEqual } from 'node:crypto'
import type { Dispatcher } from 'undici'
import { z } from 'zod'
import type { Channel } from '../../core/channel'
import { type AccountBase, adapter } from '../adapter'
import { acceptedBody, checkPing } from '../answer'
import { faultOfMeaning, faultOfRefusal, meanings } from '../error-codes'
import { type Answer, callHttp, type HttpCall, postJson } from '../http'
import { badRequest, infobipCodes, meaningOf } from './codes'
import { readMessages } from './inbound'
import { costOf, logsPath, pollerOf, readReports, Reports, Status } from './reports'
import { checkPathSecret, pathSecrets } from '../path-secret'
import {
  type CallbackHead,
  type InboundCallback,
  type Doubt,
  ForgedCallback,
  type Message,
  type Outcome,
  type ProviderAccount,
  ProviderFault,
  type Sent,
} from '../provider'
import { templateLanguage, templateLanguages } from '../whatsapp-template'

/** International, as Infobip writes numbers: without the plus. */
const number = z
  .string()
  .regex(/^\+?\d{5,15}$/, 'must be a number in international form')
  .transform((text) => text.replace('+', ''))

const settings = z
  .object({
    /** Every account has one of its own: `https://{sub}.api.infobip.com`. */
    BASE_URL: z
      .url({ protocol: /^https?$/, error: 'must be an http or https address' })
      .transform((url) => url.replace(/\/+$/, '')),
    API_KEY: z.string().regex(/^\S+$/, 'must be an API key'),
    SMS_FROM: z
      .string()
      .regex(/^(\+?\d{3,15}|[\w .-]{1,11})$/, 'must be a number or 1 to 11 letters')
      .transform((from) => from.replace('+', ''))
      .optional(),
    VOICE_FROM: number.optional(),
    VOICE_MACHINES: z.enum(['hangup', 'ignore']).default('hangup'),
    WHATSAPP_FROM: number.optional(),
    WHATSAPP_TEMPLATE: z
      .string()
      .regex(/^[a-z0-9_]{1,512}$/, 'must be the name of a template')
      .optional(),
    WHATSAPP_LANGUAGES: templateLanguages,
    CALLBACK_USER: z.string().optional(),
    CALLBACK_PASSWORD: z.string().optional(),
    CALLBACK_SECRET: pathSecrets.optional(),
  })
  .superRefine((given, context) => {
    const needed = [
      given.CALLBACK_USER && !given.CALLBACK_PASSWORD && 'CALLBACK_PASSWORD',
      given.WHATSAPP_FROM && !given.WHATSAPP_TEMPLATE && 'WHATSAPP_TEMPLATE',
      given.WHATSAPP_TEMPLATE && !given.WHATSAPP_FROM && 'WHATSAPP_FROM',
      !given.SMS_FROM && !given.VOICE_FROM && !given.WHATSAPP_FROM && 'SMS_FROM',
    ]
    for (const name of needed)
      if (name) context.addIssue({ code: 'custom', path: [name], message: 'is not set' })
  })
type Settings = z.infer<typeof settings>

/** Infobip (docs/providers/infobip.md): SMS v3, text-to-speech calls and WhatsApp templates. */
export const infobip = adapter({
  name: 'infobip',
  channels: ['sms', 'voice', 'whatsapp'],
  settings,
  codes: infobipCodes,
  create: createAccount,
})

function createAccount(
  { name, channels, test }: AccountBase,
  given: Settings,
  { dispatcher }: { dispatcher: Dispatcher },
): ProviderAccount {
  const api = apiOf(given, dispatcher)
  return {
    name,
    adapter: 'infobip',
    channels: channels.filter((channel) => servedBy(given, channel)),
    test,
    sender: { send: (message, signal) => send(api, given, message, signal) },
    checkHead: (callback) => checkOrigin(callback, name, given),
    receipts: {
      unsigned: true,
      ...(isSubscribed(given) && { provenAtAccount: true }),
      readReceipts: (callback) => {
        checkOrigin(callback, name, given)
        return readReports(callback.body)
      },
    },
    ...(isSubscribed(given) && {
      inbound: {
        readInbound: (callback: InboundCallback) => {
          checkOrigin(callback, name, given)
          return readMessages(callback.body)
        },
      },
    }),
    // Whom the account reports to by itself need not ask.
    ...(!isSubscribed(given) && { poller: pollerOf(api) }),
    pinger: {
      ping: async (signal) => checkPing(await api.get('/account/1/balance', signal)),
    },
    reconciler: { reconcile: (doubt, signal) => reconcile(api, doubt, signal) },
    outcomes: { reportOutcome: (outcome, signal) => reportOutcome(api, outcome, signal) },
  }
}

function servedBy(given: Settings, channel: Channel): boolean {
  if (channel === 'sms') return given.SMS_FROM !== undefined
  if (channel === 'voice') return given.VOICE_FROM !== undefined
  return given.WHATSAPP_FROM !== undefined && given.WHATSAPP_TEMPLATE !== undefined
}

type Api = ReturnType<typeof apiOf>
function apiOf({ BASE_URL: base, API_KEY: key }: Settings, dispatcher: Dispatcher) {
  const headers = { authorization: `App ${key}` }
  return {
    get: (path: string, signal: AbortSignal, more: Pick<HttpCall, 'maxAnswerBytes'> = {}) =>
      callHttp(dispatcher, { url: base + path, headers, ...more }, signal),
    postNothing: (path: string, signal: AbortSignal) =>
      callHttp(dispatcher, { url: base + path, headers, body: '' }, signal),
    post: (path: string, payload: object, signal: AbortSignal, notAfter?: number) =>
      postJson(
        dispatcher,
        { url: base + path, headers, body: JSON.stringify(payload), notAfter },
        signal,
      ),
  }
}

const SendAnswer = z
  .object({
    messages: z
      .array(
        z.object({
          messageId: z.string().min(1).optional().catch(undefined),
          status: Status.catch({}),
        }),
      )
      .min(1),
  })
  .transform(({ messages: [first] }) => first)
  .catch(undefined)

async function send(api: Api, given: Settings, message: Message, signal: AbortSignal) {
  const { path, payload } = requestFor(given, message)
  const answer = await api.post(path, payload, signal, message.notAfter)
  if (answer.status < 200 || answer.status > 299) throw refusal(answer)
  const first = SendAnswer.parse(answer.body)
  const refused = first && meaningOf(first.status)?.refused
  if (refused)
    throw faultOfMeaning(refused, 'Infobip rejected the message.', { code: first.status.name })
  return { providerMessageId: first?.messageId ?? messageIdOf(message) }
}

/** Ours, so that a repetition of a call in doubt is told from a new message. */
const messageIdOf = ({ attemptId, repeats }: Message): string => repeats ?? attemptId

function requestFor(given: Settings, message: Message): { path: string; payload: object } {
  if (message.channel === 'sms') return { path: '/sms/3/messages', payload: textOf(given, message) }
  if (message.channel === 'voice')
    return { path: '/tts/3/advanced', payload: callOf(given, message) }
  return { path: '/whatsapp/1/message/template', payload: templateOf(given, message) }
}

const digits = (phoneNumber: string): string => phoneNumber.replace('+', '')
/** Comes back with every report, and so does the channel: a report does not say it. */
const callbackDataOf = ({ channel, attemptId }: Message): string => `${channel}:${attemptId}`

const textOf = (given: Settings, message: Message) => ({
  messages: [
    {
      sender: given.SMS_FROM,
      destinations: [{ to: digits(message.to), messageId: messageIdOf(message) }],
      content: { text: message.text },
      options: { validityPeriod: { amount: message.validForSeconds, timeUnit: 'SECONDS' } },
      webhooks: {
        delivery: { url: reportsTo(given, message), intermediateReport: false },
        contentType: 'application/json',
        callbackData: callbackDataOf(message),
      },
    },
  ],
  options: {
    conversionTracking: { useConversionTracking: true, conversionTrackingName: 'ONE_TIME_PIN' },
  },
})

const maxSpokenLength = 1_400
/** [U] for Swahili; a language that it cannot speak is refused, with a status that moves on to the next provider. */
const spokenLanguage = (locale: string): string => locale.toLowerCase().split(/[-_]/)[0] ?? 'en'

/** Said twice: the call begins to speak when it is answered, and cannot wait for a key. Its repetition is ours alone. */
const callOf = (given: Settings, message: Message) => ({
  messages: [
    {
      from: given.VOICE_FROM,
      destinations: [{ to: digits(message.to), messageId: messageIdOf(message) }],
      text: [`${message.text} ${message.text}`, message.text].find(
        ({ length }) => length <= maxSpokenLength,
      ),
      language: spokenLanguage(message.locale),
      speechRate: 0.8,
      pause: 1,
      repeatDtmf: '1',
      ringTimeout: 45,
      ...(given.VOICE_MACHINES === 'hangup' && { machineDetection: 'hangup' }),
      validityPeriod: Math.ceil(message.validForSeconds / 60),
      notifyUrl: reportsTo(given, message),
      notifyContentType: 'application/json',
      notifyContentVersion: 2,
      callbackData: callbackDataOf(message),
    },
  ],
})

const templateOf = (given: Settings, message: Message) => ({
  messages: [
    {
      from: given.WHATSAPP_FROM,
      to: digits(message.to),
      messageId: messageIdOf(message),
      content: {
        templateName: given.WHATSAPP_TEMPLATE,
        templateData: {
          body: { placeholders: [message.code] },
          buttons: [{ type: 'URL', parameter: message.code }],
        },
        language: templateLanguage(message.locale, given.WHATSAPP_LANGUAGES),
      },
      callbackData: callbackDataOf(message),
      notifyUrl: reportsTo(given, message),
    },
  ],
})

/** The two forms of Infobip's errors: their code, and which members of the request were wrong. */
const Refusal = z
  .object({
    errorCode: z.string().optional().catch(undefined),
    violations: z.array(z.object({ property: z.string().catch('') })).catch([]),
    requestError: z
      .object({
        serviceException: z.object({
          messageId: z.string().optional().catch(undefined),
          validationErrors: z.record(z.string(), z.unknown()).catch({}),
        }),
      })
      .transform(({ serviceException }) => serviceException)
      .catch({ validationErrors: {} }),
  })
  .transform(({ errorCode, violations, requestError }) => ({
    code: [errorCode, requestError.messageId].find((code) =>
      /^[A-Z][A-Z0-9_]{2,48}$/.test(code ?? ''),
    ),
    blamed: [
      ...violations.map(({ property }) => property),
      ...Object.keys(requestError.validationErrors),
    ],
  }))
  .catch({ code: undefined, blamed: [] })

function refusal(answer: Answer): ProviderFault {
  const { status, retryAfterMs } = answer
  const { code, blamed } = Refusal.parse(answer.body)
  const words = `Infobip answered ${status}.`
  const of = status === 400 ? blamed : []
  if (of.some((property) => /(^|\.)to$/.test(property)))
    return faultOfMeaning(meanings.badNumber, words, { code, retryAfterMs })
  // One app's text or one reader's language says nothing about the account.
  if (of.length > 0 && of.every((property) => /(^|\.)(text|language)$/.test(property)))
    return faultOfMeaning(meanings.message, words, { code, retryAfterMs })
  // That a request is wrong is said by the status already.
  const own = code !== undefined && badRequest.has(code) ? undefined : code
  return faultOfRefusal(infobipCodes, answer, { code: own, words })
}

/** At the account's address its subscription's credentials tell a report from a forgery; at a message's own nothing does. */
function checkOrigin(callback: CallbackHead, name: string, given: Settings): void {
  const { headers, pathSecret, url } = callback
  const { CALLBACK_USER: user, CALLBACK_PASSWORD: password, CALLBACK_SECRET: known = [] } = given
  if (pathSecret !== undefined) return checkPathSecret({ secrets: known, networks: [] }, callback)
  const isAccounts = ['', '/inbound'].some((end) =>
    new URL(url).pathname.endsWith(`/webhooks/${name}${end}`),
  )
  if (!isAccounts) return
  const expected = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
  if (!user || !isSame(headers['authorization'], expected))
    throw new ForgedCallback('The callback lacks the credentials of its subscription.')
}

/** Where this message's reports go; a subscription of the account serves all that name no address. */
const reportsTo = (given: Settings, { callbackUrl }: Message): string | undefined =>
  isSubscribed(given) ? undefined : callbackUrl

const isSubscribed = ({ CALLBACK_USER: user, CALLBACK_SECRET: secret }: Settings): boolean =>
  Boolean(user ?? secret)

const digest = (text: string) => createHash('sha256').update(text).digest()
const isSame = (given: CallbackHead['headers'][string], expected: string): boolean =>
  typeof given === 'string' && timingSafeEqual(digest(given), digest(expected))

/** Asks the logs, by the id that we gave the message: what is not there may still come, so absence decides nothing. */
async function reconcile(
  api: Api,
  { attemptId, channel }: Doubt,
  signal: AbortSignal,
): Promise<Sent | undefined> {
  if (channel !== 'sms' && channel !== 'voice') return undefined
  const path = `${logsPath[channel]}?messageId=${encodeURIComponent(attemptId)}`
  const taken = Reports.parse(acceptedBody(await api.get(path, signal))).find(
    ({ messageId, status = {} }) => messageId === attemptId && !isRejected(status),
  )
  return taken && { providerMessageId: attemptId, cost: costOf(taken) }
}

/** Not taken at all; what was taken and failed is told by its report. */
const isRejected = ({ groupId }: { groupId?: number | undefined }): boolean => groupId === 5

/** Infobip counts conversions only: a message that led to none is not reported. */
async function reportOutcome(
  api: Api,
  { providerMessageId: id, outcome }: Outcome,
  signal: AbortSignal,
): Promise<void> {
  if (outcome !== 'verified' || id === undefined) return
  // The operation knows no body.
  acceptedBody(await api.postNothing(`/ct/1/log/end/${encodeURIComponent(id)}`, signal))
}
