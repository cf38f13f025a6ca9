import { once } from 'node:events'
import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import pino, { type Logger } from 'pino'
import { openKeys } from '../codes/open-keys'
import { type Config, readConfig } from '../config/index'
import { followPolicy } from '../config/live-policy'
import { productionWarnings } from '../config/warnings'
import { errorForLog } from '../db/error-for-log'
import { createDatabase } from '../db/index'
import { camaraSimSwap } from '../providers/camara'
import { accountsLeftOut } from '../providers/index'
import { createApi } from './app'
import { openCertificate } from './certificate'
import { createPeers } from './client-address'
import { createEngine, type Engine } from '../temporal'
import { createHttpServer } from './server'

/** In production a balancer needs this long to see that the process is not ready any more; milliseconds. */
const noticeMs = 2_000
/** What is still being answered after this is cut off. */
const drainMs = 20_000

async function main(): Promise<void> {
  const config = readConfig(process.env, { serves: true })
  const logger = pino({
    level: config.logLevel,
    base: { process: 'api' },
    serializers: { err: errorForLog },
  })
  const certificate = config.tls && openCertificate(config.tls, logger)
  const databases = openDatabases(config)
  const keyring = openKeys(config, logger)
  const engine = createEngine({ ...config.temporal, db: databases.db, log: logger })
  const live = followPolicy(config, { log: logger })
  const { policy, variables } = config
  for (const { reason, begun } of accountsLeftOut(policy.accounts, variables, live.accounts))
    logger[begun ? 'warn' : 'info'](reason)
  for (const sentence of productionWarnings(config)) logger.warn(sentence)
  const draining = new AbortController()
  const app = createApi({
    ...databases,
    keyring,
    engine,
    routing: live,
    logger,
    draining: draining.signal,
    isProduction: config.isProduction,
    region: config.region,
    trustProxy: config.trustProxy,
    plainHttp: config.plainHttp,
    publicUrl: config.url,
    workflowsUrl: workflowsUrl(config),
    sandboxUrl: config.sandboxUrl,
    challengeAccounts: config.challenges,
    ...(config.camara && { camara: camaraSimSwap(config.camara) }),
    readyAfter: config.readyAfter,
  })
  void registerSearchAttributes(engine, logger, draining.signal)

  const server = createHttpServer(app, { certificate, peers: createPeers(config.trustProxy) })
  server.listen(config.port, config.host)
  await once(server, 'listening')
  logger.info({ host: config.host, port: config.port }, 'api is listening')
  process.send?.({ ready: true })

  await stopAsked()
  draining.abort()
  if (config.isProduction) await sleep(noticeMs)
  await drained(server)
  certificate?.close()
  await engine.close()
  await Promise.all(Object.values(databases).map((each) => each.close()))
  keyring.close()
  live.close()
}

/** Checks have connections of their own: they go on while sends wait for theirs. */
function openDatabases({ databaseUrl, statements }: Config) {
  const open = (applicationName: string, max: number, keepsIdle = false) =>
    createDatabase(databaseUrl, { applicationName, max, keepsIdle, ...statements })
  return {
    db: open('otpilot api', 20),
    checksDb: open('otpilot api checks', 10),
    readinessDb: open('otpilot api readiness', 1, true),
  }
}

/** Answers what has begun; what takes too long is cut off. */
async function drained(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  const cutOff = setTimeout(() => server.closeAllConnections(), drainMs)
  await closed
  clearTimeout(cutOff)
}

function workflowsUrl({ isProduction, temporal }: Config): string | undefined {
  if (isProduction || !temporal.uiUrl) return undefined
  return `${temporal.uiUrl}/namespaces/${encodeURIComponent(temporal.namespace)}/workflows`
}

/** Runs cannot start before the namespace knows the attributes; Temporal may come up after this process. */
async function registerSearchAttributes(
  engine: Engine,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      return await engine.registerSearchAttributes()
    } catch (error) {
      const name = error instanceof Error ? error.name : 'unknown'
      logger.warn(
        { error: name },
        'Temporal does not take the search attributes yet: trying again in 2 s',
      )
      await sleep(2_000, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}

/** SIGTERM, SIGINT, or the end of the process that forked this one. */
const stopAsked = () =>
  new Promise<void>((resolve) => {
    for (const event of ['SIGTERM', 'SIGINT', 'disconnect'] as const)
      process.once(event, () => resolve())
  })

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(1)
  },
)
