import { Agent, type Dispatcher } from 'undici'
import type { Fault } from '../core/delivery/fault'
import { version } from '../package.json'
import { ProviderFault, StaleClaim } from './provider'

/** Firewalls in front of providers challenge callers without a name. */
const userAgent = `otpilot/${version}`
const connectTimeoutMs = 1_000
/** A backstop only: the caller's signal ends a call long before. */
const silenceTimeoutMs = 30_000
const usualAnswerBytes = 64 * 1024
/** For {@link HttpCall.maxAnswerBytes}: a hundred messages with all that a provider keeps of each. */
export const listBytes = 1024 * 1024
const maxRetryAfterMs = 3_600_000

/** Connections to providers: pooled, kept alive, never retried and never redirected. */
export const createDispatcher = (): Dispatcher =>
  new Agent({
    connect: { timeout: connectTimeoutMs },
    headersTimeout: silenceTimeoutMs,
    bodyTimeout: silenceTimeoutMs,
  })

/** A provider's answer; `body` is undefined when it is no JSON, too long or cut short. */
export interface Answer {
  status: number
  retryAfterMs: number | undefined
  body: unknown
}

export interface HttpCall {
  url: string
  headers: Record<string, string>
  /** The exact bytes to send: signatures are over them. Without it, a GET. */
  body?: string | undefined
  /** By `performance.now()`: when a connection is there only later, nothing is written. */
  notAfter?: number | undefined
  /** What is longer counts as unreadable. */
  maxAnswerBytes?: number | undefined
}

/**
 * Makes one HTTP call, a POST where it has a body, and resolves with whatever answer came.
 * @throws {ProviderFault} `unavailable` when not one byte of the request was written, else `in_doubt`.
 * @throws {StaleClaim} when `notAfter` had passed before the first byte.
 */
export function callHttp(
  dispatcher: Dispatcher,
  call: HttpCall,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise<Answer>((resolve, reject) => {
    const { origin, pathname, search } = new URL(call.url)
    const handler = new AnswerReader(resolve, reject, signal, call)
    dispatcher.dispatch(
      {
        origin,
        path: pathname + search,
        method: call.body === undefined ? 'GET' : 'POST',
        headers: { accept: 'application/json', 'user-agent': userAgent, ...call.headers },
        body: call.body ?? null,
      },
      handler,
    )
  })
}

/** Posts JSON. @throws as {@link callHttp} does. */
export const postJson = (
  dispatcher: Dispatcher,
  { headers, ...post }: HttpCall & { body: string },
  signal: AbortSignal,
): Promise<Answer> =>
  callHttp(
    dispatcher,
    { ...post, headers: { 'content-type': 'application/json', ...headers } },
    signal,
  )

/** A form's fields; of several values each is a field of its own, an absent one is none. */
export type FormFields = Record<string, string | number | readonly string[] | undefined>

/** Posts a form. @throws as {@link callHttp} does. */
export const postForm = (
  dispatcher: Dispatcher,
  { headers, fields, ...post }: Omit<HttpCall, 'body'> & { fields: FormFields },
  signal: AbortSignal,
): Promise<Answer> =>
  callHttp(
    dispatcher,
    {
      ...post,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body: formOf(fields),
    },
    signal,
  )

function formOf(fields: FormFields): string {
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    const values = typeof value === 'object' ? value : value === undefined ? [] : [String(value)]
    for (const each of values) form.append(name, each)
  }
  return form.toString()
}

/**
 * Reads one answer below undici's `request`, because only the dispatcher tells when writing begins:
 * error codes alone cannot tell an abort while connecting from an abort while waiting.
 */
class AnswerReader implements Dispatcher.DispatchHandler {
  private controller: Dispatcher.DispatchController | undefined
  private status: number | undefined
  private retryAfterMs: number | undefined
  private readonly chunks: Buffer[] = []
  private size = 0
  private settled = false
  private readonly notAfter: number
  private readonly maxAnswerBytes: number

  constructor(
    private readonly resolve: (answer: Answer) => void,
    private readonly reject: (fault: ProviderFault) => void,
    private readonly signal: AbortSignal,
    { notAfter = Infinity, maxAnswerBytes = usualAnswerBytes }: HttpCall,
  ) {
    this.notAfter = notAfter
    this.maxAnswerBytes = maxAnswerBytes
    if (signal.aborted) this.onAbort()
    else signal.addEventListener('abort', this.onAbort, { once: true })
  }

  /** Runs right before the first byte goes out; aborting here still prevents it. */
  onRequestStart(controller: Dispatcher.DispatchController) {
    if (performance.now() > this.notAfter) this.finish(() => this.reject(new StaleClaim()))
    if (this.settled)
      return controller.abort(new Error('The call was given up before it was sent.'))
    this.controller = controller
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ) {
    if (status < 200) return
    this.status = status
    this.retryAfterMs = readRetryAfter(headers['retry-after'])
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer) {
    this.size += chunk.length
    if (this.size <= this.maxAnswerBytes) {
      this.chunks.push(chunk)
    } else {
      this.settle(undefined)
      controller.abort(new Error('The answer is too long.'))
    }
  }

  onResponseEnd() {
    this.settle(parseJson(Buffer.concat(this.chunks).toString('utf8')))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error) {
    this.settle(undefined, error)
  }

  private readonly onAbort = () => {
    const cause: unknown = this.signal.reason
    this.settle(undefined, cause)
    this.controller?.abort(cause instanceof Error ? cause : new Error('The call was given up.'))
  }

  /** A status line decides even if its body never arrived: the provider has made up its mind. */
  private settle(body: unknown, cause?: unknown) {
    const { status, retryAfterMs, controller } = this
    this.finish(() => {
      if (status !== undefined) return this.resolve({ status, retryAfterMs, body })
      const fault = controller
        ? new ProviderFault('in_doubt', 'No answer after the request was sent.', { cause })
        : new ProviderFault('unavailable', 'The provider could not be reached.', { cause })
      this.reject(fault)
    })
  }

  /** Whoever comes first decides. */
  private finish(decide: () => void) {
    if (this.settled) return
    this.settled = true
    this.signal.removeEventListener('abort', this.onAbort)
    decide()
  }
}

const notAsked = new Set([404, 405, 501])

/** What answers a ping does not know the question, as a mock may not: that says nothing of messages. */
export const isNoAnswer = ({ status }: Pick<Answer, 'status'>): boolean => notAsked.has(status)

/** What an HTTP status means that is no success, where the provider says no more. */
export function faultOfStatus(status: number): Fault {
  if (status === 429) return 'throttled'
  // A gateway in between got no answer, or none it understood: the provider may have processed the message.
  if (status === 502 || status === 504) return 'in_doubt'
  return status >= 500 || status === 408 ? 'unavailable' : 'config'
}

/** Undefined instead of an error: a provider's answer is never trusted to be JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function readRetryAfter(header: string | string[] | undefined): number | undefined {
  if (typeof header !== 'string') return undefined
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), maxRetryAfterMs)
}
