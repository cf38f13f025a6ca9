import { randomBytes } from 'node:crypto'
import { createServer, type RequestListener } from 'node:http'
import { DefaultLogger, Runtime, type Worker } from '@temporalio/worker'
import pino, { type Logger } from 'pino'
import { request } from 'undici'
import { createApi } from '../../api/app'
import { createEngine, type Engine } from '../../temporal'
import { openKeyFile } from '../../codes/key-file'
import { readChallengeAccounts } from '../../config/challenges'
import { loadPolicy, type Policy } from '../../config/policy'
import type { TrustProxy } from '../../config/trust-proxy'
import { createDatabase, type Database } from '../../db'
import { createApiKey } from '../../db/apps/api-keys'
import { createApp } from '../../db/apps/apps'
import type { Step } from '../../core/requests/plan'
import type { Channel } from '../../core/channel'
import { createProviders } from '../../providers'
import type { Variables } from '../../providers/adapter'
import { createSandbox } from '../../sandbox'
import { challengeVendors, variablesFor, vendors } from '../../sandbox/vendors'
import { startEvents } from '../../worker/events'
import { startReceiptPoller } from '../../worker/receipt-poller'
import { startSweeper } from '../../worker/sweeper'
import { createWorker } from '../../worker/worker'
import { freshDatabase, temporalAddress } from './database'
import { closeServer, listen } from './listening'
import { tempKeyFile } from './seed'
import { bundlePath } from './workflow-bundle'

export interface SystemOptions {
  /** Overrides of the shipped policy's steps: tests need not wait 30 s for a time-out. */
  steps?: Partial<Record<Channel, Partial<Step>>>
  /** The plan's channels for phones, in order. */
  channels?: Channel[]
  /** Settings of provider accounts, beside the sandbox's. */
  variables?: Variables
  /** Vendors that the sandbox plays: the accounts of these names are pointed at it, for live keys. */
  fakes?: readonly string[]
  /** Channels on which the provider accounts of these names make codes of their own. */
  delegated?: Readonly<Record<string, Channel[]>>
  withWorker?: boolean
  /** Where API, worker and provider accounts stand. */
  region?: string
  /** Pauses between the tries of an event, in milliseconds. */
  eventDelaysMs?: readonly number[]
  /** Calls may then come from anywhere, by `X-Forwarded-For`. */
  trustProxy?: TrustProxy
  log?: Logger
}

let isInstalled = false
/** Only with a worker: nothing else ever ends the runtime, and jest would wait for it. */
function installRuntime(): void {
  if (isInstalled) return
  isInstalled = true
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } },
    shutdownSignals: [],
  })
}

