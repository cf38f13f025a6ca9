import express, { type Express } from 'express'
import helmet from 'helmet'
import { accessLog } from './access-log'
import { createAdmission } from './admission'
import { createAuthenticate } from './authenticate'
import type { Database } from '../db/index'
import type { ApiDeps } from './deps'
import { answerProblem, mountRoutes } from './mount'
import { Problem } from './problem'
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
  mountRoutes(app, createRoutes(deps), {
    // On the checks' pool: sends that wait for Postgres must not keep a check from its key.
    authenticate: createAuthenticate(checksDb, { region: deps.region }),
    admission: createAdmission(),
    logger,
    poolIsFull,
  })
  app.use(() => {
    throw new Problem('NOT_FOUND', { detail: 'There is no such path. See /docs.' })
  })
  app.use(answerProblem({ logger, poolIsFull }))
  return app
}

const isFull = ({ pool }: Database): boolean =>
  pool.totalCount >= pool.options.max && pool.idleCount === 0
