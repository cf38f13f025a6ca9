import { randomBytes } from 'node:crypto'
import type { NextFunction, Request, Response } from 'express'
import type { Logger } from 'pino'

/** What the log and the error answers know of a call. */
export interface Trace {
  id: string
  /** The pattern of the route, never the URL: that may hold a token. */
  route: string | null
  keyId: string | null
  requestId: string | null
  errorCode: string | null
  /** The name of the error behind a refusal, and its code: what was down, without any value. */
  cause: string | null
}

const traces = new WeakMap<Request, Trace>()

export function traceOf(request: Request): Trace {
  const known = traces.get(request)
  if (known) return known
  const trace = {
    id: traceId(request),
    route: null,
    keyId: null,
    requestId: null,
    errorCode: null,
    cause: null,
  }
  traces.set(request, trace)
  return trace
}

/** The caller's trace id where it sends a W3C `traceparent`, else a new one. */
function traceId(request: Request): string {
  const [, given] =
    /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(request.get('traceparent') ?? '') ?? []
  return given && !/^0+$/.test(given) ? given : randomBytes(16).toString('hex')
}

/** One line a call: no URL, no body, no header, nothing that a person can be told by. */
export const accessLog =
  (logger: Logger) =>
  (request: Request, response: Response, next: NextFunction): void => {
    const trace = traceOf(request)
    const started = performance.now()
    response.setHeader('X-Trace-Id', trace.id)
    response.once('close', () => {
      logger[response.statusCode >= 500 ? 'warn' : 'info'](
        {
          trace_id: trace.id,
          method: request.method,
          route: trace.route,
          status: response.statusCode,
          ms: Math.round(performance.now() - started),
          key_id: trace.keyId,
          request_id: trace.requestId,
          error_code: trace.errorCode,
          ...(trace.cause && { cause: trace.cause }),
          ...(!response.writableFinished && { aborted: true }),
        },
        'call',
      )
    })
    next()
  }
