import { sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { sealedIn, unseal } from '../../codes/seal'
import type { AuditType } from '../../core/audit'
import type { Channel } from '../../core/channel'
import type { Fault } from '../../core/fault'
import { shownEvents } from '../../core/limits'
import type { ShownReason } from '../../core/page-request'
import { type Plan, ruleFor } from '../../core/plan'
import type { ReceiptStatus, SuccessRule } from '../../core/receipt'
import type { Reason, State } from '../../core/state'
import { type StepStatus, stepStatus } from '../../core/step-status'
import { type DecisionView, lastDecision } from '../abuse/decision-log'
import { instructionOf } from '../attempts/ussd'
import { channelInProgress } from './channel-in-progress'
import { closeOverdue } from './ending'
import type { Queries } from '../index'
import { type Owner, ownedBy } from './owner'
import { endingFound, type PageColumns, pageColumns, requestOrPage, verifiedPage } from './pages'

/** What every view of a request shows. */
export interface RequestSummary {
  /** Of the request itself; a page's is `pageId`. */
  requestId: string
  state: State
  reason: ShownReason | null
  /** The channel in progress, or the last one. */
  channel: Channel
  /** To a test number. */
  isTest: boolean
  purpose: string
  createdAt: Date
  expiresAt: Date
  endedAt: Date | null
  deliveredAt: Date | null
  /** The page that the right code came through; null where a back end checked it. */
  verifiedPageId: string | null
}

export interface AttemptView {
  attemptId: string
  step: number
  channel: Channel
  provider: string
  state: 'open' | 'accepted' | 'refused' | 'in_doubt'
  /** The best receipt so far. */
  status: ReceiptStatus | null
  fault: Fault | null
  /** The provider made the code of this message itself. */
  delegated: boolean
  wasted: boolean
  claimedAt: Date
  finishedAt: Date | null
  deliveredAt: Date | null
  /** By the provider's word, or else estimated by the policy's prices; null where neither says. */
  cost: { amount: string; currency: string; estimated: boolean } | null
  /** What there is to dial. */
  instruction: string | null
}

export interface EventView {
  sequence: number
  type: AuditType
  at: Date
  actor: string
  detail: Record<string, string | number | boolean | null>
}

export interface StepView {
  channel: Channel
  status: StepStatus
  success: SuccessRule
  timeoutMs: number
  /** What there is to dial for it, before its turn too. */
  instruction: string | null
  attempts: AttemptView[]
}

export interface RequestStatus extends RequestSummary {
  /** The page whose own request is shown; null: the request itself is. */
  pageId: string | null
  /** The audit sequence: grows with everything that happens. */
  version: number
  runId: string | null
  checks: number
  maxChecks: number
  sends: number
  /** Every channel's turn is over, and none succeeded. */
  allChannelsFailed: boolean
  /** What there is to dial for the code. */
  instruction: string | null
  metadata: Record<string, string> | undefined
  /** What the fraud rules said about its newest send. */
  decision: DecisionView | undefined
  steps: StepView[]
  /** The newest ones. */
  events: EventView[]
}

interface StatusRow extends Omit<RequestSummary, 'reason'>, PageColumns {
  reason: Reason | null
  overdue: boolean
  version: number
  runId: string | null
  checks: number
  maxChecks: number
  sends: number
  plan: Plan
  currentStep: number
  leaveStep: number
  planEnded: boolean
  /** Some step succeeded, and not before the plan came to its end without another one. */
  succeeded: boolean
  instruction: string | null
  metadataCiphertext: Buffer | null
  sealKid: string | null
}

const summaryColumns = sql`r.id as "requestId", r.state, r.reason, ${channelInProgress} as channel, r.test_number as "isTest", r.purpose,
  r.created_at as "createdAt", r.expires_at as "expiresAt", r.ended_at as "endedAt", r.delivered_at as "deliveredAt",
  ${verifiedPage} as "verifiedPageId"`

/** Of a request that changes all the time, what the last look saw is told. */
const mostLooks = 4

/** Everything there is to tell about a request, found by its own id or a page's; closes it first when its time is over. */
export async function readStatus(
  db: Queries,
  keyring: Keyring,
  { requestId: id, ...owner }: Owner & { requestId: string },
  looks = mostLooks,
): Promise<RequestStatus | undefined> {
  const row = await readRow(db, { ...owner, requestId: id })
  if (!row) return undefined
  const { requestId } = row
  const again = () => readStatus(db, keyring, { ...owner, requestId: id }, looks - 1)
  if (row.overdue) {
    await closeOverdue(db, requestId, 'api')
    return again()
  }
  const [attempts, decision, events] = await Promise.all([
    readAttempts(db, requestId),
    lastDecision(db, { ...owner, requestId }),
    readEvents(db, requestId, row.version),
  ])
  // Something happened between the two looks: told apart, a step would have succeeded before its request had.
  if (looks > 1 && attempts.some(({ version }) => version !== row.version)) return again()
  const skipped = new Set(
    events.filter(({ type }) => type === 'step_skipped').map(({ detail }) => detail.step),
  )
  const shown = events.filter(({ sequence }) => sequence > row.version - shownEvents)
  const { plan, overdue: _, metadataCiphertext, sealKid, succeeded, pageChecks, ...rest } = row
  const { state, reason, endedAt } = endingFound(row)
  return {
    ...rest,
    ...{ state, reason, endedAt },
    checks: pageChecks ?? row.checks,
    decision,
    allChannelsFailed: row.planEnded && !succeeded,
    metadata:
      metadataCiphertext && sealKid
        ? (JSON.parse(
            unseal(
              keyring,
              { ciphertext: metadataCiphertext, kid: sealKid },
              sealedIn.metadata(requestId),
            ),
          ) as Record<string, string>)
        : undefined,
    steps: plan.map((step, index) => {
      const { channel, success, timeoutMs } = step
      const own = attempts.filter((attempt) => attempt.step === index)
      const judged = own.map((attempt) => ({
        ...attempt,
        success: ruleFor(step, attempt.provider),
      }))
      const facts = { ...row, index, success, skipped: skipped.has(index), attempts: judged }
      const instruction =
        own.findLast((attempt) => attempt.instruction !== null)?.instruction ??
        (channel === 'ussd' ? row.instruction : null)
      const status = stepStatus(facts)
      return { channel, success, timeoutMs, status, instruction, attempts: own }
    }),
    events: shown,
  }
}

/** The newest, and those that tell of a step that was passed over. A request is a chain of its own, without gaps. */
const readEvents = (db: Queries, requestId: string, version: number) =>
  db.many<EventView>(sql`
    select sequence, type, at, actor, detail from audit_events
    where chain = ${requestId} and sequence <= ${version}
      and (sequence > ${version - shownEvents} or type = 'step_skipped')
    order by sequence`)

const readRow = (db: Queries, { requestId, ...owner }: Owner & { requestId: string }) =>
  db.one<StatusRow>(sql`
    select ${summaryColumns}, r.state = 'pending' and r.expires_at <= now() as overdue,
      r.audit_seq as version, r.run_id as "runId", r.checks, r.max_checks as "maxChecks", r.sends, r.plan,
      r.current_step as "currentStep", r.leave_step as "leaveStep",
      r.plan_ended_at is not null or (r.state = 'failed' and r.reason in ('no_channel_accepted', 'budget_exceeded')) as "planEnded",
      r.succeeded_at > r.plan_ended_at is true as succeeded, ${instructionOf} as instruction,
      r.metadata_ciphertext as "metadataCiphertext", r.seal_kid as "sealKid", ${pageColumns}
    from ${requestOrPage(sql`${requestId}`)} where ${ownedBy(owner)}`)

const readAttempts = (db: Queries, requestId: string) =>
  db.many<AttemptView & { version: number }>(sql`
    select (select audit_seq from otp_requests where id = ${requestId}) as version, id as "attemptId", step, channel, provider, state, status, fault, delegated, wasted,
      claimed_at as "claimedAt", finished_at as "finishedAt",
      case when status in ('delivered', 'answered') then status_at end as "deliveredAt",
      case when cost_amount is not null
          then jsonb_build_object('amount', cost_amount::text, 'currency', cost_currency, 'estimated', false)
        when estimate_amount is not null and state <> 'refused'
          then jsonb_build_object('amount', estimate_amount::text, 'currency', estimate_currency, 'estimated', true) end as cost,
      instruction
    from attempts where request_id = ${requestId} order by number`)

/** The cheapest look at a request, for callers that wait. */
export const versionOf = (db: Queries, requestId: string) =>
  db.one<{ version: number; final: boolean }>(sql`
    select audit_seq as version, state <> 'pending' or expires_at <= now() as final
    from otp_requests where id = ${requestId}`)

/** The first answer that a provider gave, if one did. */
export const firstAnswer = (db: Queries, requestId: string) =>
  db.one<{ state: 'accepted' | 'refused' | 'in_doubt'; provider: string; fault: Fault | null }>(sql`
    select state, provider, fault from attempts
    where request_id = ${requestId} and state <> 'open' order by number limit 1`)
