import { Readable } from 'node:stream'
import { createTransport, type SendMailOptions } from 'nodemailer'
import { z } from 'zod'
import type { Fault } from '../../core/delivery/fault'
import { type AccountBase, adapter } from '../adapter'
import { faultOfMeaning } from '../error-codes'
import {
  type Letter,
  type Message,
  type ProviderAccount,
  ProviderFault,
  StaleClaim,
} from '../provider'
import { meaningOfRefusal, refusalIn, smtpCodes } from './codes'

/** Nodemailer's own are minutes (providers.md section 8): far longer than a code lives. */
const timeouts = {
  dnsTimeout: 5_000,
  connectionTimeout: 5_000,
  greetingTimeout: 5_000,
  socketTimeout: 10_000,
}
const pool = {
  maxConnections: 10,
  /** Below socketTimeout, so that an unused connection ends with a word. */
  idleTimeout: 9_000,
  /** A connection that the server closed while it was idle is replaced; {@link Handover} sees to the rest. */
  maxRequeues: 1,
}
const loopback = new Set(['localhost', '127.0.0.1', '::1'])

/** `otp@example.com` or `Acme <otp@example.com>`. */
const sender = z
  .string()
  .regex(
    /^[^<>\r\n@]{0,100}<[^\s<>@]+@[^\s<>@]+>$|^[^\s<>@]+@[^\s<>@]+$/,
    'must be an e-mail address, or a name and an address in < >',
  )
  .transform((text) => {
    const [, name = '', address = text] = /^(.*)<(.*)>$/.exec(text) ?? []
    return { name: name.trim(), address }
  })

const settings = z
  .object({
    HOST: z.string().regex(/^[\w.:-]{1,253}$/, 'must be a host name or an address'),
    PORT: z.coerce
      .number({ error: 'must be a port' })
      .int('must be a port')
      .min(1, 'must be a port')
      .max(65_535, 'must be a port')
      .default(587),
    TLS: z.enum(['starttls', 'implicit', 'off']).default('starttls'),
    USER: z.string().optional(),
    PASSWORD: z.string().optional(),
    FROM: sender,
    /** Where bounces go, with the attempt in the address; `plain` where the server allows only one sender. */
    RETURN_PATH: z
      .union([z.literal('plain'), sender], { error: 'must be an e-mail address, or plain' })
      .optional(),
  })
  .refine((given) => !given.USER || given.PASSWORD, {
    path: ['PASSWORD'],
    error: 'is needed beside USER',
  })
  .refine((given) => given.TLS !== 'off' || !given.USER || loopback.has(given.HOST), {
    path: ['TLS'],
    error: 'must not be off where a password crosses a network',
  })
type Settings = z.infer<typeof settings>

/** Any mail server (docs/providers/smtp.md). Shows that an address is read; it is no second factor. */
export const smtp = adapter({
  name: 'smtp',
  channels: ['email'],
  settings,
  codes: smtpCodes,
  create: createAccount,
})

function createAccount({ name, channels, test }: AccountBase, given: Settings): ProviderAccount {
  const transport = transportOf(given)

  async function send(message: Message, signal: AbortSignal) {
    const handover = new Handover(message.notAfter)
    try {
      await transport.sendMail({ ...mailOf(given, message), signal, handover } as Mail)
    } catch (error) {
      throw handover.state === 'stale' ? new StaleClaim() : faultFrom(error, handover)
    }
    // A server that takes a mail promises to pass it on or to send a bounce: no more than accepted.
    return { providerMessageId: messageIdOf(given, message) }
  }

  async function ping(signal: AbortSignal) {
    try {
      await Promise.race([transport.verify(), aborted(signal)])
    } catch (error) {
      throw faultFrom(error, new Handover(Infinity))
    }
  }

  async function mail(letter: Letter, signal: AbortSignal) {
    const handover = new Handover(Infinity)
    try {
      await transport.sendMail({ ...letterOf(given, letter), signal, handover } as Mail)
    } catch (error) {
      throw faultFrom(error, handover)
    }
  }

  const account = { name, adapter: 'smtp', channels, test }
  return { ...account, sender: { send }, pinger: { ping }, mailer: { mail } }
}

type Mail = SendMailOptions & { handover: Handover }

