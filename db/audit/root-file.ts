import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { digestOf } from '../../codes/audit-chain'

/** The head of a chain that has grown since the root before; one line each. */
const RootLine = z.strictObject({
  chain: z.string(),
  sequence: z.int(),
  hash: z.hex(),
  /** When its last row was written; where that row is not what was sealed, when the root was. */
  at: z.iso.datetime(),
  /** Only there where the row and its seal did not fit each other. */
  fits: z.literal(false).optional(),
})
export type RootLine = z.infer<typeof RootLine>

/** The last line of the file: it covers the lines above it, and by `previous` every root before. */
const RootEnd = z.strictObject({
  root: z.int().positive(),
  at: z.iso.datetime(),
  /** Digest of the root before it. */
  previous: z.hex(),
  /** When that one was written; null where its file was not there, or nothing comes before. */
  previous_at: z.iso.datetime().nullable(),
  first_seal: z.string().regex(/^\d{1,18}$/),
  last_seal: z.string().regex(/^\d{1,18}$/),
  /** How many seals there were between the two when it was written. */
  seals: z.int(),
  chains: z.int(),
  /** SHA-256 of the lines above. */
  lines: z.hex(),
  kid: z.string(),
  signature: z.base64(),
})
export type RootEnd = z.infer<typeof RootEnd>

export const rootPath = (folder: string, number: number): string =>
  join(folder, `root-${String(number).padStart(8, '0')}.ndjson`)

/** Numbers of the roots in a folder, in order; none where there is no folder. */
export async function rootsIn(folder: string): Promise<number[]> {
  if (!existsSync(folder)) return []
  return (await readdir(folder))
    .flatMap((name) => /^root-(\d{8,})\.ndjson$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((one, other) => one - other)
}

/** What a root's signature is over. */
export const signedText = ({ signature: _, ...rest }: RootEnd): string => JSON.stringify(rest)

/** What the next root and Postgres call this one. */
export const digestOfRoot = (end: RootEnd): Buffer => digestOf(signedText(end))

/**
 * Writes a root: its lines as they come, then the end that `finish` makes of their number and digest. The file has
 * its name only when all of it is on disk. Not more than one page of lines is held.
 */
export async function writeRootFile(
  folder: string,
  number: number,
  pages: AsyncIterable<RootLine[]>,
  finish: (lines: { chains: number; lines: string }) => RootEnd,
): Promise<RootEnd> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const half = `${rootPath(folder, number)}.new`
  const file = await open(half, 'w', 0o600)
  const hash = createHash('sha256')
  let chains = 0
  let end: RootEnd
  try {
    for await (const page of pages) {
      const text = page.map((line) => `${JSON.stringify(line)}\n`).join('')
      hash.update(text)
      chains += page.length
      await file.write(text)
    }
    end = finish({ chains, lines: hash.digest('hex') })
    await file.write(`${JSON.stringify(end)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(half, rootPath(folder, number))
  await syncFolder(folder)
  return end
}

/** A new name survives a power cut only when its folder was written too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** A file that is not what we write: cut short, or changed by hand. */
export class BrokenRoot extends Error {
  override name = 'BrokenRoot'
}

/**
 * Reads a root's file, giving its lines by the page, and returns its end.
 * @throws {BrokenRoot} where a line is none of ours or the lines are not those that the end covers; what was given
 * before that counts for nothing
 */
export async function* readRootFile(
  folder: string,
  number: number,
): AsyncGenerator<RootLine[], RootEnd> {
  const hash = createHash('sha256')
  let page: RootLine[] = []
  let chains = 0
  let end: RootEnd | undefined
  const lines = createInterface({
    input: createReadStream(rootPath(folder, number)),
    crlfDelay: Infinity,
  })
  for await (const text of lines) {
    if (end) throw new BrokenRoot('there is something after its end')
    const parsed = parse(text)
    if ('root' in parsed) {
      end = parsed
      continue
    }
    hash.update(`${text}\n`)
    chains++
    page.push(parsed)
    if (page.length === pageSize) {
      yield page
      page = []
    }
  }
  if (page.length > 0) yield page
  if (!end) throw new BrokenRoot('it has no end')
  if (end.root !== number) throw new BrokenRoot(`it is root ${end.root} by its content`)
  if (end.chains !== chains || end.lines !== hash.digest('hex'))
    throw new BrokenRoot('its lines were changed')
  return end
}

/** More than an end ever has, in bytes. */
const endSize = 4_096

/**
 * Only the end of a root's file, without a look at its lines: what the next root has to follow.
 * @throws {BrokenRoot} where it is none of ours
 */
export async function readRootEnd(folder: string, number: number): Promise<RootEnd> {
  const file = await open(rootPath(folder, number), 'r')
  try {
    const end = parse((await lastBytes(file)).trimEnd().split('\n').at(-1) ?? '')
    if (!('root' in end) || end.root !== number) throw new BrokenRoot('its end is not there')
    return end
  } finally {
    await file.close()
  }
}

async function lastBytes(file: FileHandle): Promise<string> {
  const { size } = await file.stat()
  const { buffer, bytesRead } = await file.read({
    buffer: Buffer.alloc(endSize),
    position: Math.max(0, size - endSize),
  })
  return buffer.toString('utf8', 0, bytesRead)
}

const pageSize = 500

function parse(text: string): RootLine | RootEnd {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new BrokenRoot('a line is not JSON')
  }
  const { success, data } = z.union([RootLine, RootEnd]).safeParse(value)
  if (!success) throw new BrokenRoot('a line is not of a root')
  return data
}
