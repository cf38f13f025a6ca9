import type { Dispatcher } from 'undici'
import { z } from 'zod'
import type { Channel } from '../../core/channel'
import type { Fault } from '../../core/delivery/fault'
import { type AccountBase, adapter, baseUrl } from '../adapter'
import { acceptedBody, checkPing } from '../answer'
import { arkeselCodes, generated, statusWord, verdictOfVerify } from './codes'
import { pollerOf, readReceipts } from './reports'
import { faultOfMeaning, faultOfRefusal } from '../error-codes'
import { type Answer, callHttp, type HttpCall, parseJson, postJson } from '../http'
import {
  checkPathSecret,
  networks,
  type PathSecret,
  pathSecrets,
  requirePathSecret,
} from '../path-secret'
import {
  type DelegatedCheck,
  type Message,
  type ProviderAccount,
  ProviderFault,
  type Sender,
  type Sent,
  type UssdDial,
  type UssdMenu,
} from '../provider'

const settings = z
  .object({
    API_KEY: z.string().min(1, 'must be the key of the dashboard'),
    /** Providers.md section 4 [S]. */
    SENDER: z.string().max(11, 'must be a sender of at most 11 characters'),
    /** The service code whose sessions Arkesel hands to us. */
    USSD_CODE: z
      .string()
      .regex(/^\*\d[\d*]{0,30}#$/, 'must be a service code such as *928*77#')
      .optional(),
    CALLBACK_SECRET: pathSecrets.optional(),
    ALLOWED_IPS: networks,
    /** Arkesel then takes messages and delivers none. */
    SANDBOX: z.enum(['true', 'false'], { error: 'must be true or false' }).default('false'),
    BASE_URL: baseUrl('https://sms.arkesel.com'),
  })
  .superRefine((given, context) => {
    if (given.USSD_CODE !== undefined) requirePathSecret(given, { what: 'USSD', context })
  })
type Settings = z.infer<typeof settings>

/** SMS by API v2, USSD sessions, and codes of its own by the OTP API. Wire contract: providers.md section 4. */
export const arkesel = adapter({
  name: 'arkesel',
  channels: ['sms', 'voice', 'ussd'],
  settings,
  codes: arkeselCodes,
  create: (account, given, { dispatcher }) => createAccount(account, given, dispatcher),
})

function createAccount(
  { name, channels: wanted, test, delegated: delegable = [] }: AccountBase,
  given: Settings,
  dispatcher: Dispatcher,
): ProviderAccount {
  const api = apiOf(given, dispatcher)
  const ussd = delegable.includes('ussd') ? undefined : menuOf(given)
  // A voice of its own it lends only to codes of its own.
  const isServed: Record<Channel, boolean> = {
    sms: true,
    voice: delegable.includes('voice'),
    ussd: delegable.includes('ussd') || ussd !== undefined,
    whatsapp: false,
    email: false,
  }
  const channels = wanted.filter((channel) => isServed[channel])
  const delegated = channels.filter((channel) => delegable.includes(channel))
  return {
    name,
    adapter: 'arkesel',
    channels,
    test,
    sender: senderOf(given, api),
    checkHead: (callback) => checkPathSecret(pathOf(given), callback),
    // Whoever came to know the address could else end or prolong the wait for a message.
    receipts: { unsigned: true, readReceipts },
    poller: pollerOf(api),
    pinger: {
      ping: async (signal) => checkPing(await api.get('/api/v2/clients/balance-details', signal)),
    },
    ...(ussd && channels.includes('ussd') && { ussd }),
    ...(delegated.length > 0 && { delegated: delegatedOf(given, api, delegated) }),
  }
}

type Api = ReturnType<typeof apiOf>

function apiOf({ API_KEY: key, BASE_URL: base }: Settings, dispatcher: Dispatcher) {
  const headers = { 'api-key': key }
  return {
    get: (path: string, signal: AbortSignal) =>
      callHttp(dispatcher, { url: base + path, headers }, signal),
    post: (
      path: string,
      payload: object,
      signal: AbortSignal,
      more: Pick<HttpCall, 'notAfter' | 'maxAnswerBytes'> = {},
    ) => {
      const body = JSON.stringify(payload)
      return postJson(dispatcher, { url: base + path, headers, body, ...more }, signal)
    },
  }
}

/** Numbers go out without `+` [S]. */
const bare = (phoneNumber: string) => phoneNumber.replace(/^\+/, '')

/** The parts of an answer that mean something; every one may be missing or something else. */
const SmsAnswer = z
  .object({
    status: z.string().optional().catch(undefined),
    data: z.array(z.record(z.string(), z.unknown()).catch({})).catch([]),
  })
  .catch({ data: [] })
const Invalid = z.object({
  errors: z.record(z.string(), z.unknown()).optional().catch(undefined),
  data: z.record(z.string(), z.unknown()).optional().catch(undefined),
})
const Id = z.union([z.string().min(1), z.number().transform(String)])

function senderOf(
  { SENDER: sender, SANDBOX: sandbox, USSD_CODE: serviceCode }: Settings,
  api: Api,
): Sender {
  return {
    async send({ channel, to, text, callbackUrl, attemptId, notAfter }, signal) {
      // Nothing is sent: the code waits for the user to dial.
      if (channel === 'ussd') return { providerMessageId: attemptId, instruction: serviceCode }
      const payload = {
        sender,
        message: text,
        recipients: [bare(to)],
        callback_url: callbackUrl,
        // Asked of messages to Nigeria only [S].
        ...(to.startsWith('+234') && { use_case: 'transactional' }),
        ...(sandbox === 'true' && { sandbox: true }),
      }
      const answer = await api.post('/api/v2/sms/send', payload, signal, { notAfter })
      return { providerMessageId: messageIdIn(answer) ?? attemptId }
    },
  }
}

/** @throws {ProviderFault} when the message was not taken: a 200 may hold nothing but invalid numbers [S]. */
function messageIdIn(answer: Answer): string | undefined {
  checkFields(answer)
  const { status, data } = SmsAnswer.parse(acceptedBody(answer))
  const taken = data.find(({ id }) => id !== undefined)
  if (taken) return Id.safeParse(taken.id).data
  if (data.some((entry) => Array.isArray(entry['invalid numbers']))) throw refusedNumber()
  // Nobody's fault that we know of, and nothing was sent.
  if (status !== undefined && statusWord(status) === 'ERROR')
    throw refusal('unroutable', 'did not take the message')
  return undefined
}

/**
 * 422 blames fields [3P]. A text that does not suit is not the account's fault either, or one app's template would have
 * the account taken for broken.
 */
function checkFields({ status, body }: Answer): void {
  if (status !== 422) return
  const { data } = Invalid.safeParse(body)
  const fields = Object.keys({ ...data?.errors, ...data?.data })
  if (fields.some((field) => /^(recipients|invalid numbers)\b/.test(field))) throw refusedNumber()
  if (fields.length > 0 && fields.every((field) => field === 'message'))
    throw refusal('unroutable', 'does not take this text')
}

const refusedNumber = () => refusal('invalid_number', 'does not take this number')
const refusal = (fault: Fault, what: string) => new ProviderFault(fault, `The provider ${what}.`)

const Code = z.union([z.string(), z.number().transform(String)]).catch('')
const OtpAnswer = z
  .object({
    code: Code,
    ussd_code: z
      .string()
      .regex(/^\*[\d*]{1,40}#$/)
      .optional()
      .catch(undefined),
  })
  .catch({ code: '' })

/** The code of an OTP that it makes itself. */
const otpLength = 6
const mostMinutes = 10

function delegatedOf(
  { SENDER: sender_id }: Settings,
  api: Api,
  channels: readonly Channel[],
): DelegatedCheck {
  async function generate(message: Message, signal: AbortSignal): Promise<Sent> {
    const { channel, to, validForSeconds, attemptId, notAfter } = message
    const payload = {
      expiry: Math.min(Math.max(Math.ceil(validForSeconds / 60), 1), mostMinutes),
      length: otpLength,
      // Beside the message, it is the OTP's own dial string that a USSD step is about.
      medium: channel === 'voice' ? 'voice' : 'sms',
      message: otpText(message),
      number: bare(to),
      sender_id,
      type: 'numeric',
    }
    const answer = await api.post('/api/otp/generate', payload, signal, { notAfter })
    const { code, ussd_code: instruction } = OtpAnswer.parse(answer.body)
    if (code !== generated) throw otpFault(answer, code, { mayBeSent: true })
    if (channel === 'ussd' && instruction === undefined)
      throw refusal('unroutable', 'named nothing to dial')
    return {
      providerMessageId: attemptId,
      ...(channel === 'ussd' && { instruction }),
    }
  }

  async function checkCode({ to, code }: { to: string; code: string }, signal: AbortSignal) {
    // Not one that it can have made: it would call that a faulty request and not a wrong code.
    if (!new RegExp(`^\\d{${otpLength}}$`).test(code)) return false
    const answer = await api.post('/api/otp/verify', { number: bare(to), code }, signal)
    const { code: said } = OtpAnswer.parse(answer.body)
    const verdict = verdictOfVerify.get(said)
    if (verdict === undefined) throw otpFault(answer, said)
    return verdict
  }

  return { channels, generate, checkCode }
}

const otpText = ({ brand }: Message) =>
  `Your ${brand.replaceAll('%', '')} code is %otp_code%. It is valid for %expiry% min.`

/**
 * What a code, or else the status, means. Of an unknown code on a 2xx, only that there is no success; where a 2xx to
 * `generate` names none, a code may be on its way.
 */
function otpFault(answer: Answer, given: string, { mayBeSent = false } = {}): ProviderFault {
  const { status, retryAfterMs } = answer
  const code = /^\d{4}$/.test(given) ? given : undefined
  const words = `The provider answered ${status}, code ${code ?? 'none'}.`
  const known = mayBeSent && code !== undefined ? arkeselCodes.get(code) : undefined
  if (known) return faultOfMeaning(known, words, { code, retryAfterMs })
  const isSuccess = status >= 200 && status < 300
  if (!isSuccess) return faultOfRefusal(arkeselCodes, answer, { code, words })
  return new ProviderFault(code === undefined && mayBeSent ? 'in_doubt' : 'unavailable', words, {
    code,
  })
}

const Session = z.object({
  sessionID: Id.pipe(z.string().max(200)),
  userID: z.union([z.string().max(200), z.number()]),
  newSession: z.union([z.boolean(), z.stringbool()]).catch(false),
  msisdn: Id.pipe(z.string().regex(/^\+?\d{5,15}$/)),
  userData: Id.pipe(z.string().max(200)).optional().catch(undefined),
})
/** What its answer has to repeat. */
type ArkeselDial = UssdDial & Pick<z.infer<typeof Session>, 'userID' | 'msisdn'>

const pathOf = ({
  CALLBACK_SECRET: secrets = [],
  ALLOWED_IPS: networks,
}: Settings): PathSecret => ({
  secrets,
  networks,
})

function menuOf(given: Settings): UssdMenu | undefined {
  const { USSD_CODE: serviceCode } = given
  if (serviceCode === undefined) return undefined
  const path = pathOf(given)
  return {
    serviceCode,
    readDial(callback): ArkeselDial | undefined {
      checkPathSecret(path, callback)
      const { data } = Session.safeParse(parseJson(callback.body.toString('utf8')))
      if (!data) return undefined
      const { sessionID: sessionId, userID, msisdn, newSession, userData } = data
      // The first request holds what was dialled, the others what was typed last.
      const inputs = newSession || userData === undefined ? [] : [userData]
      return { sessionId, phoneNumber: international(msisdn), serviceCode, inputs, userID, msisdn }
    },
    showScreen(dial, { text, asks = false }) {
      const { userID, msisdn } = dial as Partial<ArkeselDial> & UssdDial
      const { sessionId: sessionID, phoneNumber } = dial
      const screen = { sessionID, userID, msisdn: msisdn ?? bare(phoneNumber), message: text }
      return {
        contentType: 'application/json',
        body: JSON.stringify({ ...screen, continueSession: asks }),
      }
    },
  }
}

/** `0…` is a number of Ghana [S]. */
const international = (msisdn: string) =>
  msisdn.startsWith('0') ? `+233${msisdn.slice(1)}` : `+${bare(msisdn)}`
