import { Connection } from '@temporalio/client'
import { startProgram, stopProcess, waitUntil } from './processes'
import type { Running } from './processes'

export interface TemporalServer extends Running {
  address: string
  uiUrl: string | undefined
  stop: () => Promise<void>
}

interface TemporalOptions {
  binary: string
  port: number
  /** Left out: no web pages. */
  uiPort?: number
  /** Left out: everything is lost when the server stops. */
  dbFile?: string
  /** `default` exists in any case. */
  namespace?: string
  logFile: string
  /** Told of the process as soon as it exists. */
  born?: (server: TemporalServer) => void
}

/**
 * The dev server reads 20 tasks a second unless told otherwise, and lets timers be up to a second late
 * (design.md section 8).
 */
const settings = [
  'history.transferProcessorMaxPollRPS=2000',
  'history.timerProcessorMaxTimeShift="100ms"',
]

/** True when the server at this address knows the namespace. */
export const temporalAnswers = async (address: string, namespace: string): Promise<boolean> => {
  const connection = await Connection.connect({ address, connectTimeout: 2000 })
  try {
    await connection.withDeadline(Date.now() + 2000, () =>
      connection.workflowService.describeNamespace({ namespace }),
    )
    return true
  } finally {
    await connection.close()
  }
}

/**
 * SQLite's default waits for the disk several times in every transaction. With a write-ahead log a killed server loses
 * nothing either; a machine that loses its power may lose the last moments, which Postgres, the truth, does not.
 */
const pragmas = ['journal_mode=WAL', 'synchronous=NORMAL'].flatMap((pragma) => [
  '--sqlite-pragma',
  pragma,
])

/** Starts Temporal's dev server on 127.0.0.1 and waits until it answers. */
export const startTemporal = async (options: TemporalOptions): Promise<TemporalServer> => {
  const { binary, port, uiPort, dbFile, namespace = 'default', logFile } = options
  const address = `127.0.0.1:${port}`
  const running = startProgram({
    name: 'Temporal',
    command: binary,
    args: [
      ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port)],
      ...(uiPort === undefined ? ['--headless'] : ['--ui-port', String(uiPort)]),
      ...(namespace === 'default' ? [] : ['--namespace', namespace]),
      ...(dbFile === undefined ? [] : ['--db-filename', dbFile, ...pragmas]),
      ...settings.flatMap((setting) => ['--dynamic-config-value', setting]),
      ...['--log-level', 'error', '--disable-config-file', '--disable-config-env'],
    ],
    env: { PATH: process.env.PATH, HOME: process.env.HOME },
    cwd: process.cwd(),
    logFile,
  })
  const server = {
    ...running,
    address,
    uiUrl: uiPort === undefined ? undefined : `http://127.0.0.1:${uiPort}`,
    stop: () => stopProcess(running.pid, 'SIGTERM', 15_000),
  }
  options.born?.(server)
  const ready = () => temporalAnswers(address, namespace)
  await waitUntil(running, ready, { logFile, patienceMs: 60_000 })
  return server
}
