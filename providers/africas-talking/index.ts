import type { Dispatcher } from 'undici'
import { z } from 'zod'
import type { Channel } from '../../core/channel'
import { type AccountBase, adapter, baseUrl } from '../adapter'
import { acceptedBody, checkPing } from '../answer'
import { answererOf, inboundOf, menuOf, readReceipts, word } from './callbacks'
import { acceptedCodes, africasTalkingCodes, callCodes, callQueued, refusalOf } from './codes'
import { type CodeMeaning, faultOfMeaning, meanings } from '../error-codes'
import { type Answer, callHttp, postForm } from '../http'
import {
  checkPathSecret,
  networks,
  type PathSecret,
  pathSecrets,
  requirePathSecret,
} from '../path-secret'
import type { Cost, Message, ProviderAccount, Sender, Sent } from '../provider'

const usualBase = 'https://api.africastalking.com'

const settings = z
  .object({
    USERNAME: z.string().regex(/^\S{1,80}$/, 'must be the name of the app'),
    API_KEY: z.string().min(1, 'must be the key of the app'),
    /** A registered sender or a short code; without one, the account's usual sender. */
    SENDER: z
      .string()
      .regex(/^[\w .&-]{1,15}$/, 'must be a registered sender or a short code')
      .optional(),
    VOICE_NUMBER: z
      .string()
      .regex(/^\+\d{6,15}$/, 'must be a number with +')
      .optional(),
    USSD_CODE: z
      .string()
      .regex(/^\*\d[\d*]{0,30}#$/, 'must be a service code such as *384*77#')
      .optional(),
    /** Without one, no report is believed: no SMS is ever known to be delivered. */
    CALLBACK_SECRET: pathSecrets.optional(),
    ALLOWED_IPS: networks,
    BASE_URL: baseUrl(usualBase),
  })
  .superRefine((given, context) => {
    if ((given.VOICE_NUMBER ?? given.USSD_CODE) !== undefined)
      requirePathSecret(given, { what: 'calls and USSD', context })
  })
type Settings = z.infer<typeof settings>

/** SMS, calls that ask what to say, and USSD sessions. Wire contract: providers.md section 5. */
export const africasTalking = adapter({
  name: 'africas-talking',
  channels: ['sms', 'voice', 'ussd'],
  settings,
  codes: africasTalkingCodes,
  create: (account, given, { dispatcher }) => createAccount(account, given, dispatcher),
})

function createAccount(
  { name, channels: wanted, test }: AccountBase,
  given: Settings,
  dispatcher: Dispatcher,
): ProviderAccount {
  const path: PathSecret = { secrets: given.CALLBACK_SECRET ?? [], networks: given.ALLOWED_IPS }
  const isServed: Record<Channel, boolean> = {
    sms: true,
    voice: given.VOICE_NUMBER !== undefined,
    ussd: given.USSD_CODE !== undefined,
    whatsapp: false,
    email: false,
  }
  const api = apiOf(given, dispatcher)
  const channels = wanted.filter((channel) => isServed[channel])
  return {
    name,
    adapter: 'africas-talking',
    channels,
    test,
    sender: senderOf(given, api),
    checkHead: (callback) => checkPathSecret(path, callback),
    receipts: { readReceipts: (callback) => readReceipts(path, callback) },
    inbound: inboundOf(path),
    pinger: { ping: async (signal) => checkPing(await api.user(signal)) },
    ...(channels.includes('voice') && { calls: answererOf(path) }),
    ...(given.USSD_CODE !== undefined &&
      channels.includes('ussd') && { ussd: menuOf(given.USSD_CODE, path) }),
  }
}

type Api = ReturnType<typeof apiOf>
type Given = Pick<Message, 'notAfter'> & { signal: AbortSignal }

function apiOf({ USERNAME: username, API_KEY, BASE_URL }: Settings, dispatcher: Dispatcher) {
  // Calls, and the app `sandbox`, have hosts of their own [S].
  const usual = (part: string) =>
    `https://${part}.${username === 'sandbox' ? 'sandbox.' : ''}africastalking.com`
  const [base, voiceBase] =
    BASE_URL === usualBase ? [usual('api'), usual('voice')] : [BASE_URL, BASE_URL]
  const headers = { apiKey: API_KEY, accept: 'application/json' }
  const post = (url: string, fields: Record<string, string | undefined>, given: Given) => {
    const form = { url, headers, fields: { username, ...fields }, notAfter: given.notAfter }
    return postForm(dispatcher, form, given.signal)
  }
  const query = new URLSearchParams({ username })
  return {
    message: (fields: Record<string, string | undefined>, given: Given) =>
      post(`${base}/version1/messaging`, fields, given),
    call: (fields: Record<string, string | undefined>, given: Given) =>
      post(`${voiceBase}/call`, fields, given),
    user: (signal: AbortSignal) =>
      callHttp(dispatcher, { url: `${base}/version1/user?${query.toString()}`, headers }, signal),
  }
}

function senderOf(
  { SENDER: from, VOICE_NUMBER: voiceNumber, USSD_CODE: serviceCode }: Settings,
  api: Api,
): Sender {
  return {
    async send({ channel, to, text, attemptId, notAfter }, signal): Promise<Sent> {
      // Nothing is sent: the code waits for the user to dial.
      if (channel === 'ussd') return { providerMessageId: attemptId, instruction: serviceCode }
      if (channel === 'voice') {
        const call = { from: voiceNumber, to, clientRequestId: attemptId }
        return {
          providerMessageId: sessionIn(await api.call(call, { signal, notAfter }), attemptId),
        }
      }
      const message = { to, message: text, from, bulkSMSMode: '1' }
      const { messageId, cost } = recipientIn(await api.message(message, { signal, notAfter }))
      return { providerMessageId: messageId ?? attemptId, cost }
    },
  }
}

const Text = z.string().optional().catch(undefined)
/** Every part may be missing or something else. */
const Recipient = z
  .object({
    statusCode: z.coerce.number().optional().catch(undefined),
    status: Text,
    messageId: Text,
    cost: Text,
  })
  .catch({})
const SmsAnswer = z
  .object({
    SMSMessageData: z
      .object({ Message: Text, Recipients: z.array(Recipient).optional().catch(undefined) })
      .catch({}),
  })
  .catch({ SMSMessageData: {} })

/** @throws {ProviderFault} when the message was not taken. */
function recipientIn(answer: Answer): { messageId?: string | undefined; cost?: Cost | undefined } {
  const { Message: word, Recipients: recipients } = SmsAnswer.parse(
    acceptedBody(answer),
  ).SMSMessageData
  const [recipient] = recipients ?? []
  if (!recipient) {
    // Of no recipient at all, only the word tells why; without it, an answer that we cannot read is still one.
    if (recipients) throw refused(refusalOf({ word })?.meaning, wordIn(word))
    return {}
  }
  const { statusCode: code, status, messageId, cost } = recipient
  // What we cannot read may have been taken all the same.
  const isUnsaid = status === undefined || status === 'Success'
  const isAccepted = code === undefined ? isUnsaid : acceptedCodes.has(code)
  if (!isAccepted)
    throw refused(
      refusalOf({ code, word: status })?.meaning,
      code === undefined ? wordIn(status) : String(code),
    )
  return { messageId: isNamed(messageId) ? messageId : undefined, cost: costIn(cost) }
}

/** A code that is in no table blames neither the number nor the account. */
const refused = (meaning: CodeMeaning = meanings.unknown, code?: string) =>
  faultOfMeaning(meaning, 'The provider did not take the message.', { code })

const wordIn = (text = ''): string | undefined => (word.test(text) ? text : undefined)

/** It says `None` where there is none. */
const isNamed = (id: string | undefined) => id !== undefined && id !== '' && id !== 'None'

/** Such as `KES 0.8000` [S]. */
function costIn(text = ''): Cost | undefined {
  const [, currency, amount] = /^([A-Z]{3}) (\d+(?:\.\d+)?)$/.exec(text) ?? []
  return currency && amount ? { amount, currency } : undefined
}

const CallAnswer = z
  .object({
    entries: z
      .array(z.object({ status: Text, sessionId: Text }).catch({}))
      .optional()
      .catch(undefined),
  })
  .catch({})

/** @throws {ProviderFault} when the call is not made. */
function sessionIn(answer: Answer, attemptId: string): string {
  const { entries } = CallAnswer.parse(acceptedBody(answer))
  const [entry] = entries ?? []
  if (!entry) {
    if (entries) throw refused()
    return attemptId
  }
  const { status, sessionId } = entry
  if (status !== undefined && status !== callQueued)
    throw refused(callCodes.get(status), wordIn(status))
  return isNamed(sessionId) && sessionId ? sessionId : attemptId
}
