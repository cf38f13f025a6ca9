import { sql } from 'drizzle-orm'
import {
  bigserial,
  boolean,
  check,
  index,
  inet,
  integer,
  jsonb,
  numeric,
  pgTable,
  primaryKey,
  smallint,
  text,
  unique,
  uniqueIndex,
} from 'drizzle-orm/pg-core'
import { reasonsOf, states } from '../../core/requests/state'
import type { MessageGuard } from '../../core/protection/message-guard'
import type { RequestMoney } from '../../core/spending/money'
import type { Plan, Step } from '../../core/requests/plan'
import { apps } from './apps'
import { recipients } from './recipients'
import {
  bytea,
  at,
  channelType,
  stateType,
  reasonType,
  faultType,
  receiptStatusType,
  successRuleType,
  environmentType,
  alphabetType,
  attemptStateType,
} from './types'

const statePairs = states
  .map((state) =>
    state === 'pending'
      ? `(state = 'pending' and reason is null)`
      : `(state = '${state}' and reason is not null and reason::text in (${reasonsOf[state].map((r) => `'${r}'`).join(', ')}))`,
  )
  .join(' or ')

export const otpRequests = pgTable(
  'otp_requests',
  {
    /** `otp_…`, also the workflow id. */
    id: text().primaryKey(),
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    recipientId: text('recipient_id')
      .notNull()
      .references(() => recipients.id),
    purpose: text().notNull(),
    environment: environmentType().notNull(),
    state: stateType().notNull().default('pending'),
    reason: reasonType(),
    risk: text().notNull().default('normal'),
    country: text(),
    locale: text().notNull(),
    brand: text().notNull(),
    /** The caller's template and metadata, encrypted; null when absent. */
    messageCiphertext: bytea('message_ciphertext'),
    metadataCiphertext: bytea('metadata_ciphertext'),
    sealKid: text('seal_kid'),
    /** The app's wording as of the send: the templates of this revision, and what lets phones fill the code in. */
    templateRevision: integer('template_revision').notNull().default(0),
    autofillDomain: text('autofill_domain'),
    androidAppHash: text('android_app_hash'),
    plan: jsonb().$type<Plan>().notNull(),
    /** What its messages cost, and the app's budget; null where the policy had no prices. */
    money: jsonb().$type<RequestMoney>(),
    /** What its messages are held against when they are claimed; wiped at the end. */
    guard: jsonb().$type<MessageGuard>(),
    /** Wiped at the end, with the MAC: the code is then gone for good. */
    codeSalt: bytea('code_salt'),
    codeMac: bytea('code_mac'),
    codeKid: text('code_kid').notNull(),
    codeGeneration: integer('code_generation').notNull().default(1),
    codeLength: smallint('code_length').notNull(),
    codeAlphabet: alphabetType('code_alphabet').notNull().default('digits'),
    checks: smallint().notNull().default(0),
    maxChecks: smallint('max_checks').notNull(),
    /** Checks of our code that a silent provider left undecided: compared all the same, so they count for it. */
    unanswered: smallint().notNull().default(0),
    /** Checks that came when there was nothing to check any more, as far as the audit has a row of each. */
    lateChecks: smallint('late_checks').notNull().default(0),
    auditSeq: integer('audit_seq').notNull().default(0),
    attemptSeq: integer('attempt_seq').notNull().default(0),
    /** Sends a caller asked for: the first and every resend. */
    sends: smallint().notNull().default(1),
    currentStep: smallint('current_step').notNull().default(0),
    leaveStep: smallint('leave_step').notNull().default(-1),
    resendSeq: smallint('resend_seq').notNull().default(0),
    resendStep: jsonb('resend_step').$type<Step>(),
    createdAt: at('created_at').notNull().defaultNow(),
    expiresAt: at('expires_at').notNull(),
    queued: boolean().notNull().default(false),
    workflowStartedAt: at('workflow_started_at'),
    runId: text('run_id'),
    /** Set by a statement that commits something the workflow must learn, cleared once it was signalled. */
    signalDueAt: at('signal_due_at'),
    /** From when on a run that has shown nothing is asked whether it is there; null while nothing is due from it. */
    progressDueAt: at('progress_due_at'),
    /** How often a run that was gone was started again, and when last. */
    restarts: smallint().notNull().default(0),
    restartedAt: at('restarted_at'),
    sweptAt: at('swept_at'),
    /** Set at the end: from when on its providers are to be told the outcome; null once they were. */
    outcomeDueAt: at('outcome_due_at'),
    deliveredAt: at('delivered_at'),
    succeededAt: at('succeeded_at'),
    planEndedAt: at('plan_ended_at'),
    endedAt: at('ended_at'),
    /** Its recipient was erased: what a provider says later about its messages is not kept. */
    erased: boolean().notNull().default(false),
    /** To a number with a fixed code: no message of it leaves, and it counts for nothing. */
    testNumber: boolean('test_number').notNull().default(false),
  },
  (table) => [
    uniqueIndex('otp_requests_live')
      .on(table.appId, table.recipientId, table.environment, table.purpose)
      .where(sql`state = 'pending'`),
    index('otp_requests_recipient').on(table.recipientId, table.purpose, table.createdAt),
    index('otp_requests_newest').on(table.appId, table.environment, table.createdAt, table.id),
    index('otp_requests_state')
      .on(table.appId, table.environment, table.state, table.createdAt, table.id)
      .where(sql`state <> 'pending'`),
    index('otp_requests_purpose')
      .on(table.appId, table.environment, table.purpose, table.createdAt, table.id)
      .where(sql`purpose <> 'default' and purpose <> 'publishable'`),
    index('otp_requests_open')
      .on(table.expiresAt)
      .where(sql`state = 'pending'`),
    index('otp_requests_unstarted')
      .on(table.createdAt)
      .where(sql`state = 'pending' and workflow_started_at is null`),
    index('otp_requests_unclaimed')
      .on(table.workflowStartedAt)
      .where(sql`state = 'pending' and attempt_seq = 0`),
    index('otp_requests_signal_due')
      .on(table.signalDueAt)
      .where(sql`signal_due_at is not null`),
    index('otp_requests_progress_due')
      .on(table.progressDueAt)
      .where(sql`progress_due_at is not null`),
    index('otp_requests_outcome_due')
      .on(table.outcomeDueAt)
      .where(sql`outcome_due_at is not null`),
    index('otp_requests_age').on(table.createdAt),
    index('otp_requests_texts')
      .on(table.endedAt)
      .where(sql`message_ciphertext is not null or metadata_ciphertext is not null`),
    // For re-encryption, which goes from key to key.
    index('otp_requests_seal_kid')
      .on(table.sealKid, table.id)
      .where(sql`seal_kid is not null`),
    check('otp_requests_state_reason', sql.raw(statePairs)),
    check('otp_requests_checks', sql`checks between 0 and max_checks`),
  ],
)

