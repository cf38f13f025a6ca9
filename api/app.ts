import express, { type Express, type RequestHandler } from 'express'
import helmet from 'helmet'
import { protectionOf } from '../core/protection/protection'
import { accessLog } from './access-log'
import { createAddressLimit } from './address-limit'
import { createAdmission } from './admission'
import { createAuthenticate } from './authenticate'
import { createPeers } from './client-address'
import type { Database } from '../db/index'
import type { ApiDeps } from './deps'
import { answerProblem, mountRoutes } from './mount'
import { requireHttps } from './https'
import { Problem } from './problem'
import { createQuota } from './quota'
import { createRoutes } from './routes/index'

/** The whole HTTP API; it listens to nothing. */
export function createApi(deps: ApiDeps): Express {
  const { checksDb, logger, draining } = deps
  const poolIsFull = () => [deps.db, deps.checksDb].some(isFull)
  const app = express()
  app
    .disable('x-powered-by')
    .disable('etag')
    .set('query parser', 'simple')
    .set('case sensitive routing', true)
  app.use(accessLog(logger))
  app.use(
    helmet({
      // Answers are data: whoever opens one as a page gets nothing that runs. A page brings its own policy.
      contentSecurityPolicy: {
        useDefaults: false,
        directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
      },
      frameguard: { action: 'deny' },
      strictTransportSecurity: deps.isProduction,
    }),
  )
  app.use((_request, response, next) => {
    response.set('Cache-Control', 'no-store')
    if (draining.aborted) response.set('Connection', 'close')
    next()
  })
  app.use(refuseUnclear)
  const routes = createRoutes(deps)
  const peers = createPeers(deps.trustProxy, () =>
    logger.warn(
      'the proxy that OTPILOT_TRUST_PROXY names writes something else than addresses into X-Forwarded-For: all of its callers share one limit',
    ),
  )
  if (deps.isProduction) {
    const { publicUrl, plainHttp = 'refuse' } = deps
    const exempt = new Set(routes.filter((route) => route.plainHttp).map(({ path }) => path))
    app.use(requireHttps({ peers, plainHttp, publicUrl, exempt }))
  }
  mountRoutes(app, routes, {
    // On the checks' pool: sends that wait for Postgres must not keep a check from its key.
    authenticate: createAuthenticate(checksDb, { region: deps.region }),
    peers,
    admission: createAdmission(),
    limitAddress: createAddressLimit(deps),
    takeQuota: createQuota(checksDb),
    sendsPerMinute: (id) =>
      protectionOf(deps.routing.policy, { app: id, country: null }).sendsPerMinute,
    logger,
    poolIsFull,
  })
  app.use(() => {
    throw new Problem('NOT_FOUND', { detail: 'There is no such path. See /docs.' })
  })
  app.use(answerProblem({ logger, poolIsFull }))
  return app
}

/** What Node would refuse without a body, or take in silence. */
const refuseUnclear: RequestHandler = (request, _response, next) => {
  const hosts = request.rawHeaders.filter((name, i) => i % 2 === 0 && /^host$/i.test(name)).length
  if (hosts > 1 || (hosts === 0 && request.httpVersion !== '1.0'))
    throw new Problem('INVALID_REQUEST', { detail: 'A call has exactly one Host header.' })
  const { expect } = request.headers
  if (expect !== undefined && expect.toLowerCase() !== '100-continue')
    throw new Problem('INVALID_REQUEST', { detail: 'Expect: only 100-continue is understood.' })
  next()
}

const isFull = ({ pool }: Database): boolean =>
  pool.totalCount >= pool.options.max && pool.idleCount === 0
