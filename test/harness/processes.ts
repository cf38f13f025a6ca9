import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { lastLines, stopProcess } from '../../cli/processes'
import { startTemporal, type TemporalServer } from '../../cli/temporal'

const startPatienceMs = 40_000

/** A program as a process of its own, which can be killed and started as often as a test likes. */
export interface Member {
  /** Whether it is started again at once when it has ended. */
  keepAlive: boolean
  /** Resolves when it serves. */
  start(): Promise<void>
  /** SIGKILL, before this returns. */
  kill(): void
  /** Resolves when the latest start serves; where there is none after a kill, when the process is gone. */
  ready(): Promise<void>
  stop(): Promise<void>
}

interface Watchers {
  /** Told the time of every kill. */
  onKill: (at: number) => void
  /** Told when it ended without having been told to. */
  onCrash: (sentence: string) => void
}

interface MemberOptions extends Watchers {
  name: string
  entry: string
  env: NodeJS.ProcessEnv
  logFile: string
}

/** Knows how the latest of many starts is going. */
function createStarts(launch: () => Promise<void>) {
  let latest: Promise<void> = Promise.resolve()
  const begin = (next: Promise<void>) => {
    latest = next
    // Whoever waits for it is told; nobody may be waiting.
    latest.catch(() => undefined)
    return latest
  }
  const start = () => begin(launch())
  return {
    start,
    startAfter: (gone: Promise<unknown>, wanted: () => boolean) =>
      void begin(gone.then(() => (wanted() ? start() : undefined))),
    ready: async () => {
      for (let seen; seen !== latest;) {
        seen = latest
        await seen
      }
    },
  }
}

/** One of our programs. It ends by itself with this process: its channel breaks. */
export function createMember(options: MemberOptions): Member {
  const { name, logFile, onKill, onCrash } = options
  let child: ChildProcess | undefined
  /** The one that was told to end. */
  let condemned: ChildProcess | undefined

  async function launch(): Promise<void> {
    const own = forkWithLog(options)
    child = own
    let serves = false
    own.once('exit', (code, signal) => {
      if (own === condemned) return
      onCrash(`${name} ended by itself (${signal ?? code}): ${lastLines(logFile)}`)
      if (serves && member.keepAlive) void starts.start()
    })
    await firstWord(own, name)
    serves = true
  }
  const starts = createStarts(launch)
  const member: Member = {
    keepAlive: true,
    start: starts.start,
    ready: starts.ready,
    kill() {
      if (child?.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      condemned = child
      child.kill('SIGKILL')
      onKill(Date.now())
      starts.startAfter(gone, () => member.keepAlive)
    },
    async stop() {
      member.keepAlive = false
      await starts.ready().catch(() => undefined)
      condemned = child
      if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null)
        await stopProcess(child.pid)
    },
  }
  return member
}

function forkWithLog({ entry, env, logFile }: MemberOptions): ChildProcess {
  const log = openSync(logFile, 'a')
  try {
    return fork(entry, { env, execArgv: [], stdio: ['ignore', log, log, 'ipc'] })
  } finally {
    closeSync(log)
  }
}

/** Our programs say one word, when they serve. */
async function firstWord(child: ChildProcess, name: string): Promise<void> {
  const patience = AbortSignal.timeout(startPatienceMs)
  const ended = once(child, 'exit', { signal: patience }).then(() => {
    throw new Error(`${name} ended while it started.`)
  })
  await Promise.race([once(child, 'message', { signal: patience }), ended])
}

/** A Temporal server with its data in a file, so that it goes on where a kill stopped it. */
export function createTemporalMember(options: {
  binary: string
  port: number
  dbFile: string
  logFile: string
  onKill: Watchers['onKill']
}): Member & { address: string; freeze(): void; thaw(): void } {
  let server: TemporalServer | undefined
  let watchdog: ChildProcess | undefined

  const starts = createStarts(async () => {
    await startTemporal({
      ...options,
      born: (born) => {
        server = born
        watchdog = killWithUs(born.pid)
      },
    })
  })
  const member = {
    address: `127.0.0.1:${options.port}`,
    keepAlive: true,
    start: starts.start,
    ready: starts.ready,
    /** Connections stay open, and nothing answers until `thaw`. */
    freeze: () => void (server && process.kill(server.pid, 'SIGSTOP')),
    thaw: () => void (server && process.kill(server.pid, 'SIGCONT')),
    kill() {
      if (!server) return
      const { pid, ended } = server
      server = undefined
      watchdog?.kill('SIGKILL')
      process.kill(pid, 'SIGKILL')
      options.onKill(Date.now())
      starts.startAfter(ended, () => member.keepAlive)
    },
    async stop() {
      member.keepAlive = false
      await starts.ready().catch(() => undefined)
      watchdog?.kill('SIGKILL')
      await server?.stop()
    },
  }
  return member
}

/** Ends a foreign program when this process is gone, however it went: then the pipe closes. */
const killWithUs = (pid: number): ChildProcess => {
  const script = 'cat >/dev/null; kill -9 "$1" 2>/dev/null'
  return spawn('/bin/sh', ['-c', script, 'sh', String(pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
}
