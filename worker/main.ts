import { existsSync } from 'node:fs'
import { DefaultLogger, Runtime } from '@temporalio/worker'
import pino from 'pino'
import { createEngine } from '../engine'
import { openKeyFile } from '../codes/key-file'
import { readConfig } from '../config'
import { createDatabase } from '../db'
import { errorForLog } from '../db/error-for-log'
import { createProviders } from '../providers'
import { bundlePath } from './bundle'
import { startSweeper } from './sweeper'
import { createWorker } from './worker'

async function main(): Promise<void> {
  const config = readConfig(process.env)
  const log = pino({
    level: config.logLevel,
    base: { process: 'worker' },
    serializers: { err: errorForLog },
  })
  Runtime.install({
    logger: new DefaultLogger('WARN', ({ level, message, meta }) =>
      log[level === 'ERROR' ? 'error' : 'warn'](
        { workflowId: meta?.workflowId, err: meta?.error },
        message,
      ),
    ),
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
    // SIGTERM and SIGINT drain the worker; `run()` returns when it is done.
    shutdownSignals: ['SIGTERM', 'SIGINT'],
  })
  const db = createDatabase(config.databaseUrl, { applicationName: 'otpilot worker' })
  const keyring = openKeyFile(config.keysFile, { strict: config.isProduction })
  const engine = createEngine({ ...config.temporal, db, log })
  await engine.registerSearchAttributes()
  const { worker, connection } = await createWorker({
    ...config.temporal,
    workflows: workflowsOf(config.workflowBundle ?? bundlePath),
    db,
    keyring,
    providers: createProviders(config.policy.accounts, config.providers),
    publicUrl: config.url,
    log,
  })
  const sweeper = startSweeper({ db, engine, log })
  // The sweeper ends its round while the worker drains, not after it.
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => void sweeper.stop())
  process.once('disconnect', () => {
    void sweeper.stop()
    // A signal may have come first.
    if (worker.getState() === 'RUNNING') worker.shutdown()
  })
  process.send?.({ ready: true })
  log.info('worker is polling')
  try {
    await worker.run()
  } finally {
    await sweeper.stop()
    await engine.close()
    await connection.close()
    await db.close()
    keyring.close()
  }
}

/** The bundle, or the sources where nobody has made one. */
const workflowsOf = (codePath: string) =>
  existsSync(codePath)
    ? { workflowBundle: { codePath } }
    : { workflowsPath: require.resolve('../workflows') }

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  },
)
