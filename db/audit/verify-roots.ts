import { existsSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { rootIsSigned } from '../../codes/audit-chain'
import { type Keyring, UnknownKey } from '../../codes/keyring'
import type { Findings } from './findings'
import {
  BrokenRoot,
  digestOfRoot,
  readRootFile,
  type RootEnd,
  type RootLine,
  rootPath,
  signedText,
} from './root-file'
import { chainDeleted } from './verify-chains'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'

/** Roots come hourly; what is sealed and has none for so long, in seconds, is told. */
const rootWithinSeconds = 2 * 3_600
/** How far clocks may disagree, in milliseconds. */
const clockToleranceMs = 300_000
const pageSize = 1_000

interface Look {
  tx: Queries
  keyring: Keyring
  findings: Findings
  folder: string
  /** What is older was taken away by retention, and may be missing. */
  retainedFrom: Date
}

const Note = z.strictObject({
  number: z.int(),
  lastSeal: z.string(),
  digest: z.instanceof(Buffer),
  at: z.date(),
})
type Note = z.infer<typeof Note>

/**
 * Holds the roots in the folder against Postgres, each against the one before it, and every head they name against
 * the seals. The signed files are what counts: Postgres' notes of them are only another thing to be checked.
 * @param files numbers of the files that were there before the transaction began
 */
export async function verifyRoots(look: Look, files: readonly number[]): Promise<number> {
  const { tx, findings, folder } = look
  const walk = walkRoots(look)
  const waiting = [...files]
  let last: Note | undefined
  for await (const note of notes(tx)) {
    for (let first = waiting[0]; first !== undefined && first < note.number; first = waiting[0]) {
      broken(findings, first, 'Postgres has no note of it')
      await walk.file(first)
      waiting.shift()
    }
    if (waiting[0] === note.number) waiting.shift()
    if (existsSync(rootPath(folder, note.number))) await walk.file(note.number, note)
    else walk.missing(note.number)
    last = note
  }
  // A crash may leave one file that has no note yet.
  for (const number of waiting) {
    if (number !== (last?.number ?? 0) + 1) broken(findings, number, 'Postgres has no note of it')
    await walk.file(number)
  }
  const { checked, newest } = walk.end()
  await checkNewSeals(look, newest, newest?.last_seal ?? last?.lastSeal ?? '0')
  return checked
}

const notesStatement = statement(
  'read_roots',
  Note,
  (p: Named<{ after: number }>) => sql`
      select number, last_seal::text as "lastSeal", digest, at from audit_roots
      where number > ${p.after} order by number limit ${pageSize}`,
)

async function* notes(tx: Queries): AsyncGenerator<Note> {
  for (let after = 0; ;) {
    const page: Note[] = await tx.many(notesStatement({ after }))
    yield* page
    const last = page.at(-1)
    if (!last || page.length < pageSize) return
    after = last.number
  }
}

/** Goes over the roots in the order of their numbers. */
function walkRoots(look: Look) {
  const { findings, retainedFrom } = look
  let checked = 0
  let newest: RootEnd | undefined
  /** What the next one has to follow; unknown after one that cannot be read, or is missing. */
  let before: RootEnd | undefined
  const gone: number[] = []
  /** Old ones may be missing, but only all of them up to one, as the signed time of the next one bears out. */
  const tellGone = (next?: RootEnd) => {
    const numbers = gone.splice(0)
    const excused = next && !newest && new Date(next.previous_at ?? next.at) <= retainedFrom
    if (!excused) for (const range of rangesOf(numbers)) missing(findings, range)
  }
  return {
    missing: (number: number) => void gone.push(number),
    async file(number: number, note?: Note) {
      const end = await checkFile(look, number)
      if (end) {
        if (gone.length > 0) before = undefined
        tellGone(end)
        checkPlace(findings, end, { before, isLowest: !newest })
        if (note) checkNote(findings, end, note)
        checked++
        newest = end
      }
      before = end
    },
    end() {
      tellGone()
      return { checked, newest }
    },
  }
}

/** @returns undefined where the file cannot be trusted, which is told */
async function checkFile(look: Look, number: number): Promise<RootEnd | undefined> {
  const { keyring, findings, folder } = look
  try {
    const pages = readRootFile(folder, number)
    let step = await pages.next()
    for (; !step.done; step = await pages.next()) await checkLines(look, number, step.value)
    const end = step.value
    const { key } = keyring.find('audit', end.kid)
    if (!rootIsSigned(key, signedText(end), end.signature))
      throw new BrokenRoot('its signature is wrong')
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

const start = { digest: Buffer.alloc(32).toString('hex'), lastSeal: '0', at: new Date(0) }

/** Each goes on exactly where the one before it ended, and time goes on too. */
function checkPlace(
  findings: Findings,
  { root, previous, first_seal, at }: RootEnd,
  { before, isLowest }: { before: RootEnd | undefined; isLowest: boolean },
): void {
  if (new Date(at).getTime() > Date.now() + clockToleranceMs)
    broken(findings, root, 'its time is still to come')
  const followed =
    before &&
    ({
      digest: digestOfRoot(before).toString('hex'),
      lastSeal: before.last_seal,
      at: new Date(before.at),
    } satisfies typeof start)
  const from = followed ?? (isLowest && root === 1 ? start : undefined)
  if (!from) return
  if (
    previous !== from.digest ||
    BigInt(first_seal) !== BigInt(from.lastSeal) + 1n ||
    new Date(at) < from.at
  )
    broken(findings, root, 'it does not follow the one before it')
}

function checkNote(findings: Findings, end: RootEnd, { number, digest, lastSeal, at }: Note): void {
  if (!digestOfRoot(end).equals(digest))
    broken(findings, number, 'it is not the one that Postgres noted')
  else if (end.last_seal !== lastSeal || new Date(end.at).getTime() !== at.getTime())
    broken(findings, number, 'what Postgres noted of it was changed')
}

const headsStatement = statement(
  'read_seals_of_root',
  z.strictObject({ hash: z.string().nullable(), last: z.int().nullable() }),
  (p: Named<{ chains: string[]; sequences: number[] }>) => sql`
    select encode(s.hash, 'hex') as hash, (select max(sequence) from audit_seals l where l.chain = line.chain) as last
    from unnest(${p.chains}::text[], ${p.sequences}::int[]) with ordinality line (chain, sequence, place)
    left join audit_seals s on s.chain = line.chain and s.sequence = line.sequence order by place`,
)

/** What a root says of a chain is still so. */
async function checkLines(
  { tx, findings, retainedFrom }: Look,
  number: number,
  lines: RootLine[],
): Promise<void> {
  const found = await tx.many(
    headsStatement({
      chains: lines.map(({ chain }) => chain),
      sequences: lines.map(({ sequence }) => sequence),
    }),
  )
  for (const [place, { chain, sequence, hash, at, fits }] of lines.entries()) {
    const seal = found[place]
    const edited = (what: string) =>
      findings.add({ kind: 'edited', chain, sequence, message: `${chain}: ${what}` })
    if (fits === false)
      edited(`row ${sequence} did not fit its seal when root ${number} was written`)
    if (seal?.hash === hash) continue
    if (seal?.hash) edited(`the seal of row ${sequence} is not the one that root ${number} holds`)
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

const newSealsStatement = statement(
  'read_seals_without_root',
  z.strictObject({ gone: z.string(), last: z.string(), late: z.boolean().nullable() }),
  (p: Named<{ lastSeal: string }>) => sql`
    select (max(s.number) - ${p.lastSeal}::bigint - count(*))::text as gone, max(s.number)::text as last,
      min(e.at) < now() - make_interval(secs => ${rootWithinSeconds}) as late
    from audit_seals s left join audit_events e on e.id = s.event_id
    where s.number > ${p.lastSeal}::bigint having count(*) > 0`,
)

/**
 * Since the last root, seals still count without a gap; and they do not wait for theirs for long. How long says the
 * time of their rows, which the seals cover.
 */
async function checkNewSeals(
  { tx, findings }: Look,
  newest: RootEnd | undefined,
  lastSeal: string,
): Promise<void> {
  const found = await tx.one(newSealsStatement({ lastSeal }))
  if (!found) return
  if (found.gone !== '0')
    findings.add({
      kind: 'deleted',
      message: `${found.gone} rows sealed since the last root are gone, with their seals: numbers between ${lastSeal} and ${found.last} are missing`,
    })
  const quietSince = Date.now() - rootWithinSeconds * 1_000
  if (found.late && (!newest || new Date(newest.at).getTime() < quietSince))
    findings.add({
      kind: 'root_late',
      message: `rows sealed over ${rootWithinSeconds / 3_600} hours ago are in no root: no worker can write the folder of roots`,
    })
}

const broken = (findings: Findings, number: number, why: string) =>
  findings.add({ kind: 'root_broken', message: `root ${number}: ${why}` })

interface Range {
  first: number
  last: number
}

/** Numbers in order, those that follow each other in one. */
function rangesOf(numbers: readonly number[]): Range[] {
  const ranges: Range[] = []
  for (const number of numbers) {
    const open = ranges.at(-1)
    if (open && open.last === number - 1) open.last = number
    else ranges.push({ first: number, last: number })
  }
  return ranges
}

const missing = (findings: Findings, { first, last }: Range) =>
  findings.add({
    kind: 'root_missing',
    message:
      first === last
        ? `root ${first}: its file is not in the folder of roots`
        : `roots ${first} to ${last}: their files are not in the folder of roots`,
  })
