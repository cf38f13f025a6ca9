import { randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { type Key, type Keyring, type KeyPurpose, keyPurposes, UnknownKey } from './keyring'
import { weaknessOf } from './weak-key'

const keyBytes = 32
/** A new key is used only this long after its publication, so that every process knows it by then. */
export const settleMs = 60_000
const rereadMs = 5_000

const Entry = z.strictObject({
  kid: z.string().regex(/^[a-z0-9-]{1,32}$/, 'must be 1 to 32 of a-z, 0-9 and -'),
  key: z
    .base64({ abort: true, error: 'must be base64' })
    .refine((key) => Buffer.from(key, 'base64').length === keyBytes, 'must be 32 bytes'),
  active_from: z.iso.datetime('must be a time in UTC, such as 2026-01-01T00:00:00Z'),
})
const KeyFile = z.strictObject({
  /** Absent in files that are older than the mark. */
  made_for: z.enum(['development', 'production']).optional(),
  ...(Object.fromEntries(
    keyPurposes.map((purpose) => [purpose, z.array(Entry).min(1, 'must hold a key')]),
  ) as Record<KeyPurpose, z.ZodArray<typeof Entry>>),
})
export type KeyFile = z.infer<typeof KeyFile>
export type KeyEntry = z.infer<typeof Entry>

/** A random key, published at `activeFrom`. */
export const newEntry = (activeFrom: Date): KeyEntry => ({
  kid: randomBytes(4).toString('hex'),
  key: randomBytes(keyBytes).toString('base64'),
  active_from: activeFrom.toISOString(),
})

export const textOf = (file: KeyFile): string => `${JSON.stringify(file, null, 2)}\n`

/**
 * Writes a key file with one random key a purpose, readable by its owner only. Production refuses one that was made
 * for development. Fails if it exists.
 */
export function makeKeyFile(path: string, madeFor: KeyFile['made_for'] = 'production'): void {
  // The first key of a purpose has nobody to wait for.
  const keys = Object.fromEntries(keyPurposes.map((purpose) => [purpose, [newEntry(new Date(0))]]))
  const file = { made_for: madeFor, ...keys } as KeyFile
  writeFileSync(path, textOf(file), { mode: 0o600, flag: 'wx' })
}

export interface KeyFileOptions {
  /** As production wants it: refuses weak keys, those of development, and a file that others can read. */
  strict: boolean
  /** Told why a later reading failed, once a reason; the last good one stays in use. */
  onFault?: (error: Error) => void
  /** For tests: how long a new key waits, and how often the file is read; milliseconds. */
  settleMs?: number
  rereadMs?: number
}

/**
 * A keyring over the key file, read again every 5 s so that a rotation needs no restart.
 * @throws when the file is absent or malformed, holds short or equal keys or, if `strict`, any other fault.
 */
export function openKeyFile(path: string, options: KeyFileOptions): Keyring & { close(): void } {
  const settle = options.settleMs ?? settleMs
  let file = readKeyFile(path, options)
  let lastFault: string | undefined
  const reread = (): void => {
    try {
      file = readKeyFile(path, options)
      lastFault = undefined
    } catch (error) {
      // Perhaps half-written: keep the last good one, the next read is 5 s away.
      if (!(error instanceof Error) || error.message === lastFault) return
      lastFault = error.message
      options.onFault?.(error)
    }
  }
  const timer = setInterval(reread, options.rereadMs ?? rereadMs)
  timer.unref()
  const active = (purpose: KeyPurpose) => activeEntry(file[purpose], Date.now(), settle)
  const named = (purpose: KeyPurpose, kid: string) => file[purpose].find((key) => key.kid === kid)
  return {
    active: (purpose) => toKey(active(purpose)),
    all(purpose) {
      const first = active(purpose)
      return [first, ...file[purpose].filter((entry) => entry !== first)].map(toKey)
    },
    oldest: (purpose) =>
      toKey(
        file[purpose].reduce((one, other) => (usableSince(other) < usableSince(one) ? other : one)),
      ),
    find(purpose, kid) {
      if (!named(purpose, kid)) reread()
      const entry = named(purpose, kid)
      if (!entry) throw new UnknownKey(purpose, kid)
      return toKey(entry)
    },
    close: () => clearInterval(timer),
  }
}

const toKey = ({ kid, key }: KeyEntry): Key => ({ kid, key: Buffer.from(key, 'base64') })

/** When a key begins to be used, in epoch milliseconds. */
export function usableSince({ active_from }: KeyEntry, settle = settleMs): number {
  const from = Date.parse(active_from)
  return from === 0 ? 0 : from + settle
}

/** The key that new rows use: the one that became usable last, or the first of all while none has. */
export function activeEntry(
  entries: readonly KeyEntry[],
  atMs: number,
  settle = settleMs,
): KeyEntry {
  const since = (entry: KeyEntry) => usableSince(entry, settle)
  const usable = entries.filter((entry) => since(entry) <= atMs).sort((a, b) => since(b) - since(a))
  const entry = usable[0] ?? entries[0]
  if (!entry) throw new Error('A key purpose has no key.')
  return entry
}

/** @throws with a sentence that names the file and the fault, never a key. */
export function readKeyFile(path: string, { strict }: { strict: boolean }): KeyFile {
  const text = readText(path)
  if (strict && (statSync(path).mode & 0o077) !== 0) {
    throw new Error(`The key file ${path} is readable by others: run chmod 600 on it.`)
  }
  const parsed = KeyFile.safeParse(parseJson(path, text))
  const fault = parsed.success ? faultIn(parsed.data, strict) : sentenceOf(parsed.error)
  if (fault !== undefined) throw new Error(`The key file ${path} is not usable: ${fault}.`)
  if (!parsed.success) throw parsed.error
  return parsed.data
}

const sentenceOf = (error: z.ZodError): string =>
  error.issues
    .map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message))
    .join('; ')

/** What a file can have wrong although each of its entries is well-formed, as the end of a sentence. */
function faultIn(file: KeyFile, strict: boolean): string | undefined {
  const named = keyPurposes.flatMap((purpose) =>
    file[purpose].map(({ kid, key }) => ({
      name: `${purpose} key ${kid}`,
      key: Buffer.from(key, 'base64'),
    })),
  )
  const [first, second] = twins(named, ({ key }) => key.toString('hex'))
  if (first && second) return `${first.name} and ${second.name} are equal`
  const [namesake] = twins(named, ({ name }) => name)
  if (namesake) return `there are two of ${namesake.name}`
  if (!strict) return undefined
  if (file.made_for === 'development') {
    return 'its keys were made for development; make others with npx otpilot key-file make'
  }
  const weak = named.find(({ key }) => weaknessOf(key) !== undefined)
  return weak && `${weak.name} ${weaknessOf(weak.key)}`
}

/** The first two that look the same. */
function twins<T>(items: readonly T[], look: (item: T) => string): [T, T] | [] {
  const seen = new Map<string, T>()
  for (const item of items) {
    const twin = seen.get(look(item))
    if (twin) return [twin, item]
    seen.set(look(item), item)
  }
  return []
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'is not there' : `cannot be read (${code})`
    throw new Error(
      `The key file ${path} ${why}: put it there, or make one with npx otpilot key-file make.`,
      { cause: error },
    )
  }
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Its message would quote the file, and so a key.
    throw new Error(
      `The key file ${path} is not JSON: put back the one this data was written with.`,
    )
  }
}
