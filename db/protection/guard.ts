import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { placeInBlock } from '../../codes/scope-digest'
import type { Keyring } from '../../codes/keyring'
import type { ProtectionMode, ProtectionSettings } from '../../core/protection/protection'
import { type Finding, judgeSend, type KnownScope, warmFrom } from '../../core/protection/rules'
import {
  blockOf,
  rangeOf,
  rowsOf,
  type Scope,
  type ScopedSend,
  scopesOf,
} from '../../core/protection/scopes'
import { memory, noStanding, placesKept } from '../../core/protection/standing'
import { type Verdict, verdictOf } from '../../core/protection/verdict'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'
import { noteSolved } from './blocks'
import { byScope, type StandingRow } from './standing-rows'

/** So long after the end of its code's life a message that has not come back counts as one that does not. */
const graceSeconds = 60

/** A send as the rules see it. */
export interface GuardedSend extends ScopedSend {
  requestId: string
  recipientId: string
  /** Of the code, in seconds. */
  lifetimeSeconds: number
  mode: ProtectionMode
  rules: ProtectionSettings['rules']
  /** The fraud rules do not look at it: it is on an allow list, or somebody tries the service on their own machine. */
  isTrusted: boolean
  /** Somebody came back from this number before: it is counted as any other, and no block of its places holds it. */
  isKnown?: boolean | undefined
  /** No message of it leaves: there is nothing to judge, and it counts for nothing. */
  reachesNobody?: boolean | undefined
  /** A challenge was solved for it. */
  isSolved: boolean
  /** What was found about this send alone before it was counted, such as a number that changed its SIM card. */
  signals?: readonly Finding[] | undefined
}

/** What was decided. */
export interface Guarded {
  verdict: Verdict
  findings: Finding[]
  /** Of the row that says so; undefined for a refusal, whose row is yet to be written. */
  decisionId: string | undefined
}

/** What of `count_send`'s answer is read. */
interface Counted {
  /** The country is not cold: the scope `cold` is not the send's. */
  warm: boolean
  /** Absent where a block keeps the send from being counted. */
  decision?: string
  blocks: [name: string, asks: NonNullable<KnownScope['blocked']>][] | null
  standings?: StandingRow[]
}

/**
 * Counts a send in all its scopes, writes its decision down and judges it, in one round trip. Whoever calls rolls back
 * what is refused, and then says so with `noteRefusal`: a refused send must count for nothing.
 * @param tx the transaction that makes the request
 * @param at the time to go by; the database's when absent
 */
export async function guardSend(
  tx: Queries,
  keyring: Keyring,
  send: GuardedSend,
  at?: Date,
): Promise<Guarded> {
  if (send.reachesNobody) return { verdict: 'allowed', findings: [], decisionId: undefined }
  const scopes = send.isTrusted ? [] : scopesOf(send)
  const heedsBlocks = send.rules.blocked === undefined
  const passes = send.isKnown || send.isSolved || send.mode === 'observe' || !heedsBlocks
  const counted = await count(tx, keyring, { send, scopes, passes, at })
  const found = [...(send.signals ?? []), ...judgeSend(knownFrom(scopes, counted))]
  const findings = found.filter(({ rule }) => send.rules[rule] !== 'off')
  const verdict = verdictOf(findings, send)
  const { decision: decisionId } = counted
  if (decisionId !== undefined && (findings.length > 0 || verdict !== 'allowed'))
    await tx.many(judgedStatement({ id: decisionId, verdict, findings: JSON.stringify(findings) }))
  const passed = findings.filter(({ rule }) => rule === 'blocked').map(({ name }) => name)
  if (passed.length > 0 && send.isSolved && !send.isKnown && verdict === 'allowed')
    await noteSolved(tx, passed)
  return { verdict, findings, decisionId }
}

const countStatement = statement(
  'count_send',
  z.strictObject({ counted: z.custom<Counted>() }),
  (p: Named<{ send: string }>) => sql`select count_send(${p.send}::jsonb) as counted`,
)

const judgedStatement = statement(
  'note_findings',
  NoRow,
  (p: Named<{ id: string; verdict: Verdict; findings: string }>) => sql`
  update send_decisions set verdict = ${p.verdict}, findings = ${p.findings}::jsonb where id = ${p.id}::bigint`,
)

/** One row of each scope's is counted in, by chance; the others are read. */
async function count(
  tx: Queries,
  keyring: Keyring,
  {
    send,
    scopes,
    passes,
    at,
  }: { send: GuardedSend; scopes: readonly Scope[]; passes: boolean; at: Date | undefined },
): Promise<Counted> {
  const counted: string[] = []
  const others: string[] = []
  const cold: string[] = []
  const home: string[] = []
  for (const scope of scopes) {
    const rows = rowsOf(scope)
    const [chosen = scope.name] = rows.splice(Math.floor(Math.random() * rows.length), 1)
    counted.push(chosen)
    others.push(...rows)
    if (scope.kind === 'cold') cold.push(...rowsOf(scope))
    if (scope.kind === 'country') home.push(...rowsOf(scope))
  }
  const nameOf = (kind: Scope['kind']) => scopes.find((scope) => scope.kind === kind)?.name ?? null
  const block = nameOf('block')
  const place =
    block !== null && send.number !== undefined ? placeInBlock(keyring, send.number) : null
  const row = await tx.one(
    countStatement({
      send: JSON.stringify({
        requestId: send.requestId,
        recipientId: send.recipientId,
        appId: send.app,
        environment: send.environment,
        country: send.country,
        mode: send.mode,
        maturesAfter: send.lifetimeSeconds + graceSeconds,
        at,
        ...{ passes, block, place },
        ...{ memory, warmFrom, placesKept },
        counted: listed(counted),
        others: listed(others),
        cold: listed(cold),
        home: listed(home),
      }),
    }),
  )
  if (!row) throw new Error('Postgres counted a send and gave no row.')
  return row.counted
}

/** A list as Postgres writes arrays. */
const listed = (names: readonly string[]): string =>
  `{${names.map((name) => JSON.stringify(name)).join(',')}}`

/** The send's scopes, with what is known of them. */
function knownFrom(scopes: readonly Scope[], { warm, blocks, standings }: Counted): KnownScope[] {
  const known = byScope(standings ?? [])
  const asks = new Map(blocks)
  return scopes
    .filter(({ kind }) => !(warm && kind === 'cold'))
    .map(({ kind, name }) => ({
      kind,
      name,
      standing: known.get(name) ?? noStanding,
      blocked: asks.get(name),
    }))
}

/** The beginning of the number that a scope is about, for its block's row; its name says it already. */
export const labelOf = (finding: Finding, send: ScopedSend): string | null => {
  if (finding.scope === 'country') return send.country
  if (send.number === undefined) return null
  if (finding.scope === 'block') return blockOf(send.number)
  return finding.scope === 'range' ? rangeOf(send.number) : null
}
