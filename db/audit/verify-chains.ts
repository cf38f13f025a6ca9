import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import {
  type AuditContent,
  chainHash,
  chainStart,
  sameHash,
  type SealPosition,
} from '../../codes/audit-chain'
import { type Keyring, UnknownKey } from '../../codes/keyring'
import { type Findings, rowsNamed } from './findings'
import { contentColumns } from './seal'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'

/** A row and its seal; of either there may be nothing. */
type Pair = { chain: string; sequence: number; age: number | null; queued: boolean } & (
  ({ eventId: string } & AuditContent) | ({ eventId: null } & { [K in keyof AuditContent]: null })
) &
  (
    | { number: string; sealedEvent: string; hash: Buffer; kid: string }
    | { number: null; sealedEvent: null; hash: null; kid: null }
  )
type Sealed = Extract<Pair, { eventId: string; number: string }>

const pageSize = 1_000
/** A row has its seal by then, in seconds. */
const sealWithinSeconds = 60
/** One that is further ahead, in seconds, was not written by our clock. */
const clockToleranceSeconds = 300
/** So many rows of one chain that do not fit are held, to look for swaps among them. */
const misfitsAtOnce = 20

/** Looks at every row and every seal, chain by chain, holding a page of them at a time. */
export async function verifyChains(
  tx: Queries,
  keyring: Keyring,
  findings: Findings,
): Promise<{ rows: number; chains: number }> {
  const counts = { rows: 0, chains: 0 }
  let walk: ChainWalk | undefined
  for await (const pair of pairs(tx)) {
    if (walk?.chain !== pair.chain) {
      walk?.end()
      walk = walkChain(pair.chain, keyring, findings)
      counts.chains++
    }
    walk.next(pair)
    counts.rows++
  }
  walk?.end()
  return counts
}

interface Position {
  chain: string
  sequence: number
}

/** Where a page begins and ends: behind one position, up to another; either may be absent. */
interface Page {
  from?: Position | undefined
  to?: Position | undefined
}

interface PageParams {
  fromChain?: string
  fromSequence?: number
  toChain?: string
  toSequence?: number
}
const pageParams = ({ from, to }: Page): PageParams => ({
  ...(from && { fromChain: from.chain, fromSequence: from.sequence }),
  ...(to && { toChain: to.chain, toSequence: to.sequence }),
})

type Bounds = 'whole' | 'after' | 'up_to' | 'between'
const boundsOf = ({ from, to }: Page): Bounds =>
  from ? (to ? 'between' : 'after') : to ? 'up_to' : 'whole'

const within = (bounds: Bounds, p: Named<PageParams>): SQL => {
  const from = sql`(chain, sequence) > (${p.fromChain}, ${p.fromSequence}::int)`
  const to = sql`(chain, sequence) <= (${p.toChain}, ${p.toSequence}::int)`
  return { whole: sql`true`, after: from, up_to: to, between: sql`${from} and ${to}` }[bounds]
}

const pairsWithin = (bounds: Bounds) =>
  statement(
    `read_audit_pairs_${bounds}`,
    // Whatever is there is to be judged, also what no schema expects.
    z.custom<Pair>(),
    (p: Named<PageParams>) => sql`
      select chain, sequence, e.id::text as "eventId", ${contentColumns},
        extract(epoch from clock_timestamp() - e.at)::float8 as age,
        exists (select from audit_unsealed u where u.event_id = e.id) as queued, s.number::text as number, s.event_id::text as "sealedEvent", s.hash, s.kid
      from (select * from audit_events where ${within(bounds, p)}) e
        full join (select * from audit_seals where ${within(bounds, p)}) s using (chain, sequence)
      order by chain, sequence`,
  )

/** A constant for each way in which a page is bounded: as values, the bounds are those of an index. */
const pairStatements = {
  whole: pairsWithin('whole'),
  after: pairsWithin('after'),
  up_to: pairsWithin('up_to'),
  between: pairsWithin('between'),
}

/** From the very beginning, wherever somebody may have put a row. */
async function* pairs(tx: Queries): AsyncGenerator<Pair> {
  for (let from: Position | undefined; ;) {
    const to: Position | undefined = await endOfPage(tx, from)
    const page = { from, to }
    yield* await tx.many(pairStatements[boundsOf(page)](pageParams(page)))
    if (!to) return
    from = to
  }
}

const endWithin = (bounds: 'whole' | 'after') =>
  statement(
    `find_end_of_page_${bounds}`,
    z.strictObject({ chain: z.string(), sequence: z.int() }),
    (p: Named<PageParams>) => sql`
    select chain, sequence from (
      (select chain, sequence from audit_events where ${within(bounds, p)}
        order by chain, sequence offset ${pageSize - 1} limit 1)
      union all
      (select chain, sequence from audit_seals where ${within(bounds, p)}
        order by chain, sequence offset ${pageSize - 1} limit 1)
    ) ends order by chain, sequence limit 1`,
  )
const endOfFirstPage = endWithin('whole')
const endOfNextPage = endWithin('after')

/** How far a page may go so that neither table has more than a page of rows in it; undefined: to the end. */
const endOfPage = (tx: Queries, from: Position | undefined): Promise<Position | undefined> =>
  tx.one((from ? endOfNextPage : endOfFirstPage)(pageParams({ from })))

interface ChainWalk {
  chain: string
  next(pair: Pair): void
  end(): void
}

