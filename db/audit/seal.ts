import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { type AuditContent, chainHash, chainStart } from '../../codes/audit-chain'
import type { Keyring } from '../../codes/keyring'
import type { Database, Queries } from '../index'
import { type Named, NoRow, statement } from '../statement'

/** One number for "otpilot seals": seals are numbered without gaps, so of all workers one makes them at a time. */
const lockId = 0x07b2

const lockStatement = statement(
  'take_sealer',
  z.strictObject({ mine: z.boolean() }),
  () => sql`select pg_try_advisory_xact_lock(${lockId}) as mine`,
)

/** Whether this transaction is the one that seals, until its end. */
export async function takeSealer(tx: Queries): Promise<boolean> {
  const got = await tx.one(lockStatement({}))
  return got?.mine === true
}

/** What the hash of a row covers, as {@link AuditContent}, of a row `e` of audit_events. */
export const contentColumns: SQL =
  sql.raw(`e.request_id as "requestId", e.app_id as "appId", e.type::text as type,
  e.actor, e.run_id as "runId", e.attempt_id as "attemptId", e.detail,
  (extract(epoch from e.at) * 1000000)::bigint::text as at`)

/** {@link contentColumns} of a row. */
const contentRow = {
  requestId: z.string().nullable(),
  appId: z.string().nullable(),
  type: z.string(),
  actor: z.string(),
  runId: z.string().nullable(),
  attemptId: z.string().nullable(),
  detail: z.custom<AuditContent['detail']>(),
  at: z.string(),
}

const UnsealedRow = z.strictObject({
  ...contentRow,
  eventId: z.string(),
  chain: z.string(),
  sequence: z.int(),
  /** The chain's last seal. */
  sealed: z.int().nullable(),
  hash: z.instanceof(Buffer).nullable(),
})
type Unsealed = z.infer<typeof UnsealedRow>

const unsealedStatement = statement(
  'find_unsealed',
  UnsealedRow,
  (p: Named<{ after: string; limit: number }>) => sql`
      select e.id::text as "eventId", e.chain, e.sequence, ${contentColumns},
        last.sequence as sealed, last.hash
      from audit_unsealed u join audit_events e on e.id = u.event_id
      left join lateral (
        select sequence, hash from audit_seals s where s.chain = e.chain order by sequence desc limit 1
      ) last on true
      where u.event_id > ${p.after}::bigint order by u.event_id limit ${p.limit}`,
)

const highestStatement = statement(
  'find_highest_seal',
  z.strictObject({ number: z.string() }),
  () => sql`select coalesce(max(number), 0)::text as number from audit_seals`,
)

interface Seal {
  number: string
  eventId: string
  chain: string
  sequence: number
  hash: Buffer
}

export interface SealedBatch {
  taken: number
  sealed: number
  /** The last row looked at: where the next batch goes on. */
  last: string
}

/**
 * Seals up to `limit` rows that wait, those after the row `after`, in one transaction. A row whose forerunner in its
 * chain cannot be seen yet is left waiting: that one's transaction is still open.
 * @returns undefined while another worker seals
 */
export const sealBatch = (
  db: Database,
  keyring: Keyring,
  { after, limit }: { after: string; limit: number },
): Promise<SealedBatch | undefined> =>
  db.transaction(async (tx) => {
    if (!(await takeSealer(tx))) return undefined
    const rows = await tx.many(unsealedStatement({ after, limit }))
    const highest = await tx.one(highestStatement({}))
    const { key, kid } = keyring.active('audit')
    const seals = makeSeals(key, rows, BigInt(highest?.number ?? 0))
    if (seals.length > 0) await tx.many(insertStatement(columnsOf(seals, kid)))
    return { taken: rows.length, sealed: seals.length, last: rows.at(-1)?.eventId ?? after }
  })

/** Each row follows the last one of its chain, or has to wait. */
function makeSeals(key: Buffer, rows: Unsealed[], highest: bigint): Seal[] {
  const heads = new Map<string, { sequence: number; hash: Buffer }>()
  const seals: Seal[] = []
  // Within a chain the order of ids is that of sequences, but for transactions that overtook each other.
  for (const row of rows.toSorted((one, other) => one.sequence - other.sequence)) {
    const { eventId, chain, sequence } = row
    const head = heads.get(chain) ?? {
      sequence: row.sealed ?? 0,
      hash: row.hash ?? chainStart,
    }
    if (sequence !== head.sequence + 1) continue
    const number = String(highest + BigInt(seals.length + 1))
    const hash = chainHash(key, head.hash, { number, eventId, chain, sequence }, row)
    heads.set(chain, { sequence, hash })
    seals.push({ number, eventId, chain, sequence, hash })
  }
  return seals
}

interface SealColumns {
  numbers: string[]
  eventIds: string[]
  chains: string[]
  sequences: number[]
  hashes: Buffer[]
  kid: string
}
const columnsOf = (seals: readonly Seal[], kid: string): SealColumns => ({
  numbers: seals.map(({ number }) => number),
  eventIds: seals.map(({ eventId }) => eventId),
  chains: seals.map(({ chain }) => chain),
  sequences: seals.map(({ sequence }) => sequence),
  hashes: seals.map(({ hash }) => hash),
  kid,
})

const insertStatement = statement(
  'insert_seals',
  NoRow,
  (p: Named<SealColumns>) => sql`
    with sealed as (
      insert into audit_seals (number, event_id, chain, sequence, hash, kid)
      select *, ${p.kid} from unnest(${p.numbers}::bigint[], ${p.eventIds}::bigint[],
        ${p.chains}::text[], ${p.sequences}::int[], ${p.hashes}::bytea[])
      returning event_id
    )
    delete from audit_unsealed where event_id in (select event_id from sealed)`,
)

const lagStatement = statement(
  'read_sealing_lag',
  z.strictObject({ seconds: z.number().nullable() }),
  () => sql`
    select extract(epoch from now() - min(e.at))::float8 as seconds
    from (select event_id from audit_unsealed order by event_id limit 1000) u
    join audit_events e on e.id = u.event_id`,
)

/** How long the oldest row has waited for its seal, in seconds; 0 where none waits. */
export async function sealingLag(db: Queries): Promise<number> {
  const found = await db.one(lagStatement({}))
  return Math.max(0, found?.seconds ?? 0)
}
