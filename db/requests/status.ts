import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { sealedIn, unseal } from '../../codes/seal'
import { auditTypes } from '../../core/audit/types'
import { type Channel, channels } from '../../core/channel'
import { faults } from '../../core/delivery/fault'
import { shownEvents } from '../../core/limits'
import type { ShownReason } from '../../core/requests/page-request'
import { type Plan, ruleFor } from '../../core/requests/plan'
import { receiptStatuses, type SuccessRule } from '../../core/delivery/receipt'
import { isPlan } from '../../core/shape'
import { reasons, type State, states } from '../../core/requests/state'
import { type StepStatus, stepStatus } from '../../core/requests/step-status'
import { type DecisionView, lastDecision } from '../protection/decision-log'
import { instructionOf } from '../ussd/windows'
import { channelInProgress } from './channel-in-progress'
import { closeOverdue } from './ending'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'
import { type Owner, ownedBy } from './owner'
import { endingFound, pageColumns, requestOrPage, verifiedPage } from './pages'

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

const AttemptRow = z.strictObject({
  /** Of the request, as of the same look. */
  version: z.int(),
  attemptId: z.string(),
  step: z.int(),
  channel: z.enum(channels),
  provider: z.string(),
  state: z.enum(['open', 'accepted', 'refused', 'in_doubt']),
  /** The best receipt so far. */
  status: z.enum(receiptStatuses).nullable(),
  fault: z.enum(faults).nullable(),
  /** The provider made the code of this message itself. */
  delegated: z.boolean(),
  wasted: z.boolean(),
  claimedAt: z.date(),
  finishedAt: z.date().nullable(),
  deliveredAt: z.date().nullable(),
  /** By the provider's word, or else estimated by the policy's prices; null where neither says. */
  cost: z
    .strictObject({ amount: z.string(), currency: z.string(), estimated: z.boolean() })
    .nullable(),
  /** What there is to dial. */
  instruction: z.string().nullable(),
})

export type AttemptView = Omit<z.infer<typeof AttemptRow>, 'version'>

const EventRow = z.strictObject({
  sequence: z.int(),
  type: z.enum(auditTypes),
  at: z.date(),
  actor: z.string(),
  detail: z.custom<Record<string, string | number | boolean | null>>(),
})

export type EventView = z.infer<typeof EventRow>

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

const StatusRow = z.strictObject({
  requestId: z.string(),
  state: z.enum(states),
  reason: z.enum(reasons).nullable(),
  channel: z.enum(channels),
  isTest: z.boolean(),
  purpose: z.string(),
  createdAt: z.date(),
  expiresAt: z.date(),
  endedAt: z.date().nullable(),
  deliveredAt: z.date().nullable(),
  verifiedPageId: z.string().nullable(),
  overdue: z.boolean(),
  version: z.int(),
  runId: z.string().nullable(),
  checks: z.int(),
  maxChecks: z.int(),
  sends: z.int(),
  plan: z.custom<Plan>(isPlan),
  currentStep: z.int(),
  leaveStep: z.int(),
  planEnded: z.boolean(),
  /** Some step succeeded, and not before the plan came to its end without another one. */
  succeeded: z.boolean(),
  instruction: z.string().nullable(),
  metadataCiphertext: z.instanceof(Buffer).nullable(),
  sealKid: z.string().nullable(),
  pageId: z.string().nullable(),
  pageChecks: z.int().nullable(),
  pageVerifiedAt: z.date().nullable(),
  pageEndedAt: z.date().nullable(),
})

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
  const { appId, environment } = owner
  const row = await db.one(statusStatement({ id, appId, environment }))
  if (!row) return undefined
  const { requestId } = row
  const again = () => readStatus(db, keyring, { ...owner, requestId: id }, looks - 1)
  if (row.overdue) {
    await closeOverdue(db, requestId, 'api')
    return again()
  }
  const [attempts, decision, events] = await Promise.all([
    db.many(attemptsStatement({ requestId })),
    lastDecision(db, { ...owner, requestId }),
    db.many(eventsStatement({ requestId, version: row.version })),
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
const eventsStatement = statement(
  'read_events',
  EventRow,
  (p: Named<{ requestId: string; version: number }>) => sql`
  select sequence, type, at, actor, detail from audit_events
  where chain = ${p.requestId} and sequence <= ${p.version}::int
    and (sequence > ${p.version}::int - ${shownEvents} or type = 'step_skipped')
  order by sequence`,
)

const statusStatement = statement(
  'read_status',
  StatusRow,
  (p: Named<Owner & { id: string }>) => sql`
  select ${summaryColumns}, r.state = 'pending' and r.expires_at <= now() as overdue,
    r.audit_seq as version, r.run_id as "runId", r.checks, r.max_checks as "maxChecks", r.sends, r.plan,
    r.current_step as "currentStep", r.leave_step as "leaveStep",
    r.plan_ended_at is not null or (r.state = 'failed' and r.reason in ('no_channel_accepted', 'budget_exceeded')) as "planEnded",
    r.succeeded_at > r.plan_ended_at is true as succeeded, ${instructionOf} as instruction,
    r.metadata_ciphertext as "metadataCiphertext", r.seal_kid as "sealKid", ${pageColumns}
  from ${requestOrPage(p.id)} where ${ownedBy(p)}`,
)

const attemptsStatement = statement(
  'read_attempts',
  AttemptRow,
  (p: Named<{ requestId: string }>) => sql`
  select (select audit_seq from otp_requests where id = ${p.requestId}) as version, id as "attemptId", step, channel,
    provider, state, status, fault, delegated, wasted, claimed_at as "claimedAt", finished_at as "finishedAt",
    case when status in ('delivered', 'answered') then status_at end as "deliveredAt",
    case when cost_amount is not null
        then jsonb_build_object('amount', cost_amount::text, 'currency', cost_currency, 'estimated', false)
      when estimate_amount is not null and state <> 'refused'
        then jsonb_build_object('amount', estimate_amount::text, 'currency', estimate_currency, 'estimated', true) end as cost,
    instruction
  from attempts where request_id = ${p.requestId} order by number`,
)

const versionStatement = statement(
  'read_version',
  z.strictObject({ version: z.int(), final: z.boolean() }),
  (p: Named<{ requestId: string }>) => sql`
  select audit_seq as version, state <> 'pending' or expires_at <= now() as final
  from otp_requests where id = ${p.requestId}`,
)

/** The cheapest look at a request, for callers that wait. */
export const versionOf = (db: Queries, requestId: string) => db.one(versionStatement({ requestId }))

const answerStatement = statement(
  'read_first_answer',
  z.strictObject({
    state: z.enum(['accepted', 'refused', 'in_doubt']),
    provider: z.string(),
    fault: z.enum(faults).nullable(),
  }),
  (p: Named<{ requestId: string }>) => sql`
  select state, provider, fault from attempts
  where request_id = ${p.requestId} and state <> 'open' order by number limit 1`,
)

/** The first answer that a provider gave, if one did. */
export const firstAnswer = (db: Queries, requestId: string) =>
  db.one(answerStatement({ requestId }))
