import { existsSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { rootIsSigned, signRoot } from '../codes/audit-chain'
import type { Keyring } from '../codes/keyring'
import {
  digestOfRoot,
  readRootFile,
  type RootEnd,
  type RootLine,
  rootPath,
  signedText,
  writeRootFile,
} from './audit-root-file'
import { takeSealer } from './audit-seal'
import type { Database, Queries } from './index'

interface LastRoot {
  number: number
  lastSeal: string
  digest: Buffer
  due: boolean
}

const beforeFirst: LastRoot = { number: 0, lastSeal: '0', digest: Buffer.alloc(32), due: true }
const pageSize = 500

interface RootOptions {
  folder: string
  /** A root is due so long after the last one. */
  everySeconds: number
  /** Or when so many seals wait for it, which is also the most that one root covers. */
  most: number
}

/** The root to be written. */
interface Span {
  previous: LastRoot
  lastSeal: string
  seals: number
  at: Date
}

/**
 * Writes a root when one is due: the heads of all chains that grew since the last one, in a signed file in `folder`,
 * then a note in Postgres of how far it reaches. A crash between the two leaves a file without a note, which the next call takes up.
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
    const previous = (await findLastRoot(tx, everySeconds)) ?? beforeFirst
    const found = await tx.one<{ last: string | null; seals: number; at: Date }>(sql`
      select max(number)::text as last, count(*)::int as seals, now() as at from (
        select number from audit_seals where number > ${previous.lastSeal}::bigint order by number limit ${most}) new`)
    const { last = null, seals = 0, at = new Date() } = found ?? {}
    const isFirst = previous.number === 0
    if (isFirst ? seals === 0 : !previous.due && seals < most) return undefined
    const span = { previous, lastSeal: last ?? previous.lastSeal, seals, at }
    const root = previous.number + 1
    const end = existsSync(rootPath(folder, root))
      ? await takeUp(keyring, folder, span)
      : await writeFile(tx, keyring, folder, span)
    await tx.many(sql`insert into audit_roots (number, last_seal, digest, at)
      values (${root}, ${end.last_seal}::bigint, ${digestOfRoot(end)}, ${end.at}::timestamptz)`)
    return root
  })

const findLastRoot = (tx: Queries, everySeconds: number): Promise<LastRoot | undefined> =>
  tx.one<LastRoot>(sql`
    select number, last_seal::text as "lastSeal", digest, at <= now() - make_interval(secs => ${everySeconds}) as due
    from audit_roots order by number desc limit 1`)

function writeFile(
  tx: Queries,
  keyring: Keyring,
  folder: string,
  { previous, lastSeal, seals, at }: Span,
): Promise<RootEnd> {
  const root = previous.number + 1
  const { key, kid } = keyring.active('audit')
  return writeRootFile(folder, root, changedHeads(tx, previous.lastSeal, lastSeal), (lines) => {
    const unsigned = {
      root,
      at: at.toISOString(),
      previous: previous.digest.toString('hex'),
      first_seal: String(BigInt(previous.lastSeal) + 1n),
      last_seal: lastSeal,
      seals,
      ...lines,
      kid,
    }
    return { ...unsigned, signature: signRoot(key, JSON.stringify(unsigned)) }
  })
}

/** By a cursor: an hour may have seen a million chains. */
async function* changedHeads(tx: Queries, after: string, upTo: string): AsyncGenerator<RootLine[]> {
  await tx.many(sql`
    declare heads no scroll cursor for
    select distinct on (s.chain) s.chain, s.sequence, encode(s.hash, 'hex') as hash,
      to_char(e.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
    from audit_seals s join audit_events e on e.id = s.event_id
    where s.number > ${sql.raw(String(BigInt(after)))} and s.number <= ${sql.raw(String(BigInt(upTo)))}
    order by s.chain, s.sequence desc`)
  for (;;) {
    const page = await tx.many<RootLine>(sql`fetch ${sql.raw(String(pageSize))} from heads`)
    if (page.length === 0) break
    yield page
  }
  await tx.many(sql`close heads`)
}

/** The file of a root that was written, whose note a crash prevented. */
async function takeUp(
  keyring: Keyring,
  folder: string,
  { previous, lastSeal }: Span,
): Promise<RootEnd> {
  const root = previous.number + 1
  const pages = readRootFile(folder, root)
  let step = await pages.next()
  while (!step.done) step = await pages.next()
  const end = step.value
  const { key } = keyring.find('audit', end.kid)
  const follows =
    end.previous === previous.digest.toString('hex') &&
    BigInt(end.first_seal) === BigInt(previous.lastSeal) + 1n &&
    BigInt(end.last_seal) <= BigInt(lastSeal) &&
    rootIsSigned(key, signedText(end), end.signature)
  if (!follows)
    throw new Error(
      `${rootPath(folder, root)} was not written for this database as it is now. Was the database restored? Move this file and those with higher numbers to another folder, and keep them.`,
    )
  return end
}
