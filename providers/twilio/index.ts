import type { Dispatcher } from 'undici'
import { z } from 'zod'
import type { Channel } from '../../core/channel'
import { type AccountBase, adapter, baseUrl, list, secrets } from '../adapter'
import { faultOfRefusal } from '../error-codes'
import { type Answer, callHttp, type FormFields, isNoAnswer, listBytes, postForm } from '../http'
import {
  type Cost,
  type Doubt,
  type Message,
  type Outcome,
  type ProviderAccount,
  ProviderFault,
  type Sent,
} from '../provider'
import { callbacksOf, undecided } from './callbacks'
import { meaningOfMessageStatus, twilioCodes } from './codes'
import { lookUpsBy } from './lookup'
import { callScript } from './voice'
import { templateLanguage } from '../whatsapp-template'

/** What Twilio takes as the life of a message, in seconds. */
const validity = { least: 1, most: 36_000 }
/** Of a call; longer than most voicemails wait, shorter than a voice step. */
const ringSeconds = 40
/** A message created longer after the claim than any call takes is not that call's. */
const longestCallMs = 60_000
const listedAtMost = 50

const usualBase = 'https://api.twilio.com'
const usualLookupBase = 'https://lookups.twilio.com'

const sid = (kind: string) =>
  z
    .string()
    .regex(new RegExp(`^${kind}\\w{1,64}$`), `must begin with ${kind}, as the console shows it`)
const number = z.string().regex(/^\+\d{5,15}$/, 'must be a number as in +14155552671')
/** In the order given; the first serves every other locale. */
const contents = list.transform((given, context) =>
  given.map((each) => {
    const [, locale = 'en', contentSid] = /^(?:([A-Za-z-]{2,20}):)?(HX\w{1,64})$/.exec(each) ?? []
    if (contentSid === undefined)
      context.addIssue({
        code: 'custom',
        message: 'must begin with HX, or be several as in en:HX…,fr:HX…',
      })
    return { locale, contentSid }
  }),
)

const settings = z
  .object({
    ACCOUNT_SID: sid('AC'),
    AUTH_TOKEN: secrets,
    API_KEY_SID: sid('SK').optional(),
    API_KEY_SECRET: z.string().min(1).optional(),
    FROM: z
      .string()
      .regex(
        /^(\+\d{5,15}|\d{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 +&_-]{1,11})$/,
        'must be a number as in +14155552671, a short code, or a name of up to 11 letters',
      )
      .optional(),
    MESSAGING_SERVICE_SID: sid('MG').optional(),
    VOICE_FROM: number.optional(),
    WHATSAPP_FROM: number.optional(),
    WHATSAPP_CONTENT_SID: contents,
    BASE_URL: baseUrl(usualBase),
    LOOKUP_BASE_URL: baseUrl(usualLookupBase),
  })
  .superRefine((given, context) => {
    const needed = [
      given.API_KEY_SECRET && !given.API_KEY_SID && 'API_KEY_SID',
      given.API_KEY_SID && !given.API_KEY_SECRET && 'API_KEY_SECRET',
      given.WHATSAPP_FROM && given.WHATSAPP_CONTENT_SID.length === 0 && 'WHATSAPP_CONTENT_SID',
      channelsOf(given).length === 0 && 'FROM',
    ]
    for (const name of needed)
      if (name) context.addIssue({ code: 'custom', path: [name], message: 'is not set' })
  })
type Settings = z.infer<typeof settings>
type Senders = Pick<
  Settings,
  'FROM' | 'MESSAGING_SERVICE_SID' | 'VOICE_FROM' | 'WHATSAPP_FROM' | 'WHATSAPP_CONTENT_SID'
>

function channelsOf(given: Senders): Channel[] {
  const sms = given.FROM ?? given.MESSAGING_SERVICE_SID
  const whatsapp = given.WHATSAPP_FROM !== undefined && given.WHATSAPP_CONTENT_SID.length > 0
  const serves = { sms, voice: given.VOICE_FROM, whatsapp }
  return (['sms', 'voice', 'whatsapp'] as const).filter((channel) => serves[channel])
}

/** Speaks Twilio's Messages, Calls and Lookup APIs (docs/providers/twilio.md). */
export const twilio = adapter({
  name: 'twilio',
  channels: ['sms', 'voice', 'whatsapp'],
  settings,
  codes: twilioCodes,
  create: createAccount,
})

