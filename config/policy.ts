import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { addressOf, channels } from '../core/channel'
import { doubtPolicies } from '../core/plan'
import { successRules } from '../core/receipt'
import { type Retained, shortestRetention, usualRetention } from '../core/retention'
import { AccountConfig } from '../providers/index'
import shippedPolicy from './policy.json'

const phoneChannels = channels.filter((channel) => addressOf(channel) === 'phone')
const emailChannels = channels.filter((channel) => addressOf(channel) === 'email')

/** What a policy may change about a channel's step; the rest stays as `core/plan.ts` says. */
const StepOverride = z.strictObject({
  timeoutMs: z.int().min(1_000).max(600_000).optional(),
  success: z.enum(successRules).optional(),
  onDoubt: z.enum(doubtPolicies).optional(),
})

const days = (part: Retained) =>
  z.int().min(shortestRetention[part]).max(3_650).default(usualRetention[part])

const RetentionPolicy = z.strictObject({
  recipients: days('recipients'),
  contexts: days('contexts'),
  messages: days('messages'),
  events: days('events'),
  requests: days('requests'),
  audit: days('audit'),
})

const Policy = z
  .strictObject({
    accounts: z.array(AccountConfig).min(1),
    /** The order of channels by kind of recipient. */
    channels: z.strictObject({
      phone: z.array(z.enum(phoneChannels)).min(1),
      email: z.array(z.enum(emailChannels)).min(1),
    }),
    steps: z.partialRecord(z.enum(channels), StepOverride),
    /** In days; what is not given is as usual. */
    retention: RetentionPolicy.prefault({}),
  })
  .superRefine(({ accounts, channels: order }, context) => {
    const fault = (path: string[], message: string) =>
      context.addIssue({ code: 'custom', path, message })
    const names = accounts.map(({ name }) => name)
    if (new Set(names).size < names.length) fault(['accounts'], 'two accounts have the same name')
    // It would hide the address of the generic callback.
    if (names.includes('otp-status')) fault(['accounts'], 'no account can be named otp-status')
    for (const kind of ['phone', 'email'] as const) {
      if (new Set(order[kind]).size < order[kind].length)
        fault(['channels', kind], 'a channel is named twice')
    }
  })
export type Policy = z.infer<typeof Policy>

type PolicyReading = { success: true; policy: Policy } | { success: false; faults: string[] }

/** Reads and validates a policy file, or the shipped one; every fault is one sentence. */
export function loadPolicy(path: string | undefined): PolicyReading {
  if (!path) return readPolicy(shippedPolicy, 'config/policy.json')
  let json: unknown
  try {
    json = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const fault = error instanceof SyntaxError ? 'is not valid JSON' : 'cannot be read'
    return { success: false, faults: [`${path}: ${fault}`] }
  }
  return readPolicy(json, path)
}

function readPolicy(json: unknown, file: string): PolicyReading {
  const { success, data, error } = Policy.safeParse(json)
  if (success) return { success, policy: data }
  const faults = error.issues.map(
    ({ path, message }) => `${file}: ${path.join('.') || 'the file'}: ${message}`,
  )
  return { success, faults }
}
