import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { makeSecret } from '../codes/standard-webhook'
import { commandLine, isRunning } from './processes'

/** What must stay the same from one start to the next. */
export interface Secrets {
  sandbox: string
  receipts: string
  gateway: string
}

export interface DataFolder {
  path: string
  envFile: string
  keysFile: string
  temporalFile: string
  logFile: (name: string) => string
}

export const dataFolder = (path: string): DataFolder => ({
  path,
  envFile: join(path, 'env'),
  keysFile: join(path, 'keys.json'),
  temporalFile: join(path, 'temporal.db'),
  logFile: (name) => join(path, 'logs', `${name.toLowerCase()}.log`),
})

const lockFile = (folder: DataFolder) => join(folder.path, 'lock')
const processFile = (folder: DataFolder) => join(folder.path, 'processes.json')

/** The number in a lock file; 0 when there is no file or no number. */
const pidIn = (file: string): number => {
  try {
    return Number(readFileSync(file, 'utf8')) || 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return 0
  }
}

const isStart = (pid: number) => isRunning(pid) && commandLine(pid).includes('cli/start.ts')

/** The pid of the `npm start` that uses this folder now. */
export const holderOf = (folder: DataFolder): number | undefined => {
  const pid = pidIn(lockFile(folder))
  return isStart(pid) ? pid : undefined
}

/** Makes this process the only one in the folder; the returned function gives it back. Throws when it is taken. */
export const lock = (folder: DataFolder): (() => void) => {
  mkdirSync(join(folder.path, 'logs'), { recursive: true })
  const file = lockFile(folder)
  const mine = `${file}.${process.pid}`
  writeFileSync(mine, String(process.pid))
  try {
    while (!link(mine, file)) removeLeftLock(folder)
  } finally {
    rmSync(mine, { force: true })
  }
  return () => rmSync(file, { force: true })
}

/** False when there is a file of this name; of several processes one makes it. */
const link = (from: string, to: string): boolean => {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return false
  }
}

/** Removes the lock that a kill -9 left behind. Throws when its holder lives. */
const removeLeftLock = (folder: DataFolder): void => {
  const file = lockFile(folder)
  const seen = pidIn(file)
  if (isStart(seen)) throw new Error(takenBy(folder, seen))
  const removed = `${file}.left.${process.pid}`
  try {
    // Another start may have put its own there since the look: what was moved away tells.
    renameSync(file, removed)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return
  }
  const moved = pidIn(removed)
  if (moved !== seen) link(removed, file)
  rmSync(removed, { force: true })
  if (moved !== seen) throw new Error(takenBy(folder, moved))
}

const takenBy = (folder: DataFolder, pid: number) =>
  `otpilot already runs in ${folder.path} (pid ${pid}): stop that one, or set OTPILOT_DATA_DIR and the ports for a second copy.`

/** Processes by name; written while they run, so that the next start finds what a kill -9 left behind. */
export const rememberProcesses = (folder: DataFolder, pids: Record<string, number>): void => {
  if (Object.keys(pids).length === 0) rmSync(processFile(folder), { force: true })
  else replaceFile(processFile(folder), JSON.stringify(pids))
}

/** In one step: whoever reads it, or starts after a kill, never meets half a file. */
const replaceFile = (file: string, text: string): void => {
  writeFileSync(`${file}.new`, text, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

export const rememberedProcesses = (folder: DataFolder): Record<string, number> => {
  try {
    return JSON.parse(readFileSync(processFile(folder), 'utf8')) as Record<string, number>
  } catch {
    // Absent: then nothing is known.
    return {}
  }
}

/** The folder's own secrets, made at its first use. */
export const readSecrets = (folder: DataFolder): Secrets => {
  const file = join(folder.path, 'secrets.json')
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Secrets
  const secrets = { sandbox: makeSecret(), receipts: makeSecret(), gateway: makeSecret() }
  replaceFile(file, JSON.stringify(secrets, null, 2))
  return secrets
}

const fakesFile = (folder: DataFolder) => join(folder.path, 'fakes.json')

/** Remembers the variables of the providers that the sandbox plays, for commands that are run beside. */
export const rememberFakes = (folder: DataFolder, variables: Record<string, string>): void => {
  if (Object.keys(variables).length === 0) rmSync(fakesFile(folder), { force: true })
  else replaceFile(fakesFile(folder), JSON.stringify(variables))
}

export const rememberedFakes = (folder: DataFolder): Record<string, string> =>
  existsSync(fakesFile(folder))
    ? (JSON.parse(readFileSync(fakesFile(folder), 'utf8')) as Record<string, string>)
    : {}

/** Keeps the previous start's log beside the new one. */
export const rotateLog = (file: string): string => {
  if (existsSync(file)) renameSync(file, `${file}.1`)
  return file
}
