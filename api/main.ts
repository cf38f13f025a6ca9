import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import pino, { type Logger } from 'pino'
import { openKeyFile } from '../codes/key-file'
import { type Config, readConfig } from '../config/index'
import { errorForLog } from '../db/error-for-log'
import { createDatabase } from '../db/index'
import { accountsLeftOut, createProviders } from '../providers/index'
import { createApi } from './app'
import { createEngine, type Engine } from '../engine'
import { createHttpServer } from './server'

/** In production a balancer needs this long to see that the process is not ready any more; milliseconds. */
const noticeMs = 2_000
/** What is still being answered after this is cut off. */
const drainMs = 20_000

async function main(): Promise<void> {
  const config = readConfig(process.env)
  const logger = pino({
    level: config.logLevel,
    base: { process: 'api' },
    serializers: { err: errorForLog },
  })
  for (const { reason } of accountsLeftOut(config.policy.accounts, config.providers))
    logger.info(reason)
  const db = createDatabase(config.databaseUrl, { applicationName: 'otpilot api', max: 20 })
  const checksDb = createDatabase(config.databaseUrl, {
    applicationName: 'otpilot api checks',
    max: 10,
  })
  const keyring = openKeyFile(config.keysFile, { strict: config.isProduction })
  const engine = createEngine({ ...config.temporal, db, log: logger })
  const draining = new AbortController()
  const app = createApi({
    db,
    checksDb,
    keyring,
    engine,
    routing: {
      policy: config.policy,
      accounts: createProviders(config.policy.accounts, config.providers),
    },
    logger,
    draining: draining.signal,
    isProduction: config.isProduction,
    region: config.region,
    publicUrl: config.url,
    workflowsUrl: workflowsUrl(config),
    sandboxUrl: config.providers.sandboxUrl,
    requireWorker: true,
  })
  void registerSearchAttributes(engine, logger, draining.signal)

  const server = createHttpServer(app)
  server.listen(config.port, config.host)
  await once(server, 'listening')
  logger.info({ host: config.host, port: config.port }, 'api is listening')
  process.send?.({ ready: true })

  await stopAsked()
  draining.abort()
  if (config.isProduction) await sleep(noticeMs)
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  const cutOff = setTimeout(() => server.closeAllConnections(), drainMs)
  await closed
  clearTimeout(cutOff)
  await engine.close()
  await db.close()
  await checksDb.close()
  keyring.close()
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