/** The whole service in one process, on the run's Temporal server and a database of its own. */
export async function startSystem(options: SystemOptions = {}) {
  const log = options.log ?? pino({ level: 'silent' })
  const { url: databaseUrl, adminUrl, drop } = await freshDatabase()
  const db = createDatabase(databaseUrl)
  const readinessDb = createDatabase(databaseUrl, { max: 1 })
  const keysFile = tempKeyFile()
  const keyring = openKeyFile(keysFile, { strict: true })
  const taskQueue = `otpilot-${randomBytes(4).toString('hex')}`
  const temporal = { connection: { address: temporalAddress() }, namespace: 'default', taskQueue }
  const engine = createEngine({ ...temporal, db, log })
  await engine.registerSearchAttributes()

  const secret = `whsec_${randomBytes(32).toString('base64')}`
  // Callbacks need the API's address before the API listens, so its port is taken first.
  const apiServer = createServer()
  const publicUrl = await listen(apiServer)
  const sandboxServer = createServer()
  const sandboxUrl = await listen(sandboxServer)
  const played = [...vendors, ...challengeVendors].filter(({ name }) =>
    options.fakes?.includes(name),
  )
  const variables = { ...variablesFor(sandboxUrl, played), ...options.variables }
  const sandbox = createSandbox({ secret, otpilotUrl: publicUrl, logger: log, variables })
  sandboxServer.on('request', sandbox.app as RequestListener)
  await loadLazyParts(sandboxUrl)

  const policy = policyWith(options)
  const accounts = createProviders(policy.accounts, {
    SANDBOX_URL: sandboxUrl,
    SANDBOX_SECRET: secret,
    ...variables,
  })
  const draining = new AbortController()
  const makeApi = (itsEngine: Engine = engine, itsDb: Database = db, itsChecksDb = itsDb) =>
    createApi({
      db: itsDb,
      checksDb: itsChecksDb,
      readinessDb,
      keyring,
      engine: itsEngine,
      routing: { policy, accounts },
      logger: log,
      draining: draining.signal,
      isProduction: false,
      region: options.region,
      trustProxy: options.trustProxy,
      publicUrl,
      sandboxUrl,
      challengeAccounts: readChallengeAccounts(variables),
    }) as RequestListener
  apiServer.on('request', makeApi())

  await createApp(db, { id: 'app', name: 'Acme' })
  await createApp(db, { id: 'other', name: 'Other' })
  const scopes = ['send', 'verify', 'read']
  const { key } = await createApiKey(db, { appId: 'app', environment: 'staging', scopes })
  const { key: liveKey } = await createApiKey(db, {
    appId: 'app',
    environment: 'production',
    scopes,
  })
  const { key: otherKey } = await createApiKey(db, {
    appId: 'other',
    environment: 'staging',
    scopes,
  })
  const { key: operatorKey } = await createApiKey(db, {
    appId: null,
    environment: 'staging',
    scopes: ['admin'],
  })

  const startWorker = async (region = options.region) => {
    installRuntime()
    const { worker, connection } = await createWorker({
      ...temporal,
      workflows: { workflowBundle: { codePath: bundlePath() } },
      db,
      keyring,
      providers: accounts,
      region,
      retention: policy.retention,
      alertPolicy: () => policy.alerts,
      publicUrl,
      wake: (wake) => engine.wake(wake),
      log,
    })
    const sweeper = startSweeper({ db, engine, providers: accounts, region, log })
    const wake = engine.wake.bind(engine)
    const poller = startReceiptPoller({ db, providers: accounts, region, wake, log })
    const events = await startEvents({
      ...temporal,
      connection,
      db,
      keyring,
      engine,
      reach: { isProduction: false },
      region: options.region,
      ...(options.eventDelaysMs && { delaysMs: options.eventDelaysMs }),
      log,
    })
    const running = worker.run()
    return {
      worker,
      stop: async () => {
        await Promise.all([sweeper.stop(), poller.stop()])
        if (worker.getState() === 'RUNNING') worker.shutdown()
        await Promise.all([running, events.stop()])
        await connection.close()
      },
    }
  }
  let worker: { worker: Worker; stop(): Promise<void> } | undefined =
    options.withWorker === false ? undefined : await startWorker()

  return {
    url: publicUrl,
    sandboxUrl,
    sandboxSecret: secret,
    databaseUrl,
    adminUrl,
    keysFile,
    keyring,
    db,
    engine,
    temporal,
    policy,
    accounts,
    key,
    liveKey,
    otherKey,
    operatorKey,
    makeApi,
    stopWorker: async () => {
      await worker?.stop()
      worker = undefined
    },
    startWorker: async () => {
      worker ??= await startWorker()
    },
    /** A second one beside it; to be stopped before the system. */
    startWorkerElsewhere: (region: string) => startWorker(region),
    stop: async () => {
      draining.abort()
      await worker?.stop()
      await closeServer(apiServer)
      await sandbox.close()
      await closeServer(sandboxServer)
      await engine.close()
      keyring.close()
      await Promise.all([db.close(), readinessDb.close()])
      await drop()
    },
  }
}
export type System = Awaited<ReturnType<typeof startSystem>>

function policyWith({ steps, channels, region, delegated = {} }: SystemOptions): Policy {
  const loaded = loadPolicy(undefined)
  if (!loaded.success) throw new Error(loaded.faults.join('\n'))
  const { policy } = loaded
  return {
    ...policy,
    accounts: policy.accounts.map((account) => ({
      ...account,
      region,
      ...(delegated[account.name] && { delegated: delegated[account.name] }),
    })),
    channels: { ...policy.channels, ...(channels ? { phone: channels } : {}) },
    // What is tested is the service: which country has which order is the policy's.
    rules: [],
    providers: { ...policy.providers, ussd: ['*'] },
    steps: { ...policy.steps, ...steps },
  }
}

/** undici and body-parser load parts of themselves at their first call, which jest forbids to concurrent tests. */
async function loadLazyParts(sandboxUrl: string): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const refused = await request(`${sandboxUrl}/providers`, { method: 'POST', headers, body: '{}' })
  await refused.body.dump()
}
