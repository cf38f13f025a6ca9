import { existsSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { rootIsSigned } from '../codes/audit-chain'
import { type Keyring, UnknownKey } from '../codes/keyring'
import type { Findings } from './audit-findings'
import {
  BrokenRoot,
  digestOfRoot,
  readRootFile,
  type RootEnd,
  type RootLine,
  rootPath,
  signedText,
} from './audit-root-file'
import { chainDeleted } from './audit-verify-chains'
import type { Queries } from './index'

/** Roots come hourly; what is sealed and has none for so long, in seconds, is told. */
const rootWithinSeconds = 2 * 3_600
const pageSize = 1_000

interface Look {
  tx: Queries
  keyring: Keyring
  findings: Findings
  folder: string
  /** What is older was taken away by retention, and may be missing. */
  retainedFrom: Date
}

interface Note {
  number: number
  lastSeal: string
  digest: Buffer
  at: Date
}

/**
 * Holds the roots in the folder against Postgres, each against the one before it, and every head they name against
 * the seals.
 * @param files numbers of the files that were there before the transaction began
 */
export async function verifyRoots(look: Look, files: readonly number[]): Promise<number> {
  const { tx, findings } = look
  const waiting = [...files]
  let before: { number: number; digest: Buffer } | undefined
  let checked = 0
  let lastSeal = '0'
  const checkNext = async (number: number, note: Note | undefined) => {
    const end = await checkFile(look, number, before?.number === number - 1 ? before : undefined)
    if (!end) return
    checked++
    const digest = digestOfRoot(end)
    if (note && !digest.equals(note.digest))
      broken(findings, number, 'it is not the one that Postgres noted')
    before = { number, digest: note?.digest ?? digest }
  }
  for await (const note of notes(tx)) {
    for (let first = waiting[0]; first !== undefined && first < note.number; first = waiting[0]) {
      broken(findings, first, 'Postgres has no note of it')
      await checkNext(first, undefined)
      waiting.shift()
    }
    if (waiting[0] === note.number) waiting.shift()
    if (existsSync(rootPath(look.folder, note.number))) await checkNext(note.number, note)
    else {
      if (note.at > look.retainedFrom) missing(findings, note.number)
      before = note
    }
    lastSeal = note.lastSeal
  }
  // A crash may leave one file that has no note yet.
  const [unnoted, ...others] = waiting
  if (unnoted !== undefined) await checkNext(unnoted, undefined)
  for (const number of others) broken(findings, number, 'Postgres has no note of it')
  await checkNewSeals(look, lastSeal)
  return checked
}

async function* notes(tx: Queries): AsyncGenerator<Note> {
  for (let after = 0; ;) {
    const page = await tx.many<Note>(sql`
      select number, last_seal::text as "lastSeal", digest, at from audit_roots
      where number > ${after} order by number limit ${pageSize}`)
    yield* page
    const last = page.at(-1)
    if (!last || page.length < pageSize) return
    after = last.number
  }
}

/** @returns undefined where the file cannot be trusted, which is told */
async function checkFile(
  look: Look,
  number: number,
  before: { digest: Buffer } | undefined,
): Promise<RootEnd | undefined> {
  const { keyring, findings, folder } = look
  try {
    const pages = readRootFile(folder, number)
    let step = await pages.next()
    for (; !step.done; step = await pages.next()) await checkLines(look, number, step.value)
    const end = step.value
    const { key } = keyring.find('audit', end.kid)
    if (!rootIsSigned(key, signedText(end), end.signature))
      throw new BrokenRoot('its signature is wrong')
    if (before && end.previous !== before.digest.toString('hex'))
      broken(findings, number, 'it does not follow the one before it')
    const lost = BigInt(end.last_seal) - BigInt(end.first_seal) + 1n - BigInt(end.seals)
    if (lost !== 0n)
      findings.add({
        kind: 'deleted',
        message: `${lost} seals numbered ${end.first_seal} to ${end.last_seal} were gone before root ${number} was written`,
      })
    return end
  } catch (error) {
    if (error instanceof BrokenRoot) broken(findings, number, error.message)
    else if (error instanceof UnknownKey)
      findings.add({
        kind: 'unknown_key',
        message: `root ${number} was signed with a key that is not in the key file`,
      })
    else throw error
    return undefined
  }
}

/** What a root says of a chain is still so. */
async function checkLines(
  { tx, findings, retainedFrom }: Look,
  number: number,
  lines: RootLine[],
): Promise<void> {
  const chains = sql.param(lines.map(({ chain }) => chain))
  const sequences = sql.param(lines.map(({ sequence }) => sequence))
  const found = await tx.many<{ hash: string | null; last: number | null }>(sql`
    select encode(s.hash, 'hex') as hash, (select max(sequence) from audit_seals l where l.chain = line.chain) as last
    from unnest(${chains}::text[], ${sequences}::int[]) with ordinality line (chain, sequence, place)
    left join audit_seals s on s.chain = line.chain and s.sequence = line.sequence order by place`)
  for (const [place, { chain, sequence, hash, at }] of lines.entries()) {
    const seal = found[place]
    if (seal?.hash === hash) continue
    if (seal?.hash)
      findings.add({
        kind: 'edited',
        chain,
        sequence,
        message: `${chain}: the seal of row ${sequence} is not the one that root ${number} holds`,
      })
    else if (seal?.last)
      findings.add({
        kind: 'deleted',
        chain,
        sequence: Math.min(seal.last + 1, sequence),
        message: `${chain}: deleted up to row ${sequence}, which root ${number} holds`,
      })
    else if (new Date(at) > retainedFrom) findings.add(chainDeleted(chain))
  }
}

/** Since the last root, seals still count without a gap; and they do not wait for theirs for long. */
async function checkNewSeals({ tx, findings }: Look, lastSeal: string): Promise<void> {
  const found = await tx.one<{ gone: string; last: string; late: boolean }>(sql`
    select (max(number) - ${lastSeal}::bigint - count(*))::text as gone, max(number)::text as last,
      min(sealed_at) < now() - make_interval(secs => ${rootWithinSeconds}) as late
    from audit_seals where number > ${lastSeal}::bigint having count(*) > 0`)
  if (!found) return
  if (found.gone !== '0')
    findings.add({
      kind: 'deleted',
      message: `${found.gone} rows sealed since the last root are gone, with their seals: numbers between ${lastSeal} and ${found.last} are missing`,
    })
  if (found.late)
    findings.add({
      kind: 'root_late',
      message: `rows sealed over ${rootWithinSeconds / 3_600} hours ago are in no root: no worker can write the folder of roots`,
    })
}

const broken = (findings: Findings, number: number, why: string) =>
  findings.add({ kind: 'root_broken', message: `root ${number}: ${why}` })

const missing = (findings: Findings, number: number) =>
  findings.add({
    kind: 'root_missing',
    message: `root ${number}: its file is not in the folder of roots`,
  })
