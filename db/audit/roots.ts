import { existsSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import {
  type AuditContent,
  chainHash,
  chainStart,
  rootIsSigned,
  sameHash,
  signRoot,
} from '../../codes/audit-chain'
import { type Keyring, UnknownKey } from '../../codes/keyring'
import {
  BrokenRoot,
  digestOfRoot,
  readRootEnd,
  readRootFile,
  type RootEnd,
  type RootLine,
  rootPath,
  rootsIn,
  signedText,
  writeRootFile,
} from './root-file'
import { contentColumns, takeSealer } from './seal'
import type { Database, Queries } from '../index'
import { type Named, NoRow, statement } from '../statement'

/** What the next root follows. */
interface LastRoot {
  number: number
  lastSeal: string
  digest: Buffer
  at: Date
  /** Its file is there, and vouches for all of this. */
  signed: boolean
}

const beforeFirst: LastRoot = {
  number: 0,
  lastSeal: '0',
  digest: Buffer.alloc(32),
  at: new Date(0),
  signed: false,
}
const pageSize = 500
/** A root that is further ahead than this, in milliseconds, was written by a wrong clock. */
const clockToleranceMs = 300_000

interface RootOptions {
  folder: string
  /** A root is due so long after the last one. */
  everySeconds: number
  /** Or when so many seals wait for it, which is also the most that one root covers. */
  most: number
}

/** The root to be written. */
interface Span {
  number: number
  previous: LastRoot
  lastSeal: string
  /** How many of the seals belong to a row, each counted once. */
  seals: number
  at: Date
}

const noteStatement = statement(
  'note_root',
  NoRow,
  (p: Named<{ number: number; lastSeal: string; digest: Buffer; at: string }>) => sql`
  insert into audit_roots (number, last_seal, digest, at)
  values (${p.number}, ${p.lastSeal}::bigint, ${p.digest}, ${p.at}::timestamptz)`,
)

/**
 * Writes a root when one is due: the heads of all chains that grew since the last one, in a signed file in `folder`,
 * then a note in Postgres of how far it reaches. A crash between the two leaves a file without a note, which the next
 * call takes up. What the last file says counts; a note alone is believed only where the folder holds no file.
 * @returns the root's number, if it wrote one
 * @throws when the folder cannot be written, or holds roots that this database knows nothing of
 */
export const writeRoot = (
  db: Database,
  keyring: Keyring,
  { folder, everySeconds, most }: RootOptions,
): Promise<number | undefined> =>
  db.transaction(async (tx) => {
    if (!(await takeSealer(tx))) return undefined
    const noted = (await findLastNote(tx)) ?? beforeFirst
    const number = noted.number + 1
    const files = await rootsIn(folder)
    if ((files.at(-1) ?? 0) > number) throw foreign(folder, number)
    const previous = await findLastRoot(keyring, folder, { noted, files })
    const { last, raw, seals, now } = await newSeals(tx, previous.lastSeal, most)
    const age = now.getTime() - previous.at.getTime()
    const due = age >= everySeconds * 1_000 || age < -clockToleranceMs
    const isFirst = noted.number === 0
    if (isFirst ? raw === 0 : !due && raw < most) return undefined
    const at = previous.signed && previous.at > now ? previous.at : now
    const span = { number, previous, lastSeal: last ?? previous.lastSeal, seals, at }
    const end = existsSync(rootPath(folder, number))
      ? await takeUp(keyring, folder, span)
      : await writeFile(tx, keyring, folder, span)
    const { last_seal: lastSeal, at: writtenAt } = end
    await tx.many(noteStatement({ number, lastSeal, digest: digestOfRoot(end), at: writtenAt }))
    return number
  })

const lastNoteStatement = statement(
  'find_last_root',
  z.strictObject({
    number: z.int(),
    lastSeal: z.string(),
    digest: z.instanceof(Buffer),
    at: z.date(),
    signed: z.boolean(),
  }),
  () => sql`
    select number, last_seal::text as "lastSeal", digest, at, false as signed
    from audit_roots order by number desc limit 1`,
)

const findLastNote = (tx: Queries): Promise<LastRoot | undefined> => tx.one(lastNoteStatement({}))

/** Whoever holds the database can write notes, but no file. */
async function findLastRoot(
  keyring: Keyring,
  folder: string,
  { noted, files }: { noted: LastRoot; files: readonly number[] },
): Promise<LastRoot> {
  const number = files.findLast((file) => file <= noted.number)
  if (number === undefined) return noted
  const end = await readRootEnd(folder, number)
  if (!isSigned(keyring, end)) throw new BrokenRoot(`root ${number}: its signature is wrong`)
  return {
    number,
    lastSeal: end.last_seal,
    digest: digestOfRoot(end),
    at: new Date(end.at),
    signed: true,
  }
}

const isSigned = (keyring: Keyring, end: RootEnd): boolean =>
  rootIsSigned(keyring.find('audit', end.kid).key, signedText(end), end.signature)

const newSealsStatement = statement(
  'count_new_seals',
  z.strictObject({
    last: z.string().nullable(),
    raw: z.int(),
    seals: z.int(),
    now: z.date(),
  }),
  (p: Named<{ after: string; most: number }>) => sql`
    select max(s.number)::text as last, count(s.number)::int as raw, count(e.id)::int as seals, now() as now from (
      select * from audit_seals where number > ${p.after}::bigint order by number limit ${p.most}) s
    left join audit_events e on e.id = s.event_id and e.chain = s.chain and e.sequence = s.sequence`,
)

async function newSeals(tx: Queries, after: string, most: number) {
  const found = await tx.one(newSealsStatement({ after, most }))
  if (!found) throw new Error('A statement without a condition gave no row.')
  return found
}

function writeFile(
  tx: Queries,
  keyring: Keyring,
  folder: string,
  { number, previous, lastSeal, seals, at }: Span,
): Promise<RootEnd> {
  const { key, kid } = keyring.active('audit')
  const heads = changedHeads(tx, keyring, { after: previous.lastSeal, upTo: lastSeal, at })
  return writeRootFile(folder, number, heads, (lines) => {
    const unsigned = {
      root: number,
      at: at.toISOString(),
      previous: previous.digest.toString('hex'),
      previous_at: previous.signed ? previous.at.toISOString() : null,
      first_seal: String(BigInt(previous.lastSeal) + 1n),
      last_seal: lastSeal,
      seals,
      ...lines,
      kid,
    }
    return { ...unsigned, signature: signRoot(key, JSON.stringify(unsigned)) }
  })
}

interface Head {
  chain: string
  sequence: number
  number: string
  eventId: string
  hash: Buffer
  kid: string
  content: AuditContent
  /** The time in the content, as a root writes it. */
  writtenAt: string
  /** The hash of the seal before it in its chain. */
  previous: Buffer | null
}

/** By a cursor, since an hour may have seen a million chains; a cursor cannot be prepared, so these have no names. */
async function* changedHeads(
  tx: Queries,
  keyring: Keyring,
  { after, upTo, at }: { after: string; upTo: string; at: Date },
): AsyncGenerator<RootLine[]> {
  const number = (text: string) => sql.raw(String(BigInt(text)))
  await tx.many(sql`
    declare heads no scroll cursor for
    select s.*, ${contentColumns},
      to_char(e.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "writtenAt",
      (select p.hash from audit_seals p where p.chain = s.chain and p.sequence = s.sequence - 1) as previous
    from (
      select distinct on (chain) chain, sequence, number::text as number, event_id as "eventId", hash, kid
      from audit_seals where number > ${number(after)} and number <= ${number(upTo)}
      order by chain, sequence desc) s
    join audit_events e on e.id = s."eventId"
    order by s.chain`)
  for (;;) {
    const page = await tx.many<Omit<Head, 'content'> & AuditContent>(
      sql`fetch ${sql.raw(String(pageSize))} from heads`,
    )
    if (page.length === 0) break
    yield page.map((head) => lineOf(keyring, { ...head, content: head }, at))
  }
  await tx.many(sql`close heads`)
}

/** What a row says of its time counts only where its seal bears it out: what is old may be missing one day. */
function lineOf(keyring: Keyring, head: Head, at: Date): RootLine {
  const { chain, sequence, hash, writtenAt } = head
  const line = { chain, sequence, hash: hash.toString('hex') }
  return fits(keyring, head)
    ? { ...line, at: writtenAt }
    : { ...line, at: at.toISOString(), fits: false }
}

function fits(keyring: Keyring, { kid, hash, previous, content, ...position }: Head): boolean {
  const before = position.sequence === 1 ? chainStart : previous
  if (!before) return false
  try {
    const { key } = keyring.find('audit', kid)
    return sameHash(chainHash(key, before, position, content), hash)
  } catch (error) {
    if (error instanceof UnknownKey) return false
    throw error
  }
}

/** The file of a root that was written, whose note a crash prevented. */
async function takeUp(
  keyring: Keyring,
  folder: string,
  { number, previous, lastSeal }: Span,
): Promise<RootEnd> {
  const pages = readRootFile(folder, number)
  let step = await pages.next()
  while (!step.done) step = await pages.next()
  const end = step.value
  const follows =
    end.previous === previous.digest.toString('hex') &&
    BigInt(end.first_seal) === BigInt(previous.lastSeal) + 1n &&
    BigInt(end.last_seal) <= BigInt(lastSeal) &&
    isSigned(keyring, end)
  if (!follows) throw foreign(folder, number)
  return end
}

const foreign = (folder: string, number: number) =>
  new Error(
    `${rootPath(folder, number)} was not written for this database as it is now. Was the database restored? Move this file and those with higher numbers to another folder, and keep them.`,
  )
