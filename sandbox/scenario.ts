import { z } from 'zod'
import { channels, type Channel } from '../core/channel'
import { accountPattern, statuses } from './words'

const maxDelayMs = 600_000
const Delay = z.int().min(0).max(maxDelayMs)
/** How many sends an answer applies to; without it, every one. */
const Times = z.int().min(1).max(1_000_000).optional()
const Reported = z.enum(statuses).exclude(['accepted'])

const Answer = z.union([
  z.strictObject({
    status: z.int().min(400).max(599),
    error_code: z
      .string()
      .regex(/^[A-Z_]{1,40}$/)
      .optional(),
    retry_after_seconds: z.int().min(0).max(3_600).optional(),
    times: Times,
  }),
  z.strictObject({ error_code: z.enum(['INVALID_NUMBER', 'BLOCKED']), times: Times }),
  z.strictObject({ hang: z.literal(true), times: Times }),
  z.strictObject({ drop: z.literal(true), times: Times }),
])

const Rule = z
  .strictObject({
    /** The sends that the rule is for; every one without it. */
    on: z
      .strictObject({
        channel: z.enum(channels).optional(),
        provider: z.string().regex(accountPattern).optional(),
      })
      .optional(),
    /** Instead of a plain acceptance. */
    accept: Answer.optional(),
    /** The share of sends that `accept` (without one: status 500) applies to. */
    error_rate: z.number().min(0).max(1).optional(),
    /** Before the answer. */
    latency_ms: Delay.optional(),
    /** One receipt, or none. */
    receipt: z.union([z.literal('none'), Reported]).optional(),
    /** Counted from the answer; without `receipt`, it delays the channel's usual last one. */
    receipt_after_ms: Delay.optional(),
    /** The exact list, for repeated and reordered ones. */
    receipts: z
      .array(z.strictObject({ status: Reported, after_ms: Delay }))
      .max(20)
      .optional(),
    /** Receipts are posted before the send is answered. */
    receipts_first: z.boolean().optional(),
    /** Receipts go to the account's one address instead of the message's own. */
    receipts_to: z.literal('account').optional(),
  })
  .refine((rule) => !rule.receipts || (!rule.receipt && rule.receipt_after_ms === undefined), {
    error: 'Give either receipts, or receipt and receipt_after_ms.',
  })
export type Rule = z.infer<typeof Rule>

/** A script: one rule, or several of which the first that matches a send applies. */
export const Script = z.union([Rule, z.array(Rule).min(1).max(20)])

/** A report that the sandbox will make about an accepted message. */
export interface PlannedReceipt {
  status: z.infer<typeof Reported>
  after_ms: number
}

/** What happens to one send. */
export interface Verdict {
  latencyMs: number
  answer:
    | { kind: 'accept' | 'hang' | 'drop' }
    | { kind: 'refuse'; status: number; errorCode: string; retryAfterSeconds?: number }
  receipts: PlannedReceipt[]
  receiptsFirst: boolean
  receiptsToAccount: boolean
}

const delivered: PlannedReceipt[] = [{ status: 'delivered', after_ms: 200 }]
const usualReceipts: Record<Channel, PlannedReceipt[]> = {
  sms: delivered,
  whatsapp: delivered,
  email: delivered,
  voice: [
    { status: 'ringing', after_ms: 50 },
    { status: 'answered', after_ms: 200 },
  ],
  ussd: [{ status: 'dialled', after_ms: 200 }],
}

/** The receipts that a rule asks for; the channel's usual ones where it says nothing. */
export function receiptsOf(rule: Rule | undefined, channel: Channel): PlannedReceipt[] {
  if (rule?.receipts) return rule.receipts
  if (rule?.receipt === 'none') return []
  if (rule?.receipt) return [{ status: rule.receipt, after_ms: rule.receipt_after_ms ?? 200 }]
  const after_ms = rule?.receipt_after_ms
  if (after_ms === undefined) return usualReceipts[channel]
  return usualReceipts[channel].map((receipt, index, { length }) =>
    index === length - 1 ? { ...receipt, after_ms } : receipt,
  )
}

/** What a service says beside a status that a scenario names alone. */
const wordOfStatus: Readonly<Record<number, string>> = {
  401: 'UNAUTHENTICATED',
  402: 'PAYMENT_REQUIRED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  429: 'THROTTLED',
}

/** The verdict that a rule's `accept` stands for. */
export function answerOf(accept: Rule['accept']): Verdict['answer'] {
  if (!accept) return { kind: 'refuse', status: 500, errorCode: 'INTERNAL' }
  if ('hang' in accept) return { kind: 'hang' }
  if ('drop' in accept) return { kind: 'drop' }
  if (!('status' in accept)) {
    const status = accept.error_code === 'BLOCKED' ? 403 : 400
    return { kind: 'refuse', status, errorCode: accept.error_code }
  }
  const { status, retry_after_seconds: retryAfterSeconds } = accept
  const errorCode = accept.error_code ?? wordOfStatus[status] ?? 'SCRIPTED'
  return { kind: 'refuse', status, errorCode, retryAfterSeconds }
}