/** Personal data about a request that erasure removes: never referenced by audit rows. */
export const requestContexts = pgTable(
  'request_contexts',
  {
    requestId: text('request_id')
      .primaryKey()
      .references(() => otpRequests.id),
    ip: inet(),
    consent: jsonb().$type<Record<string, unknown>>(),
    createdAt: at('created_at').notNull().defaultNow(),
  },
  (table) => [index('request_contexts_age').on(table.createdAt)],
)

/** Idempotency keys of sends, kept 24 h: keyed digests of key and raw body, no body. */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    appId: text('app_id').notNull(),
    keyMac: bytea('key_mac').notNull(),
    bodyMac: bytea('body_mac').notNull(),
    requestId: text('request_id').notNull(),
    outcome: text().notNull(),
    createdAt: at('created_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.appId, table.keyMac] }),
    index('idempotency_keys_request').on(table.requestId),
    index('idempotency_keys_age').on(table.createdAt),
  ],
)

/** One claimed provider call. */
export const attempts = pgTable(
  'attempts',
  {
    id: text().primaryKey(),
    requestId: text('request_id')
      .notNull()
      .references(() => otpRequests.id),
    /** Counts up within the request; all that Temporal knows of an attempt. */
    number: smallint().notNull(),
    step: smallint().notNull(),
    /**
     * The workflow counts its sends; one send is tried again after a transient fault. (request, send, try) makes a
     * claim its own; `number` counts all of them and is how the run and its receipts name the attempt.
     */
    sendNo: smallint('send_no').notNull(),
    tryNo: smallint('try_no').notNull(),
    /** The resend that it serves; 0: the plan's own send of the step. */
    resendSeq: smallint('resend_seq').notNull().default(0),
    channel: channelType().notNull(),
    provider: text().notNull(),
    success: successRuleType().notNull(),
    state: attemptStateType().notNull().default('open'),
    fault: faultType(),
    /** The provider's code for its refusal, or for the failure that it reported. */
    providerCode: text('provider_code'),
    status: receiptStatusType(),
    statusRank: smallint('status_rank').notNull().default(-1),
    callbackDigest: bytea('callback_digest').notNull(),
    providerMessageId: text('provider_message_id'),
    /** What the provider says that it cost. */
    costAmount: numeric('cost_amount'),
    costCurrency: text('cost_currency'),
    /** By the policy's prices, at the claim. */
    estimateAmount: numeric('estimate_amount'),
    estimateCurrency: text('estimate_currency'),
    /** What of it `spending` holds, and in which hour. */
    countedAmount: numeric('counted_amount'),
    countedAt: at('counted_at'),
    /** Its entry in the window of messages to the number; null where it was given back, or not counted. */
    messageAt: at('message_at'),
    /** Claimed before, answered after the request had ended: paid for, of no use. */
    wasted: boolean().notNull().default(false),
    runId: text('run_id').notNull(),
    claimedAt: at('claimed_at').notNull().defaultNow(),
    finishedAt: at('finished_at'),
    statusAt: at('status_at'),
    /** When a callback with a wrong signature was last written down. */
    callbackRefusedAt: at('callback_refused_at'),
    /** What the user has to dial for the code, where there is something to dial. */
    instruction: text(),
    /** The provider made the code itself. */
    delegated: boolean().notNull().default(false),
    /** When the provider is to be asked for its report next; null: it is not asked (any more). */
    pollDueAt: at('poll_due_at'),
  },
  (table) => [
    unique().on(table.requestId, table.number),
    unique().on(table.requestId, table.sendNo, table.tryNo),
    uniqueIndex('attempts_callback').on(table.callbackDigest),
    index('attempts_message').on(table.provider, table.providerMessageId),
    index('attempts_poll_due')
      .on(table.pollDueAt)
      .where(sql`poll_due_at is not null`),
    index('attempts_claimed').on(table.claimedAt),
    index('attempts_answers')
      .on(table.provider, table.finishedAt)
      .where(sql`state in ('accepted', 'refused')`),
  ],
)

