import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readConfig } from '../config/index'
import { describeStart, neededPorts } from './check-start'
import { isChild, startChild } from './child'
import {
  lock,
  readSecrets,
  rememberedProcesses,
  rememberFakes,
  rememberProcesses,
  rotateLog,
} from './data-folder'
import { readVariables, writeVariables } from './dotenv'
import type { Variables } from './dotenv'
import { openPostgres } from './open-postgres'
import { assertFree } from './ports'
import { clustersOf, stopLeftBehind } from './postgres'
import { commandLine, isRunning, stopProcess } from './processes'
import { programEnv, programs } from './program-env'
import { seed } from './seed'
import { readSettings, rememberGiven } from './settings'
import type { Settings } from './settings'
import { assertOptions, variablesOfFakes, withMailPort } from './with-fakes'
import { createSupervisor } from './supervisor'
import type { Supervisor } from './supervisor'
import { bringUpToDate } from './tables'
import { startTemporal, temporalAnswers } from './temporal'
import { findTemporal } from './temporal-binary'
import { welcome } from './welcome'
import { bundleWorkflows } from './workflow-bundle'

const root = resolve(__dirname, '..')
const entryOf = (program: string) => join(root, program, 'main.ts')

const say = (sentence: string) => console.log(sentence)

/** Ends what an earlier start left running when it was killed. */
const stopLeftovers = async ({ folder }: Settings): Promise<void> => {
  const isOurs = (name: string, command: string): boolean =>
    name === 'Temporal'
      ? command.includes(folder.temporalFile)
      : programs.some((program) => program === name) && isChild(command, entryOf(name))
  for (const [name, pid] of Object.entries(rememberedProcesses(folder)))
    if (isRunning(pid) && isOurs(name, commandLine(pid))) {
      say(`Stopping the ${name} that the last start left behind (pid ${pid}).`)
      await stopProcess(pid, 'SIGTERM', 5000)
    }
  for (const cluster of clustersOf(folder.path))
    if (await stopLeftBehind(cluster)) say('Stopped the Postgres that the last start left behind.')
  rememberProcesses(folder, {})
}

const openTemporal = async (
  settings: Settings,
  supervisor: Supervisor,
): Promise<{ address: string; uiUrl: string | undefined }> => {
  const { env, folder, ports, namespace } = settings
  const choice = await findTemporal({ env, say })
  say(`Temporal: ${choice.reason}.`)
  if (choice.kind === 'address') {
    await temporalAnswers(choice.address, namespace).catch((error: Error) => {
      throw new Error(`No Temporal namespace "${namespace}" at ${choice.address}: ${error.message}`)
    })
    return { address: choice.address, uiUrl: env.TEMPORAL_UI_URL }
  }
  const options = {
    binary: choice.binary,
    port: ports.TEMPORAL_PORT,
    uiPort: ports.TEMPORAL_UI_PORT,
    namespace,
    dbFile: folder.temporalFile,
    logFile: rotateLog(folder.logFile('temporal')),
  }
  await supervisor.keep('Temporal', (born) => startTemporal({ ...options, born }))
  return {
    address: `127.0.0.1:${ports.TEMPORAL_PORT}`,
    uiUrl: `http://127.0.0.1:${ports.TEMPORAL_UI_PORT}`,
  }
}

/** What this start was told to do. */
interface Plan {
  settings: Settings
  /** Variables of the providers that the sandbox plays. */
  fakes: Variables
}

/** Everything the three programs and an integrator need to know, in the order of the env file. */
const collectVariables = async (
  { settings, fakes }: Plan,
  databaseUrl: string,
  temporal: { address: string; uiUrl: string | undefined },
): Promise<{ shown: Variables; hidden: Variables }> => {
  const { env, folder, urls, namespace } = settings
  const secrets = readSecrets(folder)
  const keysFile = env.OTPILOT_KEYS_FILE || folder.keysFile
  const keys = await seed(databaseUrl, { keysFile, known: readVariables(folder.envFile) })
  return {
    shown: {
      OTPILOT_URL: urls.api,
      ...keys,
      OTPILOT_RECEIPT_SECRET: env.OTPILOT_RECEIPT_SECRET || secrets.receipts,
      OTPILOT_GATEWAY_SECRET: env.OTPILOT_GATEWAY_SECRET || secrets.gateway,
      SANDBOX_URL: urls.sandbox,
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_NAMESPACE: namespace,
      ...(temporal.uiUrl !== undefined && { TEMPORAL_UI_URL: temporal.uiUrl }),
      DATABASE_URL: databaseUrl,
    },
    hidden: {
      OTPILOT_KEYS_FILE: keysFile,
      SANDBOX_SECRET: env.SANDBOX_SECRET || secrets.sandbox,
      ...fakes,
    },
  }
}

