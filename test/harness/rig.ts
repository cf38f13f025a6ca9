import { createServer, type RequestListener } from 'node:http'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, Connection } from '@temporalio/client'
import pino from 'pino'
import { makeSecret } from '../../codes/standard-webhook'
import { freePort } from '../../cli/ports'
import { findTemporal } from '../../cli/temporal-binary'
import shippedPolicy from '../../config/policy.json'
import type { Channel } from '../../core/channel'
import type { Step } from '../../core/requests/plan'
import { createDatabase } from '../../db'
import { createApiKey } from '../../db/apps/api-keys'
import { changeApp, createApp } from '../../db/apps/apps'
import { createSandbox } from '../../sandbox'
import { freshDatabase } from './database'
import { createPostgresProxy } from './postgres-proxy'
import { createMember, createTemporalMember } from './processes'
import { buildPrograms } from './program-build'
import { createProviderProxy } from './provider-proxy'
import { tempKeyFile } from './seed'
import { closeServer, listen } from './listening'

export interface RigOptions {
  steps?: Partial<Record<Channel, Partial<Step>>>
  /** Worker processes; what kills and restarts the worker means the first. */
  workers?: number
}

/**
 * The whole service as real processes: API, worker and a Temporal server of its own, each of which can be killed,
 * with a proxy in front of what each of them talks to. The sandbox stays here: it is the witness.
 */
export async function startRig({ steps = {}, workers = 1 }: RigOptions = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'otpilot-rig-'))
  const faults: number[] = []
  const crashes: string[] = []
  const onKill = (at: number) => void faults.push(at)
  const programs = buildPrograms(join(folder, 'build'))
  const { url: databaseUrl, drop } = await freshDatabase()
  const db = createDatabase(databaseUrl, { max: 5 })
  const choice = await findTemporal({
    // Faults are for a server of our own, wherever the other tests have theirs.
    env: { ...process.env, TEMPORAL_ADDRESS: undefined },
    say: () => undefined,
  })
  if (choice.kind !== 'binary') throw new Error('A Temporal server of our own is needed.')
  const temporal = createTemporalMember({
    binary: choice.binary,
    port: await freePort(),
    dbFile: join(folder, 'temporal.db'),
    logFile: join(folder, 'temporal.log'),
    onKill,
  })
  await temporal.start()

  const url = `http://127.0.0.1:${await freePort()}`
  const secret = makeSecret()
  const sandbox = createSandbox({ secret, otpilotUrl: url, logger: pino({ level: 'silent' }) })
  const sandboxServer = createServer(sandbox.app as RequestListener)
  const sandboxUrl = await listen(sandboxServer)
  const provider = await createProviderProxy(sandboxUrl)
  const apiDatabase = await createPostgresProxy(databaseUrl)
  const workerDatabase = await createPostgresProxy(databaseUrl)

  const policyFile = join(folder, 'policy.json')
  const keysFile = tempKeyFile()
  const auditDir = join(folder, 'audit')
  const providers = { ...shippedPolicy.providers, ussd: ['*'] }
  writeFileSync(policyFile, JSON.stringify({ ...shippedPolicy, rules: [], providers, steps }))
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    // A killed process is back sooner.
    NODE_COMPILE_CACHE: join(folder, 'compile-cache'),
    OTPILOT_ENV: 'development',
    PORT: new URL(url).port,
    OTPILOT_URL: url,
    OTPILOT_DATA_DIR: folder,
    OTPILOT_KEYS_FILE: keysFile,
    OTPILOT_AUDIT_DIR: auditDir,
    OTPILOT_POLICY_FILE: policyFile,
    TEMPORAL_ADDRESS: temporal.address,
    SANDBOX_SECRET: secret,
    LOG_LEVEL: 'warn',
  }
  const member = (name: 'api' | 'worker', own: NodeJS.ProcessEnv, place = '') =>
    createMember({
      name,
      entry: programs(name),
      env: { ...env, ...own },
      logFile: join(folder, `${name}${place}.log`),
      onKill,
      onCrash: (sentence) => void crashes.push(sentence),
    })
  const api = member('api', { DATABASE_URL: apiDatabase.url, SANDBOX_URL: sandboxUrl })
  const workerEnv = { DATABASE_URL: workerDatabase.url, SANDBOX_URL: provider.url }
  const worker = member('worker', workerEnv)
  const moreWorkers = Array.from({ length: workers - 1 }, (_, place) =>
    member('worker', workerEnv, `-${place + 2}`),
  )

  await createApp(db, { id: 'app', name: 'Acme' })
  await createApp(db, { id: 'patient', name: 'Patient' })
  await changeApp(db, 'patient', { queueWhenDown: true })
  const keyOf = async (appId: string) => {
    const scopes = ['send', 'verify', 'read']
    return (await createApiKey(db, { appId, environment: 'staging', scopes })).key
  }
  const [key, patientKey] = [await keyOf('app'), await keyOf('patient')]
  await Promise.all([api, worker, ...moreWorkers].map((each) => each.start()))
  const connection = Connection.lazy({ address: temporal.address })

  return {
    folder,
    keysFile,
    auditDir,
    url,
    sandboxUrl,
    key,
    patientKey,
    db,
    api,
    worker,
    temporal,
    apiDatabase,
    workerDatabase,
    provider,
    /** When something was killed, in epoch milliseconds. */
    faults,
    /** Ends that no test has asked for; there should be none. */
    crashes,
    runs: new Client({ connection }).workflow,
    stop: async () => {
      await Promise.all([api, worker, ...moreWorkers].map((each) => each.stop()))
      await connection.close()
      await temporal.stop()
      await Promise.all([provider.close(), apiDatabase.close(), workerDatabase.close()])
      await sandbox.close()
      await closeServer(sandboxServer)
      await db.close()
      await drop()
      rmSync(folder, { recursive: true })
    },
  }
}
export type Rig = Awaited<ReturnType<typeof startRig>>
