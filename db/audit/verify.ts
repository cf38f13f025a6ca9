import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { createFindings, type Finding, type Findings, rowsNamed } from './findings'
import { rootsIn } from './root-file'
import { chainDeleted, verifyChains } from './verify-chains'
import { verifyRoots } from './verify-roots'
import type { Database, Queries } from '../index'
import { type Named, statement } from '../statement'

export interface VerifyOptions {
  /** The folder of roots. */
  folder: string
  /** Audit rows older than so many days may have been taken away. */
  retainedDays: number
  /** Told of each finding as it comes. */
  report: (finding: Finding) => void
}

export interface Verified {
  rows: number
  chains: number
  roots: number
  findings: number
}

const pageSize = 1_000

/**
 * Goes through the whole audit as it stands at one moment: rows against seals, seals against their chain, ends of
 * chains against what requests and apps numbered, and the roots in the folder against all of it. Holds pages, never all of it.
 * @throws when Postgres or the folder cannot be read
 */
export async function verifyAudit(
  db: Database,
  keyring: Keyring,
  { folder, retainedDays, report }: VerifyOptions,
): Promise<Verified> {
  // Before the transaction: what these files say was committed before they were written.
  const files = await rootsIn(folder)
  const findings = createFindings(report)
  return db.transaction(async (tx) => {
    await tx.many(sql`set transaction isolation level repeatable read, read only`)
    const retainedFrom = new Date(Date.now() - retainedDays * 86_400_000)
    const { rows, chains } = await verifyChains(tx, keyring, findings)
    await verifyEnds(tx, findings)
    const roots = await verifyRoots({ tx, keyring, findings, folder, retainedFrom }, files)
    return { rows, chains, roots, findings: findings.count }
  })
}

const ChainEnd = z.strictObject({
  chain: z.string(),
  /** How many rows its request or app has numbered. */
  numbered: z.int(),
  /** The last one that there is, or that was sealed. */
  last: z.int(),
})
type ChainEnd = z.infer<typeof ChainEnd>

const endsOf = (name: string, source: SQL) =>
  statement(
    name,
    ChainEnd,
    (p: Named<{ after: string }>) => sql`
        select c.chain, c.numbered, greatest(
          (select max(sequence) from audit_events e where e.chain = c.chain),
          (select max(sequence) from audit_seals s where s.chain = c.chain), 0) as last
        from (select * from (${source}) s where chain > ${p.after} order by chain limit ${pageSize}) c order by chain`,
  )

const sources = [
  endsOf('read_ends_of_requests', sql`select id as chain, audit_seq as numbered from otp_requests`),
  endsOf('read_ends_of_admin_chains', sql`select chain, sequence as numbered from audit_chains`),
]

/**
 * What was cut off at the end of a chain leaves no gap in it; but whoever numbers its rows knows. Retention is no
 * excuse: it takes a request away together with its rows.
 */
async function verifyEnds(tx: Queries, findings: Findings): Promise<void> {
  for (const source of sources)
    for (let after = ''; ;) {
      const page: ChainEnd[] = await tx.many(source({ after }))
      for (const end of page) checkEnd(end, findings)
      const last = page.at(-1)
      if (!last || page.length < pageSize) break
      after = last.chain
    }
}

function checkEnd({ chain, numbered, last }: ChainEnd, findings: Findings): void {
  if (last === numbered) return
  if (last === 0) findings.add(chainDeleted(chain))
  else if (last < numbered)
    findings.add({
      kind: 'deleted',
      chain,
      sequence: last + 1,
      message: `${chain}: ${rowsNamed(last + 1, numbered)} deleted at its end`,
    })
  else
    findings.add({
      kind: 'added',
      chain,
      sequence: numbered + 1,
      message: `${chain}: ${rowsNamed(numbered + 1, last)} added that nothing numbered`,
    })
}