/** Follows one chain from its first row to its last. */
function walkChain(chain: string, keyring: Keyring, findings: Findings): ChainWalk {
  let expected = 1
  let rows = 0
  let unsealed: Unsealed | undefined
  const hashes = followHashes(chain, keyring, findings)
  const gone = createRanges((first, last) =>
    findings.add({
      kind: 'deleted',
      chain,
      sequence: first,
      message: `${chain}: ${rowsNamed(first, last)} deleted`,
    }),
  )
  return {
    chain,
    next(pair) {
      const { sequence } = pair
      if (sequence < 1) return findings.add(unnumbered(chain, sequence))
      if (sequence > expected) {
        gone.add(expected, sequence - 1)
        hashes.skip(undefined)
      }
      expected = sequence + 1
      if (pair.eventId === null) gone.add(sequence, sequence)
      else rows++
      if (pair.number === null) {
        unsealed = {
          first: sequence,
          ...unsealed,
          last: sequence,
          late: (unsealed?.late ?? false) || waitsTooLong(pair),
        }
        hashes.skip(undefined)
        return
      }
      if (unsealed) findings.add(sealDeleted(chain, unsealed))
      unsealed = undefined
      if (isSealed(pair)) hashes.check(pair)
      else hashes.skip(pair.hash)
    },
    end() {
      if (rows === 0 && expected > 1) findings.add(chainDeleted(chain))
      else gone.end()
      if (unsealed?.late)
        findings.add({
          kind: 'unsealed',
          chain,
          sequence: unsealed.first,
          message: `${chain}: ${rowsNamed(unsealed.first, unsealed.last)} without a seal for over ${sealWithinSeconds} s, or not in line for one: no worker seals, or somebody meddled`,
        })
      hashes.end()
    },
  }
}

/** The last rows of a chain, which have no seal yet. */
interface Unsealed {
  first: number
  last: number
  late: boolean
}

/** A row waits in line for its seal, a minute at most, and by our clock. */
const waitsTooLong = ({ age, queued }: Pair): boolean =>
  !queued || age === null || age > sealWithinSeconds || age < -clockToleranceSeconds

const unnumbered = (chain: string, sequence: number) =>
  ({
    kind: 'added',
    chain,
    sequence,
    message: `${chain || 'a chain without a name'}: row ${sequence} added, where no row can be`,
  }) as const

/** A row that its seal does not fit. */
interface Misfit {
  position: SealPosition
  key: Buffer
  previous: Buffer
  hash: Buffer
  content: AuditContent
}

/** Holds each row of a chain against its seal, and each seal against the one before. */
function followHashes(chain: string, keyring: Keyring, findings: Findings) {
  /** The hash that the next one covers: as stored, and as it should be. Undefined after a seal that is gone. */
  let previous: { stored: Buffer; computed: Buffer } | undefined = {
    stored: chainStart,
    computed: chainStart,
  }
  const misfits: Misfit[] = []
  const skip = (hash: Buffer | undefined) => {
    previous = hash && { stored: hash, computed: hash }
  }
  return {
    /** Goes on after a seal that cannot be checked, or is gone. */
    skip,
    check(pair: Sealed) {
      const { number, sealedEvent, sequence, hash } = pair
      const key = findKey(keyring, pair, findings)
      if (!key || !previous) return skip(hash)
      const position = { number, eventId: sealedEvent, chain, sequence }
      const { stored } = previous
      const computed = chainHash(key, stored, position, pair)
      // After a seal that was edited, the next one still covers what it was.
      const over = sameHash(computed, hash)
        ? computed
        : chainHash(key, previous.computed, position, pair)
      if (!sameHash(over, hash) || sealedEvent !== pair.eventId) {
        misfits.push({ position, key, previous: stored, hash, content: pair })
        if (misfits.length === misfitsAtOnce) reportMisfits(chain, misfits.splice(0), findings)
      }
      previous = { stored: hash, computed }
    },
    end: () => reportMisfits(chain, misfits, findings),
  }
}

const isSealed = (pair: Pair): pair is Sealed => pair.eventId !== null && pair.number !== null

export const chainDeleted = (chain: string) =>
  ({ kind: 'chain_deleted', chain, message: `${chain}: all its rows deleted` }) as const

const sealDeleted = (chain: string, { first, last }: { first: number; last: number }) =>
  ({
    kind: 'seal_deleted',
    chain,
    sequence: first,
    message: `${chain}: seal of ${rowsNamed(first, last)} deleted`,
  }) as const

function findKey(keyring: Keyring, { kid, chain, sequence }: Sealed, findings: Findings) {
  try {
    return keyring.find('audit', kid).key
  } catch (error) {
    if (!(error instanceof UnknownKey)) throw error
    findings.add({
      kind: 'unknown_key',
      chain,
      sequence,
      message: `${chain}: row ${sequence} was sealed with the key ${kid}, which is not in the key file`,
    })
    return undefined
  }
}

/** Joins what follows each other. */
function createRanges(report: (first: number, last: number) => void) {
  let open: { first: number; last: number } | undefined
  const end = () => {
    if (open) report(open.first, open.last)
    open = undefined
  }
  return {
    add(first: number, last: number) {
      if (open && first === open.last + 1) open.last = last
      else {
        end()
        open = { first, last }
      }
    },
    end,
  }
}

/** Two rows that each fit where the other stands were swapped; everything else was edited. */
function reportMisfits(chain: string, misfits: Misfit[], findings: Findings): void {
  const fits = ({ key, previous, position, hash }: Misfit, { content }: Misfit) =>
    sameHash(chainHash(key, previous, position, content), hash)
  const left = new Set(misfits)
  for (const one of left) {
    left.delete(one)
    const { sequence } = one.position
    const other = [...left].find((other) => fits(one, other) && fits(other, one))
    if (other) left.delete(other)
    findings.add({
      kind: other ? 'swapped' : 'edited',
      chain,
      sequence,
      message: other
        ? `${chain}: rows ${sequence} and ${other.position.sequence} swapped`
        : `${chain}: row ${sequence} or its seal edited`,
    })
  }
}
