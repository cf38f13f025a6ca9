import { fork } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import type { Writable } from 'node:stream'
import { createInterface } from 'node:readline'
import { basename, dirname } from 'node:path'
import { lastLines, stopProcess } from './processes'
import type { Service } from './supervisor'

interface Child {
  name: string
  entry: string
  env: NodeJS.ProcessEnv
  logFile: string
  /** Told the lines of the log that somebody should see now. */
  say: (sentence: string) => void
}

const startPatienceMs = 60_000
/** The programs promise to drain within 25 s. */
const stopPatienceMs = 27_000
const warning = 40

/**
 * Forks one of our own programs into a process group of its own and waits until it says that it serves. The
 * channel between us ends with this process, which is how the child learns that it is alone.
 */
export const startChild = (
  { name, entry, env, logFile, say }: Child,
  born: (service: Service) => void,
): Promise<Service> => {
  const child = fork(entry, {
    env,
    execArgv: process.execArgv,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const log = createWriteStream(logFile, { flags: 'a', mode: 0o600 })
  for (const stream of [child.stdout, child.stderr])
    if (stream)
      createInterface(stream).on('line', (line) => {
        copyLine(line, log, say)
      })
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
    child.once('error', (error) => resolve(error.message))
  })
  const pid = child.pid ?? 0
  const service: Service = {
    name,
    pid,
    ended,
    stop: () => stopProcess(pid, 'SIGTERM', stopPatienceMs),
  }
  born(service)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(
        new Error(`${name} did not get ready within ${startPatienceMs / 1000} s, see ${logFile}.`),
      )
    }, startPatienceMs)
    child.on('message', (message: unknown) => {
      if (typeof message !== 'object' || !message || !('ready' in message)) return
      clearTimeout(timer)
      resolve(service)
    })
    void ended.then((reason) => {
      clearTimeout(timer)
      log.end(() =>
        reject(new Error(`${name} ended while starting (${reason}):\n${lastLines(logFile)}`)),
      )
    })
  })
}

interface LogLine {
  msg?: string
  err?: { message?: string }
  method?: string
  route?: string
  status?: number
  /** Sentences, such as those about a policy file. */
  faults?: string[]
  /** What it is about: an account, its channels, and what failed. */
  provider?: string
  channel?: string
  channels?: string[]
  fault?: string
}

/** Undefined for what a kill -9 cut short. */
const readLine = (line: string): LogLine | undefined => {
  try {
    return JSON.parse(line) as LogLine
  } catch {
    return undefined
  }
}

const copyLine = (line: string, log: Writable, say: Child['say']): void => {
  if (log.writable) log.write(`${line}\n`)
  const level = Number(/^\{"level":(\d+)/.exec(line)?.[1] ?? 0)
  if (level < warning) return
  const logged = readLine(line)
  if (!logged) return
  const { msg, err, method, route, status, faults = [] } = logged
  const { provider, channel, channels = [], fault: reason } = logged
  // Not ready is what everything is at first, and whoever asks is told.
  if (route === '/readyz') return
  const words = [msg, err?.message, method && `${method} ${route} ${status}`].filter(Boolean)
  const about = [provider, channel, ...channels, reason].filter(Boolean)
  say(
    `${level > warning ? 'error' : 'warning'}: ${words.join(': ')}${about.length > 0 ? ` (${about.join(', ')})` : ''}`,
  )
  for (const fault of faults) say(`  ${fault}`)
}

/** True when a process with this command line is one of ours, started from this copy of the project. */
export const isChild = (command: string, entry: string): boolean =>
  command.includes(`${basename(dirname(entry))}/${basename(entry)}`) &&
  command.includes(dirname(dirname(entry)))