/** Every distinct provider report, also late ones. */
export const receipts = pgTable(
  'receipts',
  {
    id: bigserial({ mode: 'bigint' }).primaryKey(),
    attemptId: text('attempt_id')
      .notNull()
      .references(() => attempts.id),
    provider: text().notNull(),
    eventKey: text('event_key').notNull(),
    status: receiptStatusType().notNull(),
    rawStatus: text('raw_status').notNull(),
    late: boolean().notNull(),
    providerAt: at('provider_at'),
    receivedAt: at('received_at').notNull().defaultNow(),
  },
  (table) => [
    unique().on(table.provider, table.eventKey),
    index('receipts_attempt').on(table.attemptId),
  ],
)

/** Genuine reports about a message that no attempt is known to have sent yet; kept 24 h. */
export const unmatchedReceipts = pgTable(
  'unmatched_receipts',
  {
    provider: text().notNull(),
    eventKey: text('event_key').notNull(),
    providerMessageId: text('provider_message_id').notNull(),
    status: receiptStatusType().notNull(),
    rawStatus: text('raw_status').notNull(),
    providerCode: text('provider_code'),
    providerAt: at('provider_at'),
    costAmount: numeric('cost_amount'),
    costCurrency: text('cost_currency'),
    receivedAt: at('received_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.provider, table.eventKey] }),
    index('unmatched_receipts_message').on(table.provider, table.providerMessageId),
    index('unmatched_receipts_age').on(table.receivedAt),
  ],
)

/**
 * Codes that a provider made itself: one that is live per account and number, whatever the app, since a provider
 * checks them by number. Found by the number's global index for as long as they live.
 */
export const delegatedCodes = pgTable(
  'delegated_codes',
  {
    provider: text().notNull(),
    numberIndex: bytea('number_index').notNull(),
    requestId: text('request_id').notNull(),
    attemptId: text('attempt_id').notNull(),
    channel: channelType().notNull(),
    expiresAt: at('expires_at').notNull(),
    /** Checks handed to the provider, counted before each: what a crash swallowed stays counted. */
    forwarded: smallint().notNull().default(0),
    /** One check at a time is with the provider, until it answers or this time is over. */
    checkingUntil: at('checking_until'),
  },
  (table) => [
    primaryKey({ columns: [table.provider, table.numberIndex] }),
    index('delegated_codes_request').on(table.requestId),
    index('delegated_codes_expiry').on(table.expiresAt),
  ],
)