function createAccount(
  { name, channels, test }: AccountBase,
  given: Settings,
  { dispatcher }: { dispatcher: Dispatcher },
): ProviderAccount {
  const api = apiOf(given, dispatcher)

  async function send(message: Message, signal: AbortSignal): Promise<Sent> {
    const { path, fields } = orderOf(message, given)
    const { notAfter } = message
    return sentOf(await api.post(path, fields, signal, notAfter), message.attemptId)
  }

  /** Twilio echoes nothing of ours: the one message to this number that the call can have made, or none. */
  async function reconcile(
    { channel, to, claimedAt }: Doubt,
    signal: AbortSignal,
  ): Promise<Sent | undefined> {
    const { path, filter, isOurs } = searchOf({ channel, to, claimedAt }, given)
    const query = new URLSearchParams({ ...filter, PageSize: String(listedAtMost) })
    const { messages, calls } = Listed.parse(await api.get(`${path}?${query.toString()}`, signal))
    // Twilio's times are whole seconds.
    const since = Math.floor(claimedAt.getTime() / 1_000) * 1_000
    const candidates = [...messages, ...calls].filter((item) => {
      const created = Date.parse(item.date_created)
      return created >= since && created <= since + longestCallMs && isOurs(item)
    })
    const [found, another] = candidates
    return found && !another ? { providerMessageId: found.sid, cost: costOf(found) } : undefined
  }

  async function ping(signal: AbortSignal): Promise<void> {
    const answer = await api.account(signal)
    // With a wrong id the token is wrong too: that is a 401.
    if (isNoAnswer(answer)) return
    const { status } = Account.parse(bodyOf(answer))
    if (status === 'suspended' || status === 'closed')
      throw new ProviderFault('config', 'The account is suspended or closed.')
  }

  /** Feedback is about messages; of a call nothing is reported. */
  async function reportOutcome(
    { providerMessageId: id, outcome }: Outcome,
    signal: AbortSignal,
  ): Promise<void> {
    if (id === undefined || !/^[SM]M\w{1,64}$/.test(id)) return
    const Outcome = outcome === 'verified' ? 'confirmed' : 'unconfirmed'
    await api.post(`/Messages/${id}/Feedback.json`, { Outcome }, signal)
  }

  return {
    name,
    adapter: 'twilio',
    channels: channelsOf(given).filter((channel) => channels.includes(channel)),
    test,
    sender: { send },
    ...callbacksOf(given.AUTH_TOKEN),
    reconciler: { reconcile },
    pinger: { ping },
    ...lookUpsBy(api.lookUp),
    outcomes: { reportOutcome },
  }
}

/** Calls by an API key where there is one; about the account itself only the account's own token may ask. */
function apiOf(given: Settings, dispatcher: Dispatcher) {
  const { ACCOUNT_SID: account, API_KEY_SID: key, API_KEY_SECRET: keySecret } = given
  const [token = ''] = given.AUTH_TOKEN
  const own = basic(account, token)
  const authorization = key && keySecret ? basic(key, keySecret) : own
  const base = `${given.BASE_URL}/2010-04-01/Accounts/${account}`
  // A mock that stands in for the one stands in for the other.
  const isMoved = given.BASE_URL !== usualBase && given.LOOKUP_BASE_URL === usualLookupBase
  const lookupBase = isMoved ? given.BASE_URL : given.LOOKUP_BASE_URL
  const ask = (url: string, signal: AbortSignal, as: string) =>
    callHttp(dispatcher, { url, headers: { authorization: as }, maxAnswerBytes: listBytes }, signal)
  const get = async (url: string, signal: AbortSignal) =>
    bodyOf(await ask(url, signal, authorization))
  return {
    get: (path: string, signal: AbortSignal) => get(base + path, signal),
    account: (signal: AbortSignal) => ask(`${base}.json`, signal, own),
    lookUp: (path: string, signal: AbortSignal) => get(lookupBase + path, signal),
    post: async (path: string, fields: FormFields, signal: AbortSignal, notAfter?: number) => {
      const post = { url: base + path, headers: { authorization }, fields, notAfter }
      return bodyOf(await postForm(dispatcher, post, signal))
    },
  }
}

