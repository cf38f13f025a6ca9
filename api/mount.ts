import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Express, NextFunction, Request, RequestHandler, Response } from 'express'
import type { Logger } from 'pino'
import { traceOf } from './access-log'
import type { LimitAddress } from './address-limit'
import type { Admission, Place } from './admission'
import type { Authenticate } from './authenticate'
import type { Peers } from './client-address'
import { requestIdShape } from './contract/common'
import { openPathToPages, openToPages } from './cors'
import { parseJson, readBody, usualBodyBytes } from './json-body'
import { problemOf } from './faults'
import { leavesBody, OpenBodies, type OpenCall } from './open-bodies'
import { Problem } from './problem'
import { quotaOfApp, type TakeQuota } from './quota'
import type { Call, Reply, Route } from './route'

export interface MountDeps {
  authenticate: Authenticate
  peers: Peers
  admission: Admission
  limitAddress: LimitAddress
  takeQuota: TakeQuota
  /** Sends an app may ask for in a minute; undefined: as many as its keys may. */
  sendsPerMinute: (app: string) => number | undefined
  logger: Logger
  poolIsFull: () => boolean
}

/** Gives Express the routes, and every path of theirs an answer to other methods. */
export function mountRoutes(app: Express, routes: Route[], given: MountDeps): void {
  const deps = { ...given, openBodies: new OpenBodies() }
  // Express takes the first path that fits: `/otp/search` must come before `/otp/{request_id}`.
  const placeholders = (path: string) => path.split('{').length
  const paths = [...Map.groupBy(routes, ({ path }) => path)].sort(
    ([one], [other]) => placeholders(one) - placeholders(other),
  )
  for (const [path, ofPath] of paths) {
    const mounted = app.route(path.replace(/\{(\w+)\}/g, ':$1'))
    for (const route of ofPath) mounted[route.method](answer(route, deps))
    mounted.all(refuseMethod(path, ofPath))
  }
}

/** Who calls again at once, against the advice, is to cost less than who is served. */
const refusalPauseMs = 300
const isAboutLoad = (error: unknown): boolean =>
  error instanceof Problem && (error.code === 'OVERLOADED' || error.code === 'QUOTA_EXCEEDED')

const answer =
  (route: Route, deps: MountDeps & { openBodies: OpenBodies }): RequestHandler =>
  async (request, response) => {
    traceOf(request).route = route.path
    if (route.retirement) response.set(retirementHeaders(route.retirement))
    openToPages(response, route)
    // Before everything else: what is too much must cost next to nothing.
    let place: Place | undefined
    let open: OpenCall | undefined
    const leave = () => {
      place?.leave()
      open?.leave()
      place = open = undefined
    }
    try {
      place = route.admission && deps.admission.enter(route.admission)
      open = route.rawBody ? deps.openBodies.enter() : undefined
      await send(
        response,
        await route.handle(await readCall(route, { ...deps, place, open }, request, response)),
      )
    } catch (error) {
      leave()
      if (isAboutLoad(error)) await sleep(refusalPauseMs)
      if (route.rawBody && leavesBody(request)) response.set('Connection', 'close')
      throw error
    } finally {
      leave()
    }
  }

/** The body is read only of callers that hold a key, or of a route that asks for none. */
async function readCall(
  route: Route,
  {
    authenticate,
    peers,
    limitAddress,
    takeQuota,
    sendsPerMinute,
    place,
    open,
  }: MountDeps & { place: Place | undefined; open: OpenCall | undefined },
  request: Request,
  response: Response,
): Promise<Call> {
  const trace = traceOf(request)
  const key = route.scope
    ? await authenticate(request.get('authorization'), {
        scope: route.scope,
        orScope: route.orScope,
        publishable: route.publishable === true,
      })
    : undefined
  trace.keyId = key?.id ?? null
  if (key?.app) place?.claim(key.app.id)
  const client = peers.clientOf(request)
  // First the address: one caller alone must not use up what all pages share.
  if (key?.publishable) await limitAddress({ key, route, client })
  if (key) response.set(await takeQuota(key))
  const perApp = key?.app && route.admission === 'send' ? sendsPerMinute(key.app.id) : undefined
  if (key?.app && perApp !== undefined)
    await takeQuota(quotaOfApp({ ...key, app: key.app }, perApp))
  const params = request.params as Record<string, string>
  const { request_id: requestId } = params
  if (requestId !== undefined) {
    if (!requestIdShape.test(requestId)) throw new Problem('NOT_FOUND')
    trace.requestId = requestId
  }
  const isRead = route.method !== 'get' && !route.rawBody
  const raw = isRead ? await readBody(request) : Buffer.alloc(0)
  return {
    raw,
    readBody: async (limit = route.maxBodyBytes ?? usualBodyBytes) =>
      !open || route.method === 'get'
        ? Buffer.alloc(0)
        : open.read(request, limit, networkOf(peers, request)),
    body: route.body && parseJson(raw, request.get('content-type'), route.bodyOptional === true),
    query: request.query,
    search: /\?.*$/s.exec(request.originalUrl)?.[0] ?? '',
    params,
    headers: request.headers,
    key,
    client,
    signal: leaving(response),
    begun: () => place?.begin(),
    settled: () => place?.settle(),
  }
}

