import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { lifetime } from '../core/limits'
import {
  activeEntry,
  type KeyEntry,
  type KeyFile,
  newEntry,
  readKeyFile,
  settleMs,
  textOf,
  usableSince,
} from './key-file'
import { type KeyPurpose, keyPurposes } from './keyring'

const minutes = 60_000
const hours = 60 * minutes

/**
 * How long something may still be looked up or opened with a key after another took its place, in milliseconds;
 * beside that, no row may name it.
 */
const longestUseMs: Record<KeyPurpose, number> = {
  // No code lives longer; a minute for clocks that disagree.
  codes: lifetime.max * 1_000 + 1 * minutes,
  // Rows name it, and re-encryption moves them; for clocks that disagree.
  phones: 2 * minutes,
  // Idempotency keys live a day, and no row of theirs names a key.
  app_index: 24 * hours,
  // Windows of limits and dials.
  global_index: 24 * hours,
  // Receipts that come later tell nothing anybody waits for.
  callbacks: 24 * hours,
  // As long as audit rows are kept.
  audit: 365 * 24 * hours,
  cookies: 24 * hours,
}

export interface KeyState {
  purpose: KeyPurpose
  kid: string
  state: 'waiting' | 'active' | 'replaced'
  /** When it came, or will come, into use; the epoch for a purpose's first key. */
  usedFrom: Date
  /** When another took its place. */
  replacedAt?: Date
  /** From when on it may be dropped, if no row names it by then. */
  droppableFrom?: Date
}

/** Every key of the file by its purpose, oldest first. */
export function keyStates(file: KeyFile, now = new Date()): KeyState[] {
  return keyPurposes.flatMap((purpose) => {
    const entries = [...file[purpose]].sort((a, b) => usableSince(a) - usableSince(b))
    const active = activeEntry(file[purpose], now.getTime())
    return entries.map((entry, i) => stateOf(purpose, entry, { active, next: entries[i + 1], now }))
  })
}

function stateOf(
  purpose: KeyPurpose,
  entry: KeyEntry,
  { active, next, now }: { active: KeyEntry; next: KeyEntry | undefined; now: Date },
): KeyState {
  const usedFrom = new Date(usableSince(entry))
  const named = { purpose, kid: entry.kid, usedFrom }
  if (entry === active) return { ...named, state: 'active' }
  if (usedFrom > now || !next) return { ...named, state: 'waiting' }
  const replacedAt = new Date(usableSince(next))
  const droppableFrom = new Date(replacedAt.getTime() + longestUseMs[purpose])
  return { ...named, state: 'replaced', replacedAt, droppableFrom }
}

export interface AddedKey {
  purpose: KeyPurpose
  kid: string
}

/**
 * Adds a random key to each purpose named; the service uses them a minute after `now`, when every process has read them.
 * @throws when the file is not usable, or somebody else is changing it.
 */
export function addKeys(
  path: string,
  purposes: readonly KeyPurpose[],
  now = new Date(),
): { added: AddedKey[]; usedFrom: Date } {
  const added: AddedKey[] = []
  changeKeyFile(path, (file) => {
    for (const purpose of purposes) {
      const entry = newEntry(now)
      file[purpose].push(entry)
      added.push({ purpose, kid: entry.kid })
    }
  })
  return { added, usedFrom: new Date(now.getTime() + settleMs) }
}

/**
 * Removes a key that nothing needs any more.
 * @throws with the reason when the key is in use, may still be, or `rowsNaming` finds rows that name it.
 */
export async function dropKey(
  path: string,
  { purpose, kid }: AddedKey,
  { rowsNaming, now = new Date() }: { rowsNaming: () => Promise<string[]>; now?: Date },
): Promise<void> {
  const refuseInUse = (file: KeyFile) => {
    const why = whyKept(file, { purpose, kid }, now)
    if (why !== undefined) throw new Error(`The ${purpose} key ${kid} ${why}`)
  }
  refuseInUse(readKeyFile(path, { strict: false }))
  const rows = await rowsNaming()
  if (rows.length > 0) {
    throw new Error(`The ${purpose} key ${kid} is needed by ${rows.join(', ')}.`)
  }
  changeKeyFile(path, (file) => {
    refuseInUse(file)
    file[purpose] = file[purpose].filter((entry) => entry.kid !== kid)
  })
}

function whyKept(file: KeyFile, { purpose, kid }: AddedKey, now: Date): string | undefined {
  const key = keyStates(file, now).find((known) => known.purpose === purpose && known.kid === kid)
  if (!key) return 'is not in the file.'
  if (key.state === 'active') return 'is in use: add another first.'
  if (!key.droppableFrom) return `will come into use at ${key.usedFrom.toISOString()}.`
  if (key.droppableFrom > now) {
    return `may still be needed by what is short-lived until ${key.droppableFrom.toISOString()}.`
  }
  return undefined
}

/**
 * Puts a changed file in the place of the old one in one step, with the same owner. The new file, while it is being
 * written, is also what keeps a second command out.
 */
function changeKeyFile(path: string, change: (file: KeyFile) => void): void {
  const replacement = `${path}.new`
  const descriptor = openNew(replacement)
  try {
    const file = readKeyFile(path, { strict: false })
    change(file)
    writeWhole(descriptor, textOf(file), statSync(path))
    renameSync(replacement, path)
  } catch (error) {
    rmSync(replacement, { force: true })
    throw error
  } finally {
    closeSync(descriptor)
  }
  syncFolder(dirname(path))
}

function openNew(path: string): number {
  try {
    return openSync(path, 'wx', 0o600)
  } catch (error) {
    if (!existsSync(path)) throw error
    throw new Error(
      `${path} is there: another command is changing the keys, or was killed at it. If none runs, remove that file.`,
      { cause: error },
    )
  }
}

function writeWhole(
  descriptor: number,
  text: string,
  { uid, gid }: { uid: number; gid: number },
): void {
  const own = fstatSync(descriptor)
  // The service could not read a file of somebody else.
  if (own.uid !== uid || own.gid !== gid) fchownSync(descriptor, uid, gid)
  fchmodSync(descriptor, 0o600)
  writeFileSync(descriptor, text)
  fsyncSync(descriptor)
}

/** So that the rename outlives a power cut. */
function syncFolder(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
