import { randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { type Key, type Keyring, type KeyPurpose, keyPurposes, UnknownKey } from './keyring'

const keyBytes = 32
/** A new key is used only this long after its publication, so that every process knows it by then. */
const settleMs = 60_000
const rereadMs = 5_000

const Entry = z.strictObject({
  kid: z.string().regex(/^[a-z0-9-]{1,32}$/),
  key: z
    .base64()
    .refine((key) => Buffer.from(key, 'base64').length === keyBytes, 'must be 32 bytes'),
  active_from: z.iso.datetime(),
})
const KeyFile = z.strictObject(
  Object.fromEntries(keyPurposes.map((purpose) => [purpose, z.array(Entry).min(1)])) as Record<
    KeyPurpose,
    z.ZodArray<typeof Entry>
  >,
)
type KeyFile = z.infer<typeof KeyFile>

/** Writes a key file with one random key a purpose, readable by its owner only. Fails if it exists. */
export function makeKeyFile(path: string): void {
  const entry = () => ({
    kid: randomBytes(4).toString('hex'),
    key: randomBytes(keyBytes).toString('base64'),
    // The first key of a purpose has nobody to wait for.
    active_from: new Date(0).toISOString(),
  })
  const file = Object.fromEntries(keyPurposes.map((purpose) => [purpose, [entry()]]))
  writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
}

/**
 * A keyring over the key file, read again every 5 s so that a rotation needs no restart.
 * @throws when the file is absent, malformed, holds a short key or, if `strict`, is readable by others.
 */
export function openKeyFile(
  path: string,
  { strict }: { strict: boolean },
): Keyring & { close(): void } {
  let file = readKeyFile(path, strict)
  const reread = (last: KeyFile): KeyFile => {
    try {
      return readKeyFile(path, strict)
    } catch {
      // A half-written file: keep the last good one, the next read is 5 s away.
      return last
    }
  }
  const timer = setInterval(() => {
    file = reread(file)
  }, rereadMs)
  timer.unref()
  return {
    active: (purpose) => newest(file[purpose]),
    all(purpose) {
      const active = newest(file[purpose])
      const others = file[purpose].filter(({ kid }) => kid !== active.kid)
      return [active, ...others.map(toKey)]
    },
    find(purpose, kid) {
      let entry = file[purpose].find((key) => key.kid === kid)
      if (!entry) {
        file = reread(file)
        entry = file[purpose].find((key) => key.kid === kid)
      }
      if (!entry) throw new UnknownKey(purpose, kid)
      return toKey(entry)
    },
    close: () => clearInterval(timer),
  }
}

type Entry = KeyFile[KeyPurpose][number]
const toKey = ({ kid, key }: Entry): Key => ({ kid, key: Buffer.from(key, 'base64') })

function newest(entries: Entry[]): Key {
  const usableSince = ({ active_from }: Entry) => {
    const from = Date.parse(active_from)
    return from === 0 ? 0 : from + settleMs
  }
  const [best, oldest] = [
    entries
      .filter((entry) => usableSince(entry) <= Date.now())
      .sort((a, b) => usableSince(b) - usableSince(a))[0],
    entries[0],
  ]
  const entry = best ?? oldest
  if (!entry) throw new Error('A key purpose has no key.')
  return toKey(entry)
}

function readKeyFile(path: string, strict: boolean): KeyFile {
  if (strict && (statSync(path).mode & 0o077) !== 0) {
    throw new Error(`${path} is readable by others: run chmod 600 on it.`)
  }
  const parsed = KeyFile.safeParse(readJson(path))
  if (!parsed.success) throw new Error(`Bad key file ${path}:\n${z.prettifyError(parsed.error)}`)
  const all = keyPurposes.flatMap((purpose) => parsed.data[purpose].map(({ key }) => key))
  if (new Set(all).size !== all.length) throw new Error(`Bad key file ${path}: two keys are equal.`)
  return parsed.data
}

function readJson(path: string): unknown {
  const text = readFileSync(path, 'utf8')
  try {
    return JSON.parse(text)
  } catch {
    // Its message would quote the file, and so a key.
    throw new Error(
      `Bad key file ${path}: it is not JSON. Put back the one this data was written with.`,
    )
  }
}
