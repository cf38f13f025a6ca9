import { z } from 'zod'
import { auditTypes } from '../../core/audit/types'
import { faults } from '../../core/delivery/fault'
import { shownEvents } from '../../core/limits'
import { receiptStatuses, successRules } from '../../core/delivery/receipt'
import { states } from '../../core/requests/state'
import { stepStatuses } from '../../core/requests/step-status'
import {
  Assurance,
  Channel,
  dialString,
  ofTestNumber,
  recipient,
  purpose,
  Reason,
  requestId,
  State,
  time,
} from './common'
import { ProtectionAnswer } from './blocks'
import { named } from './registry'
import { notBoth, withRules } from './rules'

const attemptStatuses = ['open', 'accepted', 'refused', 'in_doubt'] as const

const AttemptAnswer = named(
  'Attempt',
  z.object({
    attempt_id: z.string(),
    provider: z.string(),
    channel: Channel,
    status: z
      .union([z.enum(attemptStatuses), z.enum(receiptStatuses)])
      .describe('The provider’s answer, then the best receipt.'),
    fault: z.enum(faults).nullable(),
    in_doubt: z
      .boolean()
      .describe('The call ended without an answer: the message may have gone out.'),
    delegated: z
      .boolean()
      .describe('The provider made the code of this message itself, and is asked about it.'),
    wasted: z.boolean().describe('Answered after the request had ended.'),
    claimed_at: time,
    finished_at: time.nullable(),
    delivered_at: time.nullable(),
    cost: z
      .object({
        amount: z.string(),
        currency: z.string(),
        estimated: z
          .boolean()
          .describe('By the prices of the policy file: the provider has not said its own (yet).'),
      })
      .nullable()
      .describe('null: nothing was charged, or nobody knows the price.'),
    instruction: dialString.optional(),
  }),
)

const StepAnswer = named(
  'Step',
  z.object({
    channel: Channel,
    status: z.enum(stepStatuses),
    success_rule: z.enum(successRules),
    timeout_seconds: z.number(),
    instruction: dialString.optional(),
    attempts: z.array(AttemptAnswer),
  }),
)

const EventAnswer = named(
  'TimelineEvent',
  z.object({
    sequence: z.int(),
    type: z.enum(auditTypes),
    at: time,
    actor: z.string(),
    detail: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  }),
)

const outcome = {
  request_id: requestId,
  shared_request_id: requestId
    .optional()
    .describe(
      'Where request_id is what a page was given: the request that its pages share, which events and the audit name.',
    ),
  page_request_id: requestId
    .optional()
    .describe('Once verified by a page: what that page was given as the request’s id.'),
  state: State,
  reason: Reason.nullable(),
  channel: Channel.describe('The channel in progress, or the last one.'),
  assurance: Assurance,
  test: ofTestNumber,
  purpose: z.string(),
  created_at: time,
  expires_at: time,
  ended_at: time.nullable(),
  delivered_at: time.nullable(),
  proof: z
    .string()
    .optional()
    .describe(
      'Once verified: what a page with a publishable key was told when it gave the right code.',
    ),
}

export const StatusAnswer = named(
  'RequestStatus',
  z.object({
    ...outcome,
    version: z
      .int()
      .describe('Grows with every event; pass it as `since` to wait for the next one.'),
    checks: z.object({ used: z.int(), max: z.int() }),
    resend_after: z.int(),
    instruction: dialString.optional(),
    error_code: z
      .literal('ALL_CHANNELS_FAILED')
      .optional()
      .describe('Every channel’s turn is over without success; the codes sent stay valid.'),
    message: z.string().optional(),
    action: z.literal('contact_support').optional(),
    protection: ProtectionAnswer.optional().describe(
      'What the fraud rules said about its newest send; gone when events have had their time.',
    ),
    metadata: z.record(z.string(), z.string()).optional(),
    steps: z.array(StepAnswer),
    events: z.array(EventAnswer).describe(`The newest ${shownEvents}, in order.`),
    temporal_ui_url: z.string().optional().describe('In development: the run in Temporal UI.'),
  }),
)
export type StatusAnswer = z.infer<typeof StatusAnswer>

const wholeNumber = (least: number, most: number) => z.coerce.number().int().min(least).max(most)

export const StatusQuery = z.strictObject({
  wait: wholeNumber(1, 60).optional().describe('Seconds to wait for news before answering.'),
  since: wholeNumber(0, 1_000_000)
    .optional()
    .describe('A version seen before; without it, the one at arrival.'),
})
export type StatusQuery = z.infer<typeof StatusQuery>

const searchTime = z.iso.datetime({ offset: true, error: 'must be a time as in RFC 3339' })

export const SearchBody = named(
  'SearchBody',
  withRules(
    z.strictObject({
      ...recipient,
      state: z.enum(states).optional(),
      channel: Channel.optional().describe('Requests that used this channel.'),
      purpose: purpose.optional(),
      created_from: searchTime.optional().describe('From this time on.'),
      created_to: searchTime.optional().describe('Before this time.'),
      limit: z.int().min(1).max(100).optional().describe('20 when absent.'),
      cursor: z.string().max(200).optional().describe('`next_cursor` of the page before.'),
    }),
    notBoth('email', 'phone_number'),
  ),
)
export type SearchBody = z.infer<typeof SearchBody>

export const SearchAnswer = named(
  'SearchAnswer',
  z.object({
    requests: z.array(named('Summary', z.object(outcome))).describe('Newest first.'),
    next_cursor: z.string().nullable(),
  }),
)
export type SearchAnswer = z.infer<typeof SearchAnswer>