function transportOf({ HOST: host, PORT: port, TLS: tls, USER: user, PASSWORD: pass }: Settings) {
  const transport = createTransport({
    ...timeouts,
    ...pool,
    pool: true,
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'starttls',
    ignoreTLS: tls === 'off',
    ...(user && { auth: { user, pass } }),
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  transport.use('stream', ({ data, message }, done) => {
    const { handover } = data as Mail
    message.processFunc((input) => handover.watch(input))
    done()
  })
  return transport
}

/** Knows whether the mail itself was begun: what goes before it, sender and recipient, delivers nothing. */
class Handover {
  state: 'waiting' | 'begun' | 'stale' = 'waiting'

  constructor(private readonly notAfter: number) {}

  /** The same bytes; the first of them is read only when the server has asked for the mail. */
  watch(mail: Readable): Readable {
    return Readable.from(this.bytesOf(mail))
  }

  private async *bytesOf(mail: Readable): AsyncGenerator {
    // Never a second time: the first may have arrived.
    if (this.state !== 'waiting') throw new Error('The mail was begun before.')
    this.state = performance.now() > this.notAfter ? 'stale' : 'begun'
    if (this.state === 'stale') throw new Error('The claim grew old before the mail began.')
    yield* mail
  }
}

const mailOf = (given: Settings, message: Message): SendMailOptions => ({
  from: given.FROM,
  to: { name: '', address: message.to },
  envelope: { from: returnPathOf(given, message), to: message.to },
  messageId: `<${messageIdOf(given, message)}>`,
  subject: message.subject ?? `Your ${message.brand} code`,
  text: message.text,
  html: message.html,
  headers: { 'auto-submitted': 'auto-generated', 'x-auto-response-suppress': 'All' },
})

/** The same for a repetition, so that mailboxes that compare ids show one. */
const messageIdOf = ({ FROM }: Settings, { attemptId, repeats }: Message): string =>
  `${repeats ?? attemptId}@${domainOf(FROM)}`

/** Bounces come to the sender, where people read them. */
const letterOf = (
  { FROM: from }: Settings,
  { id, to, subject, text }: Letter,
): SendMailOptions => ({
  from,
  to: to.map((address) => ({ name: '', address })),
  messageId: `<${id}@${domainOf(from)}>`,
  subject,
  text,
  headers: { 'auto-submitted': 'auto-generated', 'x-auto-response-suppress': 'All' },
})

const domainOf = ({ address }: { address: string }): string =>
  address.slice(address.lastIndexOf('@') + 1)

/** A bounce comes back to an address that names the attempt. */
function returnPathOf({ FROM: from, RETURN_PATH: path = from }: Settings, { attemptId }: Message) {
  if (path === 'plain') return from.address
  const at = path.address.lastIndexOf('@')
  return `${path.address.slice(0, at)}+${attemptId}${path.address.slice(at)}`
}

const Failure = z
  .object({
    code: z.string().catch(''),
    originalCode: z.string().catch(''),
    response: z.string().catch(''),
    command: z.string().catch(''),
  })
  .catch({ code: '', originalCode: '', response: '', command: '' })

/**
 * A reply decides, whenever it comes. Without one, everything before the mail's first byte was no delivery; after it,
 * nobody knows. Nothing of nodemailer's error is kept: its text holds the address.
 */
function faultFrom(error: unknown, { state }: Handover): ProviderFault {
  const { code, originalCode, response, command } = Failure.parse(error)
  const refusal = refusalIn(response, command)
  if (refusal)
    return faultOfMeaning(meaningOfRefusal(refusal), `The mail server said ${refusal.code}.`, {
      code: refusal.enhanced ?? String(refusal.code),
    })
  if (state === 'begun')
    return new ProviderFault('in_doubt', 'No answer after the mail was handed over.')
  return new ProviderFault(faultOfCode(code, originalCode), 'The mail server could not be used.')
}

/** Of nodemailer's codes (errors.js) those that no later try mends, and a certificate that is not to be trusted. */
function faultOfCode(code: string, originalCode: string): Fault {
  if (code === 'EAUTH' || code === 'ENOAUTH') return 'config'
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS|ERR_SSL/.test(originalCode)) return 'config'
  return code === 'EENVELOPE' ? 'invalid_number' : 'unavailable'
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    const stop = () => reject(new Error('The call was given up.'))
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
