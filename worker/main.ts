import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { DefaultLogger, Runtime } from '@temporalio/worker'
import pino, { type Logger } from 'pino'
import { createEngine, type Engine } from '../temporal'
import { openKeys } from '../codes/open-keys'
import { type Config, readConfig } from '../config'
import { followPolicy } from '../config/live-policy'
import { createDatabase } from '../db'
import { errorForLog } from '../db/error-for-log'
import { bundlePath, workflowSources } from './bundle'
import { startAlerts } from './alerts'
import { startEvents } from './events'
import { startReceiptPoller } from './receipt-poller'
import { startSealer } from './sealer'
import { startSweeper } from './sweeper'
import { createWorker } from './worker'

const scheduleAgainMs = 30_000

async function main(): Promise<void> {
  const config = readConfig(process.env)
  const log = createLog(config)
  installRuntime(log)
  const db = createDatabase(config.databaseUrl, {
    applicationName: 'otpilot worker',
    ...config.statements,
  })
  const keyring = openKeys(config, log)
  const engine = createEngine({ ...config.temporal, db, log })
  await engine.registerSearchAttributes()
  const live = followPolicy(config, { log })
  const providers = live.accounts
  const { worker, connection } = await createWorker({
    ...config.temporal,
    workflows: workflowsOf(config.workflowBundle ?? bundlePath),
    db,
    keyring,
    providers,
    region: config.region,
    get retention() {
      return live.policy.retention
    },
    alertPolicy: () => live.policy.alerts,
    publicUrl: config.url,
    wake: (wake) => engine.wake(wake),
    log,
  })
  void schedule(engine, log)
  const eventsDb = openEventsDb(config)
  const { region } = config
  const deps = { db: eventsDb, keyring, engine, reach: config, region, log }
  const events = await startEvents({ ...config.temporal, ...deps, connection })
  const loops = [
    startSweeper({ db, engine, providers, region, log }),
    startReceiptPoller({ db, providers, region, wake: (wake) => engine.wake(wake), log }),
    startSealer({ db, keyring, auditDir: config.auditDir, log }),
    { stop: events.stopSending },
    startAlerts({ ...config, db: eventsDb, live, log }),
  ]
  const stopLoops = () => Promise.all(loops.map((loop) => loop.stop()))
  // They end their round while the worker drains, not after it, and take up nothing new.
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => void stopLoops())
  process.once('disconnect', () => {
    void stopLoops()
    // A signal may have come first.
    if (worker.getState() === 'RUNNING') worker.shutdown()
    void events.stop()
  })
  process.send?.({ ready: true })
  log.info('worker is polling')
  try {
    await Promise.all([worker.run(), events.running])
  } finally {
    await stopLoops()
    await engine.close()
    await connection.close()
    await Promise.all([db.close(), eventsDb.close()])
    keyring.close()
    live.close()
  }
}

/** Connections of their own: receivers that answer slowly must not keep codes from being sent. */
const openEventsDb = ({ databaseUrl, statements }: Pick<Config, 'databaseUrl' | 'statements'>) =>
  createDatabase(databaseUrl, { applicationName: 'otpilot worker events', max: 5, ...statements })

const createLog = ({ logLevel: level }: Pick<Config, 'logLevel'>): Logger =>
  pino({ level, base: { process: 'worker' }, serializers: { err: errorForLog } })

/** Nothing that a worker needs to send: a Temporal that does not take it now is asked again, and the worker works. */
async function schedule(engine: Engine, log: Logger): Promise<void> {
  for (;;) {
    try {
      await Promise.all([
        engine.scheduleRetention(),
        engine.scheduleHealth(),
        engine.scheduleAbuseWatch(),
      ])
      return
    } catch (error) {
      log.warn({ err: error }, 'schedules could not be made: tried again')
    }
    await pause(scheduleAgainMs, undefined, { ref: false })
  }
}

function installRuntime(log: Logger): void {
  Runtime.install({
    logger: new DefaultLogger('WARN', ({ level, message, meta }) => {
      // The worker for events has activities only, which is meant.
      if (message.startsWith('No workflows registered')) return
      log[level === 'ERROR' ? 'error' : 'warn'](
        { workflowId: meta?.workflowId, err: meta?.error },
        message,
      )
    }),
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
    // SIGTERM and SIGINT drain the worker; `run()` returns when it is done.
    shutdownSignals: ['SIGTERM', 'SIGINT'],
  })
}

/** The bundle, or the sources where nobody has made one. */
const workflowsOf = (codePath: string) =>
  existsSync(codePath)
    ? { workflowBundle: { codePath } }
    : {
        workflowsPath: workflowSources.workflowsPath,
        interceptors: { workflowModules: workflowSources.workflowInterceptorModules },
      }

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  },
)