/** Whom an open call counts for; a proxy that does not say for whom it calls may call for anybody. */
function networkOf(peers: Peers, request: Request): string | undefined {
  const { address, network } = peers.clientOf(request)
  const isProxys = peers.isProxy(request.socket) && address === peers.peerOf(request.socket).address
  return isProxys ? undefined : network
}

/** RFC 9745 and RFC 8594, on refusals too: a client that is being retired has to hear of it. */
function retirementHeaders({ deprecated, sunset }: NonNullable<Route['retirement']>) {
  return {
    Deprecation: `@${Date.parse(deprecated) / 1_000}`,
    Sunset: new Date(sunset).toUTCString(),
  }
}

/** Aborts when the caller hangs up before the answer. */
function leaving(response: Response): AbortSignal {
  const gone = new AbortController()
  if (response.destroyed) gone.abort()
  else response.once('close', () => gone.abort())
  return gone.signal
}

async function send(
  response: Response,
  { status = 200, headers = {}, contentType, body }: Reply,
): Promise<void> {
  response.status(status).set(headers)
  const bodyId = typeof body === 'object' && 'request_id' in body ? body.request_id : null
  if (typeof bodyId === 'string') traceOf(response.req).requestId ??= bodyId
  if (contentType) response.type(contentType)
  if (body instanceof Readable) await stream(body, response)
  else if (contentType) response.send(body)
  else response.json(body)
}

const callerLeft: ReadonlySet<string | undefined> = new Set([
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_STREAM_UNABLE_TO_PIPE',
])

/** A caller may leave before the end; any other end before it cuts the connection, so that nobody takes a part for all. */
async function stream(body: Readable, response: Response): Promise<void> {
  await pipeline(body, response).catch((error: NodeJS.ErrnoException) => {
    if (!callerLeft.has(error.code)) throw error
  })
}

function refuseMethod(path: string, routes: Route[]): RequestHandler {
  const methods = routes.flatMap(({ method }) =>
    method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()],
  )
  const allow = [...methods, 'OPTIONS'].join(', ')
  return (request, response) => {
    traceOf(request).route = path
    if (request.method !== 'OPTIONS')
      throw new Problem('METHOD_NOT_ALLOWED', { headers: { Allow: allow } })
    openPathToPages(response, routes)
    response.set('Allow', allow).status(204).end()
  }
}

/** The last step: turns whatever was thrown into a problem, and writes down what nobody foresaw. */
export const answerProblem =
  ({ logger, poolIsFull }: Pick<MountDeps, 'logger' | 'poolIsFull'>) =>
  // Express tells an error handler by its four parameters.
  (error: unknown, request: Request, response: Response, _next: NextFunction): void => {
    const trace = traceOf(request)
    const problem =
      problemOf(error, poolIsFull) ?? ofExpress(error) ?? unforeseen(error, logger, trace.id)
    trace.errorCode = problem.code
    trace.cause = nameOf(problem.cause)
    trace.requestId ??= problem.options.requestId ?? null
    if (response.headersSent) return void response.destroy()
    response
      .status(problem.status)
      .set(problem.headers)
      .type('application/problem+json')
      .send(JSON.stringify(problem.toBody(trace.id)))
  }

function nameOf(cause: unknown): string | null {
  if (!(cause instanceof Error)) return null
  const code = 'code' in cause ? ` ${String(cause.code)}` : ''
  const deeper = nameOf(cause.cause)
  return `${cause.name}${code}${deeper ? ` < ${deeper}` : ''}`
}

/** Express itself refuses paths it cannot decode. */
function ofExpress(error: unknown): Problem | undefined {
  return error instanceof URIError ? new Problem('NOT_FOUND', { cause: error }) : undefined
}

function unforeseen(error: unknown, logger: Logger, traceId: string): Problem {
  const { name, stack } =
    error instanceof Error ? error : new Error('Something else than an error was thrown.')
  // The first line of a stack is the message, which may quote values.
  const frames = stack?.split('\n').filter((line) => line.startsWith('    at '))
  const code = error instanceof Error && 'code' in error ? String(error.code) : null
  logger.error({ trace_id: traceId, error: name, code, frames }, 'unforeseen error')
  return new Problem('INTERNAL', { cause: error })
}
