import { type ChildProcess, fork, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { once } from 'node:events'
import { lastLines, stopProcess } from '../../cli/processes'
import { startTemporal, type TemporalServer } from '../../cli/temporal'

const startPatienceMs = 40_000

/** One of our programs as a process of its own, which can be killed and started as often as a test likes. */
export interface Member {
  /** Resolves when it serves. */
  start(): Promise<void>
  /** SIGKILL, before this returns. */
  kill(): void
  /** Whether a killed one is started again at once. */
  keepAlive: boolean
  /** Resolves when it serves (again). */
  ready(): Promise<void>
  stop(): Promise<void>
}

export interface MemberOptions {
  name: string
  entry: string
  env: NodeJS.ProcessEnv
  logFile: string
  /** Told the time of every kill. */
  onKill: (at: number) => void
  /** Told when it ended without having been told to; it is started again all the same. */
  onCrash: (sentence: string) => void
}

/** The child ends by itself with this process: its channel breaks. */
export function createMember(options: MemberOptions): Member {
  const { name, entry, env, logFile, onKill, onCrash } = options
  let child: ChildProcess | undefined
  /** The one that was told to end. */
  let condemned: ChildProcess | undefined
  let serving: Promise<void> = Promise.resolve()

  async function launch(): Promise<void> {
    const log = openSync(logFile, 'a')
    const own = fork(entry, { env, execArgv: [], stdio: ['ignore', log, log, 'ipc'] })
    closeSync(log)
    child = own
    own.once('exit', (code, signal) => {
      if (own === condemned) return
      onCrash(`${name} ended by itself (${signal ?? code})`)
      if (member.keepAlive) void start()
    })
    const ended = once(own, 'exit').then(() => {
      throw new Error(`${name} ended:\n${lastLines(logFile)}`)
    })
    const late = new Promise<never>((_, reject) => {
      const timer = setTimeout(() => reject(new Error(`${name} does not serve`)), startPatienceMs)
      void ended.catch(() => clearTimeout(timer))
      own.once('message', () => clearTimeout(timer))
    })
    late.catch(() => undefined)
    await Promise.race([once(own, 'message'), ended, late])
  }
  const start = () => {
    serving = launch()
    // Whoever waits for it is told; nobody may be waiting.
    serving.catch(() => undefined)
    return serving
  }
  const member: Member = {
    keepAlive: true,
    start,
    kill() {
      if (child?.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      condemned = child
      child.kill('SIGKILL')
      onKill(Date.now())
      serving = gone.then(() => (member.keepAlive ? start() : undefined))
      serving.catch(() => undefined)
    },
    ready: async () => {
      // A kill in the meantime makes a new promise.
      for (let seen; seen !== serving;) {
        seen = serving
        await seen
      }
    },
    async stop() {
      member.keepAlive = false
      await serving.catch(() => undefined)
      condemned = child
      if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null)
        await stopProcess(child.pid)
    },
  }
  return member
}

export interface TemporalMember extends Omit<Member, 'keepAlive' | 'start'> {
  address: string
  keepAlive: boolean
  start(): Promise<void>
}

/** A Temporal server with its data in a file, so that it goes on where a kill stopped it. */
export function createTemporalMember(options: {
  binary: string
  port: number
  dbFile: string
  logFile: string
  onKill: (at: number) => void
}): TemporalMember {
  let server: TemporalServer | undefined
  let serving: Promise<void> = Promise.resolve()
  let watchdog: ChildProcess | undefined

  const launch = async () => {
    await startTemporal({ ...options, born: (born) => void (server = born) })
  }
  const start = () => {
    serving = launch()
    serving.catch(() => undefined)
    if (server) watchdog = killWithUs(server.pid)
    return serving
  }
  const member: TemporalMember = {
    address: `127.0.0.1:${options.port}`,
    keepAlive: true,
    start,
    kill() {
      if (!server) return
      const { pid, ended } = server
      server = undefined
      watchdog?.kill('SIGKILL')
      process.kill(pid, 'SIGKILL')
      options.onKill(Date.now())
      serving = ended.then(() => (member.keepAlive ? start() : undefined))
      serving.catch(() => undefined)
    },
    ready: async () => {
      for (let seen; seen !== serving;) {
        seen = serving
        await seen
      }
    },
    async stop() {
      member.keepAlive = false
      await serving.catch(() => undefined)
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
