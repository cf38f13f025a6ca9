import { type SQL, sql } from 'drizzle-orm'
import { macOfCode, macsMatch } from '../codes/code'
import type { Keyring } from '../codes/keyring'
import type { RecipientKind } from '../core/channel'
import type { Rejection } from '../core/error-code'
import { answerAfterEndSeconds } from '../core/limits'
import type { State } from '../core/state'
import type { Wake } from '../core/wake'
import { auditFrom } from './audit'
import { closeOverdue, dueNow, endColumns } from './ending'
import type { Queries } from './index'
import { type Owner, ownedBy } from './owner'
import { findRecipient } from './recipients'

export interface CheckInput extends Owner {
  /** A purpose given beside a request id must be the request's own. */
  by:
    | { requestId: string; purpose?: string | undefined }
    | { kind: RecipientKind; value: string; purpose: string }
  /** As typed, blanks removed. */
  code: string
  actor: string
}

export type CheckOutcome =
  | { outcome: 'verified'; requestId: string; wake?: Wake | undefined }
  | {
      outcome: 'rejected'
      errorCode: Rejection
      requestId?: string | undefined
      attemptsRemaining: number
      wake?: Wake | undefined
    }
  | { outcome: 'locked'; requestId: string }

interface CodeRow {
  id: string
  state: State
  codeMac: Buffer | null
  codeKid: string
  codeGeneration: number
}

/**
 * Checks a code: one read, then one statement that decides, counts and audits. Touches Postgres only.
 * @throws {UnknownKey} when the code's key is not known here: never "wrong code".
 */
export async function checkCode(
  db: Queries,
  keyring: Keyring,
  input: CheckInput,
): Promise<CheckOutcome> {
  const row = await findCode(db, keyring, input)
  if (!row) return { outcome: 'rejected', errorCode: 'NO_ACTIVE_REQUEST', attemptsRemaining: 0 }
  if (row.state === 'pending') {
    const decided = await decide(db, keyring, row, input)
    if (decided) return decided
    // Somebody else's check ended it, or its time was over.
    await closeOverdue(db, sql`id = ${row.id}`, 'api')
  }
  return refuse(db, row.id, input.actor)
}

async function findCode(db: Queries, keyring: Keyring, { by, ...owner }: CheckInput) {
  const columns = sql`id, state, code_mac as "codeMac", code_kid as "codeKid", code_generation as "codeGeneration"`
  if ('requestId' in by) {
    const same = by.purpose === undefined ? sql`` : sql`and purpose = ${by.purpose}`
    return db.one<CodeRow>(
      sql`select ${columns} from otp_requests where id = ${by.requestId} and ${ownedBy(owner)} ${same}`,
    )
  }
  const recipient = await findRecipient(db, keyring, { ...owner, kind: by.kind, value: by.value })
  if (!recipient) return undefined
  return db.one<CodeRow>(sql`select ${columns} from otp_requests
    where ${ownedBy(owner)} and recipient_id = ${recipient.id} and purpose = ${by.purpose}
      and (state = 'pending' or ended_at > now() - make_interval(secs => ${answerAfterEndSeconds}))
    order by (state = 'pending') desc, created_at desc limit 1`)
}

interface Decided {
  state: State
  remaining: number
  dueAt: Date | null
}

/** The deciding statement: parallel checks cannot share one of the five. */
async function decide(
  db: Queries,
  keyring: Keyring,
  row: CodeRow,
  { code, actor, ...owner }: CheckInput,
): Promise<CheckOutcome | undefined> {
  const typed = macOfCode(
    keyring,
    { requestId: row.id, generation: row.codeGeneration, kid: row.codeKid },
    code,
  )
  const right = macsMatch(typed, row.codeMac)
  const decided = await db.one<Decided>(sql`
    with decided as (
      update otp_requests set checks = checks + 1, ${right ? verifiedColumns : countedColumns}
      where id = ${row.id} and ${ownedBy(owner)} and state = 'pending' and checks < max_checks
        and expires_at > now() and code_generation = ${row.codeGeneration}
      returning id, app_id, audit_seq, state, max_checks - checks as remaining, signal_due_at
    ), logged as (${auditFrom(sql`decided`, {
      type: sql`(case state when 'pending' then 'check_rejected' else state::text end)::audit_type`,
      actor,
      detail: sql`case state when 'verified' then '{}'::jsonb
        else jsonb_build_object('error_code', 'INVALID_CODE', 'attempts_remaining', remaining) end`,
    })})
    select state, remaining, signal_due_at as "dueAt" from decided`)
  if (!decided) return undefined
  const { state, remaining, dueAt } = decided
  const wake: Wake | undefined =
    dueAt && (state === 'verified' || state === 'locked')
      ? { requestId: row.id, dueAt, signal: state }
      : undefined
  if (state === 'verified') return { outcome: 'verified', requestId: row.id, wake }
  return {
    outcome: 'rejected',
    errorCode: 'INVALID_CODE',
    requestId: row.id,
    attemptsRemaining: remaining,
    wake,
  }
}

const verifiedColumns = sql`state = 'verified', reason = 'code_matched', ${endColumns}`

const ifLast = (then: SQL, otherwise: SQL) =>
  sql`case when checks + 1 >= max_checks then ${then} else ${otherwise} end`

/** A wrong code counts; the last one locks. */
const countedColumns = sql`
  state = ${ifLast(sql`'locked'::request_state`, sql`state`)},
  reason = ${ifLast(sql`'too_many_checks'::request_reason`, sql`reason`)},
  ended_at = ${ifLast(sql`clock_timestamp()`, sql`ended_at`)},
  code_salt = ${ifLast(sql`null`, sql`code_salt`)},
  code_mac = ${ifLast(sql`null`, sql`code_mac`)},
  signal_due_at = ${ifLast(dueNow, sql`signal_due_at`)},
  audit_seq = audit_seq + 1`

const refusalOf: Record<Exclude<State, 'locked'>, Rejection> = {
  // The deciding statement refused it although its time is not over: a code of another generation.
  pending: 'NO_ACTIVE_REQUEST',
  verified: 'ALREADY_USED',
  expired: 'EXPIRED',
  exhausted: 'EXPIRED',
  cancelled: 'NO_ACTIVE_REQUEST',
  failed: 'NO_ACTIVE_REQUEST',
}

/** Answers a check of a request that is over, and writes it down. */
async function refuse(db: Queries, requestId: string, actor: string): Promise<CheckOutcome> {
  const row = await db.one<{ state: State }>(sql`
    with noted as (
      update otp_requests set audit_seq = audit_seq + 1 where id = ${requestId}
      returning id, app_id, audit_seq, state
    ), logged as (${auditFrom(sql`noted`, {
      type: 'check_rejected',
      actor,
      detail: sql`jsonb_build_object('state', state)`,
    })})
    select state from noted`)
  const state = row?.state ?? 'failed'
  if (state === 'locked') return { outcome: 'locked', requestId }
  return { outcome: 'rejected', errorCode: refusalOf[state], requestId, attemptsRemaining: 0 }
}
