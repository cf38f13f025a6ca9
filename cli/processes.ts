import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Program {
  name: string
  command: string
  args: string[]
  env: NodeJS.ProcessEnv
  cwd: string
  logFile: string
  /** Who runs it, where that is not the current user. */
  owner?: { uid: number; gid: number }
}

/** A server that runs in a process group of its own, so that a terminal's Ctrl-C reaches only us. */
export interface Running {
  name: string
  pid: number
  /** Resolves when the process is gone, with the reason in words. */
  ended: Promise<string>
}

export const startProgram = (program: Program): Running => {
  const log = openSync(program.logFile, 'a', 0o600)
  const child = spawn(program.command, program.args, {
    cwd: program.cwd,
    env: program.env,
    detached: true,
    stdio: ['ignore', log, log],
    ...program.owner,
  })
  closeSync(log)
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
    child.once('error', (error) => resolve(error.message))
  })
  return { name: program.name, pid: child.pid ?? 0, ended }
}

/** What could not be started has the number 0 here, which to kill() means our own group. */
const isProcess = (pid: number): boolean => pid > 0

/** True while the process exists; one that waits only to be reaped counts as gone. */
export const isRunning = (pid: number): boolean => {
  if (!isProcess(pid)) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  const stat = `/proc/${pid}/stat`
  return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, 'utf8'))
}

/** The command line of a process, arguments separated by spaces; empty when there is no such process. */
export const commandLine = (pid: number): string => {
  try {
    if (process.platform === 'linux')
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
  return spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim()
}

/** Sends a signal to a process, if there is one of this number. */
export const signal = (pid: number, name: NodeJS.Signals): void => {
  if (!isProcess(pid)) return
  try {
    process.kill(pid, name)
  } catch {
    // Gone between the check and the signal, which is what was wanted.
  }
}

/** Asks a process to stop, waits `patienceMs`, then kills it. Resolves when it is gone. */
export const stopProcess = async (
  pid: number,
  name: NodeJS.Signals = 'SIGTERM',
  patienceMs = 25_000,
): Promise<void> => {
  signal(pid, name)
  const deadline = Date.now() + patienceMs
  while (isRunning(pid)) {
    if (Date.now() > deadline) signal(pid, 'SIGKILL')
    await sleep(20)
  }
}

/** The last lines of a log, for an error message; empty when there is no log. */
export const lastLines = (file: string, count = 8): string =>
  existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n') : ''

/** Polls until `ready` says true, throws when the program ends first or `patienceMs` have passed. */
export const waitUntil = async (
  running: Running,
  ready: () => Promise<boolean>,
  { logFile, patienceMs }: { logFile: string; patienceMs: number },
): Promise<void> => {
  let end: string | undefined
  void running.ended.then((reason) => (end = reason))
  const deadline = Date.now() + patienceMs
  while (!(await ready().catch(() => false))) {
    if (end !== undefined)
      throw new Error(`${running.name} ended while starting (${end}):\n${lastLines(logFile)}`)
    if (Date.now() > deadline) {
      await stopProcess(running.pid, 'SIGKILL')
      throw new Error(
        `${running.name} did not answer within ${patienceMs / 1000} s:\n${lastLines(logFile)}`,
      )
    }
    await sleep(50)
  }
}