/** Reads what the programs will read, before anything starts: a typing error is told at once. */
const checkSettings = ({ settings, fakes }: Plan): void => {
  const { env, folder, urls } = settings
  const found = {
    OTPILOT_URL: urls.api,
    SANDBOX_URL: urls.sandbox,
    OTPILOT_KEYS_FILE: env.OTPILOT_KEYS_FILE || folder.keysFile,
    DATABASE_URL: env.DATABASE_URL || 'postgresql://127.0.0.1/to-come',
    ...fakes,
  }
  // The programs do not get the migrator's address; this start uses it.
  const { MIGRATION_DATABASE_URL } = env
  readConfig({ ...programEnv('api', settings, found), MIGRATION_DATABASE_URL }, { serves: true })
}

const startPrograms = async (
  settings: Settings,
  supervisor: Supervisor,
  variables: Variables,
): Promise<void> => {
  say(`Starting ${programs.join(', ')}.`)
  await Promise.all(
    programs.map((name) => {
      const logFile = rotateLog(settings.folder.logFile(name))
      const env = programEnv(name, settings, variables)
      const child = { name, entry: entryOf(name), env, logFile, say: prefixed(name) }
      return supervisor.keep(name, (born) => startChild(child, born))
    }),
  )
}

const prefixed = (name: string) => (sentence: string) => say(`[${name}] ${sentence}`)

const readyPatienceMs = 60_000
/** The API itself gives every part 2 s. */
const readinessMs = 5_000

/** Waits until the API says that all its parts work; throws with what it said last. */
const waitUntilReady = async (port: number): Promise<void> => {
  const deadline = Date.now() + readyPatienceMs
  for (;;) {
    const signal = AbortSignal.timeout(readinessMs)
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { signal }).then(
      async (response) => (response.ok ? 'ready' : response.text()),
      (error: Error) => error.message,
    )
    if (answer === 'ready') return
    if (Date.now() > deadline)
      throw new Error(`The system did not get ready within ${readyPatienceMs / 1000} s: ${answer}`)
    await sleep(100)
  }
}

const startEverything = async (plan: Plan, supervisor: Supervisor): Promise<void> => {
  const { settings, fakes } = plan
  const { folder } = settings
  await stopLeftovers(settings)
  await assertFree(neededPorts(settings))
  const workflowBundle = bundleWorkflows(folder)
  // Its failure is told where it is awaited, after what starts beside it.
  workflowBundle.catch(() => undefined)
  const database = await openPostgres(settings, supervisor, say)
  say('Postgres: bringing the tables up to date.')
  await bringUpToDate(database.migration, database.service)
  const temporal = await openTemporal(settings, supervisor)
  const { shown, hidden } = await collectVariables(plan, database.service, temporal)
  writeVariables(
    folder.envFile,
    'Written by npm start. Load it with: set -a; . this-file; set +a',
    shown,
  )
  rememberGiven(
    folder,
    Object.keys(shown).filter((name) => settings.env[name] !== undefined),
  )
  rememberFakes(folder, fakes)
  await startPrograms(settings, supervisor, {
    ...shown,
    ...hidden,
    OTPILOT_WORKFLOW_BUNDLE: await workflowBundle,
  })
  await waitUntilReady(settings.ports.PORT)
  say(welcome(settings, temporal.uiUrl, { plays: Object.keys(fakes).length > 0 }))
}

/** What comes within this time is the same Ctrl-C, passed on by npm beside the terminal. */
const sameKeyMs = 1000

const main = async (): Promise<void> => {
  const settings = readSettings(process.env)
  assertOptions(process.argv.slice(2), process.env)
  const played = variablesOfFakes(process.argv, settings.env, settings.urls.sandbox)
  const fakes = await withMailPort(played, settings)
  const plan = { settings, fakes }
  checkSettings(plan)
  if (process.argv.includes('--check')) return say(await describeStart(settings))
  const unlock = lock(settings.folder)
  const supervisor = createSupervisor(say, (pids) => rememberProcesses(settings.folder, pids))
  const stop = async () => {
    await supervisor.stop('api', 'worker')
    await supervisor.stop('sandbox')
    await supervisor.stop('Temporal', 'Postgres')
    unlock()
  }
  let stoppedAt: number | undefined
  const leave = () => {
    if (stoppedAt === undefined) {
      stoppedAt = Date.now()
      say('Stopping; once more to force it.')
      void stop().then(() => {
        say('Stopped.')
        process.exit(0)
      })
    } else if (Date.now() - stoppedAt > sameKeyMs) {
      supervisor.kill()
      unlock()
      say('Killed.')
      process.exit(1)
    }
  }
  // A closed terminal is a reason to stop in order, which SIGHUP asks for; it is no reason to crash.
  process.stdout.on('error', () => undefined)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, leave)
  try {
    await startEverything(plan, supervisor)
  } catch (error) {
    // A start that is stopped half-way fails in many ways, none of which is news.
    if (stoppedAt !== undefined) return
    await stop()
    throw error
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error))
  process.exit(1)
})
