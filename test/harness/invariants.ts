import { sql } from 'drizzle-orm'
import type { AuditType } from '../../core/audit/types'
import type { State } from '../../core/requests/state'
import type { Queries } from '../../db'
import type { InboxEntry } from './client'

/** What Postgres, the sandbox and Temporal say about one request. */
export interface Evidence {
  requestId: string
  state: State
  started: boolean
  createdAt: Date
  expiresAt: Date
  succeededAt: Date | null
  endedAt: Date | null
  auditSeq: number
  attempts: { step: number; state: 'open' | 'accepted' | 'refused' | 'in_doubt' }[]
  events: { sequence: number; type: AuditType }[]
  messages: (Pick<InboxEntry, 'channel' | 'code'> & { at: Date })[]
  /** Whether each of its runs has ended. */
  runs: { closed: boolean }[]
}

export interface Circumstances {
  /** When something was killed, in epoch milliseconds. */
  faults: readonly number[]
  /** Requests that a caller was told of as sent or queued. */
  accepted: ReadonlySet<string>
}

const endings: ReadonlySet<AuditType> = new Set([
  'verified',
  'expired',
  'exhausted',
  'locked',
  'cancelled',
  'failed',
])
const claims: ReadonlySet<AuditType> = new Set(['attempt_claimed', 'attempt_reclaimed'])
const graceMs = 60_000

/** What is wrong with a request after everything has come to rest; one sentence each. */
export function violationsOf(request: Evidence, { faults, accepted }: Circumstances): string[] {
  const { state, events, attempts, messages, runs } = request
  const found: string[] = []
  const must = (holds: boolean, sentence: string) => {
    if (!holds) found.push(`${request.requestId}: ${sentence}`)
  }
  const ends = events.filter(({ type }) => endings.has(type))
  const end = ends[0]
  must(state !== 'pending', 'it has not ended')
  must(ends.length === (state === 'pending' ? 0 : 1), `it has ${ends.length} endings in its audit`)
  must(!end || end.type === state, `its audit says ${end?.type}, its row ${state}`)
  must(
    !request.endedAt || request.endedAt.getTime() <= request.expiresAt.getTime() + graceMs,
    'it outlived its expiry',
  )
  must(
    events.length === request.auditSeq &&
      events.every(({ sequence }, index) => sequence === index + 1),
    'its audit has gaps',
  )
  must(
    !end || events.every(({ type, sequence }) => !claims.has(type) || sequence < end.sequence),
    'something was claimed after the end',
  )
  const claimed = events.filter(({ type }) => type === 'attempt_claimed').length
  must(claimed === attempts.length, `${attempts.length} attempts, ${claimed} of them in the audit`)
  must(!attempts.some((attempt) => attempt.state === 'open'), 'a call was left open')
  must(new Set(messages.map(({ code }) => code)).size <= 1, 'its messages hold different codes')
  const taken = attempts.filter(({ state: its }) => its === 'accepted' || its === 'in_doubt')
  must(messages.length <= taken.length, `${messages.length} messages, ${taken.length} claims`)
  const excess = messages.length - plannedOf(request)
  must(
    excess <= faultsThatHit(request, faults),
    `${excess} messages too many for ${faultsThatHit(request, faults)} faults`,
  )
  must(
    request.started || messages.length === 0,
    'it was never started by its row, and a message went out',
  )
  must(!accepted.has(request.requestId) || request.started, 'it was accepted and never started')
  // A start that failed in time may have left a run behind, which found the request closed.
  must(
    request.started ? runs.length === 1 : runs.length <= 1,
    `started: ${request.started}, but it has ${runs.length} runs`,
  )
  must(
    runs.every(({ closed }) => closed),
    'its run has not ended',
  )
  return found
}

/** One message per step that had its turn, and one per resend that somebody asked for. */
function plannedOf({ attempts, events }: Evidence): number {
  const steps = new Set(attempts.map(({ step }) => step)).size
  return steps + events.filter(({ type }) => type === 'resend_requested').length
}

/** Faults while it still had something to send: after its success nothing is due any more. */
function faultsThatHit({ createdAt, succeededAt, endedAt }: Evidence, faults: readonly number[]) {
  const end = succeededAt ?? endedAt ?? new Date()
  return faults.filter((at) => at >= createdAt.getTime() && at <= end.getTime()).length
}

/** Collects what Postgres says about every request; messages and runs are added by request id. */
export async function gatherEvidence(
  db: Queries,
  {
    messages,
    runs,
  }: { messages: InboxEntry[]; runs: readonly { requestId: string; closed: boolean }[] },
): Promise<Evidence[]> {
  const rows = await db.many<Omit<Evidence, 'messages' | 'runs'>>(sql`
    select id as "requestId", state, workflow_started_at is not null as started, created_at as "createdAt",
      expires_at as "expiresAt", succeeded_at as "succeededAt", ended_at as "endedAt", audit_seq as "auditSeq",
      (select coalesce(jsonb_agg(jsonb_build_object('step', step, 'state', a.state) order by number), '[]')
        from attempts a where a.request_id = r.id) as attempts,
      (select coalesce(jsonb_agg(jsonb_build_object('sequence', sequence, 'type', type) order by sequence), '[]')
        from audit_events e where e.request_id = r.id) as events
    from otp_requests r order by created_at`)
  return rows.map((row) => ({
    ...row,
    messages: messages
      .filter(({ request_id }) => request_id === row.requestId)
      .map(({ channel, code, at }) => ({ channel, code, at: new Date(at) })),
    runs: runs.filter(({ requestId }) => requestId === row.requestId),
  }))
}

/** Messages that no request of ours accounts for. */
export const strayMessages = (evidence: Evidence[], messages: InboxEntry[]): InboxEntry[] => {
  const known = new Set(evidence.map(({ requestId }) => requestId))
  return messages.filter(({ request_id }) => request_id === undefined || !known.has(request_id))
}
