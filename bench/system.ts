import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Client, Connection } from '@temporalio/client'
import { makeSecret } from '../codes/standard-webhook'
import { startChild } from '../cli/child'
import { freePort } from '../cli/ports'
import { findPostgres, startPostgres } from '../cli/postgres'
import { seed } from '../cli/seed'
import { startTemporal } from '../cli/temporal'
import { findTemporal } from '../cli/temporal-binary'
import { migrate } from '../db/setup/migrate'

const root = resolve(__dirname, '..')
const say = (sentence: string) => console.error(`[bench] ${sentence}`)

const ownPrograms = ['sandbox', 'api', 'worker'] as const

export interface SystemOptions {
  /** Postgres settings beside those of `npm start`. */
  postgresSettings?: Record<string, string>
  /** Which of our own programs run; all of them when absent. */
  programs?: readonly (typeof ownPrograms)[number][]
  /** Programs of the benchmark itself, by name, with their entry; they get the environment of the others. */
  extraPrograms?: Record<string, string>
}

/** What a benchmark runs against: every part a process of its own, as `npm start` has them. */
export interface System {
  url: string
  sandboxUrl: string
  sandboxSecret: string
  databaseUrl: string
  key: string
  keysFile: string
  temporal: Client
  /** Process ids by the name of the part. */
  pids: Readonly<Record<string, number>>
  stop: () => Promise<void>
}

/**
 * Starts Postgres, Temporal (in memory, the flags of `npm start`), sandbox, API and worker on free ports, with data
 * that is thrown away. Call `stop` in any case.
 */
export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), 'otpilot-bench-'))
  chmodSync(folder, 0o755)
  const pids: Record<string, number> = {}
  const stops: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const end of stops.toReversed()) await end()
  }
  // What is half up when somebody presses Ctrl-C ends too.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void stop().finally(() => process.exit(130)))
  try {
    const place = findPostgres(folder)
    stops.push(async () => {
      for (const path of [folder, place.cluster]) rmSync(path, { recursive: true, force: true })
    })
    const note = (name: string) => (service: { pid: number; stop: () => Promise<void> }) => {
      pids[name] = service.pid
      stops.push(service.stop)
    }
    const postgres = await startPostgres(place, {
      port: await freePort(),
      logFile: join(folder, 'postgres.log'),
      settings: options.postgresSettings ?? {},
      born: note('postgres'),
    })
    await migrate(postgres.url)
    const address = await startOwnTemporal(folder, note('temporal'))
    const env = await environment(folder, postgres.url, address)
    const own = options.programs ?? ownPrograms
    const entries = {
      ...Object.fromEntries(own.map((name) => [name, join(root, name, 'main.ts')])),
      ...options.extraPrograms,
    }
    await Promise.all(
      Object.entries(entries).map(([name, entry]) =>
        startChild({ name, entry, env, logFile: join(folder, `${name}.log`), say }, note(name)),
      ),
    )
    const connection = await Connection.connect({ address })
    stops.push(() => connection.close())
    return {
      url: env.OTPILOT_URL,
      sandboxUrl: env.SANDBOX_URL,
      sandboxSecret: env.SANDBOX_SECRET,
      databaseUrl: postgres.url,
      key: env.OTP_API_KEY ?? '',
      keysFile: env.OTPILOT_KEYS_FILE,
      temporal: new Client({ connection }),
      pids,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startOwnTemporal(
  folder: string,
  born: NonNullable<Parameters<typeof startTemporal>[0]['born']>,
): Promise<string> {
  // Only a server of our own is the same for every run, wherever this machine's other one is.
  const choice = await findTemporal({ env: { ...process.env, TEMPORAL_ADDRESS: undefined }, say })
  if (choice.kind !== 'binary') throw new Error('A benchmark needs a Temporal server of its own.')
  const logFile = join(folder, 'temporal.log')
  const server = await startTemporal({
    binary: choice.binary,
    port: await freePort(),
    logFile,
    born,
  })
  return server.address
}

async function environment(folder: string, databaseUrl: string, temporalAddress: string) {
  const [port, sandboxPort] = [await freePort(), await freePort()]
  const keysFile = join(folder, 'keys.json')
  return {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    OTPILOT_ENV: 'development',
    OTPILOT_DATA_DIR: folder,
    OTPILOT_KEYS_FILE: keysFile,
    PORT: String(port),
    OTPILOT_URL: `http://127.0.0.1:${port}`,
    SANDBOX_PORT: String(sandboxPort),
    SANDBOX_URL: `http://127.0.0.1:${sandboxPort}`,
    SANDBOX_SECRET: makeSecret(),
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress,
    ...(await seed(databaseUrl, { keysFile, known: {} })),
  } as NodeJS.ProcessEnv & {
    OTPILOT_URL: string
    SANDBOX_URL: string
    SANDBOX_SECRET: string
    OTPILOT_KEYS_FILE: string
  }
}