const basic = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`

const Code = z.coerce.number().int().min(1).max(999_999).transform(String)
const Refusal = z.object({ code: Code })

/** @throws {ProviderFault} for any answer but a 2xx; Twilio's own words, which may quote the number, are dropped. */
function bodyOf(answer: Answer): unknown {
  const { status, body } = answer
  if (status >= 200 && status < 300) return body
  const code = Refusal.safeParse(body).data?.code
  const why = code === undefined ? String(status) : `${status}, error ${code}`
  throw faultOfRefusal(twilioCodes, answer, { code, words: `Twilio answered ${why}.` })
}

/** What goes to which resource; the channels are those of {@link channelsOf}. */
function orderOf(message: Message, given: Settings): { path: string; fields: FormFields } {
  const { channel, to, text, code, locale, callbackUrl, validForSeconds } = message
  if (channel === 'voice') {
    const callbacks = undecided(callbackUrl)
    const fields = {
      To: to,
      From: given.VOICE_FROM,
      Twiml: callScript(message, `${callbackUrl}/answer`),
      Timeout: ringSeconds,
      MachineDetection: 'Enable',
      // In the background: whoever picks up hears no silence first.
      AsyncAmd: 'true',
      AsyncAmdStatusCallback: callbacks,
      StatusCallback: callbacks,
      StatusCallbackMethod: 'POST',
      StatusCallbackEvent: ['initiated', 'ringing', 'answered', 'completed'],
    }
    return { path: '/Calls.json', fields }
  }
  const path = '/Messages.json'
  if (channel === 'whatsapp') {
    const fields = {
      To: `whatsapp:${to}`,
      From: `whatsapp:${given.WHATSAPP_FROM}`,
      ContentSid: contentFor(locale, given),
      ContentVariables: JSON.stringify({ 1: code }),
      StatusCallback: callbackUrl,
    }
    return { path, fields }
  }
  const fields = {
    To: to,
    ...smsSender(given),
    Body: text,
    StatusCallback: callbackUrl,
    ValidityPeriod: Math.min(Math.max(Math.floor(validForSeconds), validity.least), validity.most),
    ProvideFeedback: 'true',
  }
  return { path, fields }
}

/** One of the two: the service chooses its sender itself. */
const smsSender = ({ MESSAGING_SERVICE_SID, FROM }: Settings): FormFields =>
  MESSAGING_SERVICE_SID ? { MessagingServiceSid: MESSAGING_SERVICE_SID } : { From: FROM }

function contentFor(locale: string, { WHATSAPP_CONTENT_SID: all }: Settings): string | undefined {
  const language = templateLanguage(
    locale,
    all.map((content) => content.locale),
  )
  return (all.find((content) => content.locale === language) ?? all[0])?.contentSid
}

const optional = z.string().optional().catch(undefined)
const price = { price: optional, price_unit: optional }
const Created = z
  .object({
    sid: optional,
    status: optional,
    error_code: Code.optional().catch(undefined),
    ...price,
  })
  .catch({})
const Listing = z
  .object({ sid: z.string(), date_created: z.string(), direction: optional, ...price })
  .extend({ messaging_service_sid: optional })
type Listing = z.infer<typeof Listing>
/** What is not as it should be is left out. */
const listings = z
  .array(z.unknown())
  .catch([])
  .transform((items) => items.flatMap((item) => Listing.safeParse(item).data ?? []))
const Listed = z.object({ messages: listings, calls: listings }).catch({ messages: [], calls: [] })
const Account = z.object({ status: optional }).catch({})

/** A 2xx is an acceptance whatever its body holds, unless that says by itself that nothing will come. */
function sentOf(body: unknown, attemptId: string): Sent {
  const created = Created.parse(body)
  const { sid: id = attemptId, status = '', error_code: code } = created
  const meaning = meaningOfMessageStatus.get(status)
  if (meaning === 'by code' || meaning === 'failed.permanent')
    throw faultOfRefusal(
      twilioCodes,
      { status: 400, retryAfterMs: undefined },
      { code: code ?? 'none', words: `Twilio says ${status}.` },
    )
  return { providerMessageId: id, cost: costOf(created) }
}

/** What is paid is written with a minus. */
const costOf = ({
  price,
  price_unit: unit,
}: {
  price?: string
  price_unit?: string
}): Cost | undefined =>
  price && unit ? { amount: price.replace(/^-/, ''), currency: unit.toUpperCase() } : undefined

interface Search {
  path: string
  filter: Record<string, string>
  isOurs: (item: Listing) => boolean
}

function searchOf({ channel, to, claimedAt }: Omit<Doubt, 'attemptId'>, given: Settings): Search {
  const isOutbound = ({ direction = 'outbound-api' }: Listing) => direction === 'outbound-api'
  if (channel === 'voice')
    return {
      path: '/Calls.json',
      filter: { To: to, From: given.VOICE_FROM ?? '' },
      isOurs: isOutbound,
    }
  const path = '/Messages.json'
  // A day: the API knows no time here.
  const day = { 'DateSent>': claimedAt.toISOString().slice(0, 10) }
  if (channel === 'whatsapp') {
    const filter = { To: `whatsapp:${to}`, From: `whatsapp:${given.WHATSAPP_FROM}`, ...day }
    return { path, filter, isOurs: isOutbound }
  }
  const { MESSAGING_SERVICE_SID: service, FROM = '' } = given
  if (service === undefined)
    return { path, filter: { To: to, From: FROM, ...day }, isOurs: isOutbound }
  const isServices = (item: Listing) => isOutbound(item) && item.messaging_service_sid === service
  return { path, filter: { To: to, ...day }, isOurs: isServices }
}
