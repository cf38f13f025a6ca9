import { randomUUID } from 'node:crypto'
import {
  linkSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { reportEvery } from './go-install'
import { isRunning } from './processes'

/** A holder says so often that it lives; a folder that machines share cannot be asked about processes. */
const beatMs = 5_000
const deadAfterMs = 30_000
const lookMs = 250

/** Undefined for a file that is not there. */
const unlessGone = <T>(read: () => T): T | undefined => {
  try {
    return read()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return undefined
  }
}

/** False where there is a file of this name: of several processes one makes it. */
const link = (from: string, to: string): boolean => {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return false
  }
}

/** Who holds the lock, as it wrote itself down; undefined where nobody does. */
const holderIn = (file: string): string | undefined => unlessGone(() => readFileSync(file, 'utf8'))

const isDead = (file: string, holder: string): boolean => {
  const [pid, host] = holder.split(' ')
  if (host === hostname() && !isRunning(Number(pid))) return true
  const at = unlessGone(() => statSync(file).mtimeMs)
  return at !== undefined && Date.now() - at > deadAfterMs
}

/** Takes a lock away from a dead holder, unless another has just done so. */
const clear = (file: string, holder: string): void => {
  const away = `${file}.${randomUUID()}`
  unlessGone(() => renameSync(file, away))
  if ((holderIn(away) ?? holder) !== holder) link(away, file)
  rmSync(away, { force: true })
}

/**
 * Does `work` while no other process does the like in the folder; waits for one that does, and says so. The lock of a
 * process that died is taken over.
 * @param what is being made, as in "Temporal"
 */
export async function alone<T>(
  { folder, what, say }: { folder: string; what: string; say: (sentence: string) => void },
  work: () => Promise<T>,
): Promise<T> {
  const file = join(folder, 'lock')
  const mine = `${file}.${randomUUID()}`
  const since = Date.now()
  const seconds = () => Math.round((Date.now() - since) / 1000)
  const waiting = () =>
    `Another start is fetching or building ${what}: waiting for it, ${seconds()} s`
  let progress: (() => void) | undefined
  writeFileSync(mine, `${process.pid} ${hostname()}`)
  try {
    while (!link(mine, file)) {
      const holder = holderIn(file)
      if (holder === undefined) continue
      if (isDead(file, holder)) {
        clear(file, holder)
        continue
      }
      if (!progress) say(waiting())
      progress ??= reportEvery(say, waiting)
      await sleep(lookMs)
    }
  } finally {
    progress?.()
    rmSync(mine, { force: true })
  }
  const beat = setInterval(() => utimesSync(file, new Date(), new Date()), beatMs)
  const release = () => rmSync(file, { force: true })
  process.once('exit', release)
  try {
    return await work()
  } finally {
    clearInterval(beat)
    process.off('exit', release)
    release()
  }
}
