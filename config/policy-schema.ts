import { z } from 'zod'
import { addressOf, channels } from '../core/channel'
import { doubtPolicies } from '../core/requests/plan'
import { successRules } from '../core/delivery/receipt'
import { type Retained, shortestRetention, usualRetention } from '../core/recipients/retention'
import { risks } from '../core/protection/risk'
import { alertRuleNames, severities } from '../core/alerts/rule'
import { environments } from '../core/requests/state'
import { providerOrders } from '../core/routing/policy'
import { AccountConfig } from '../providers/index'
import { accountName, country, groupName, isOnce, once } from './policy-words'
import { Protection } from './protection-schema'

const phoneChannels = channels.filter((channel) => addressOf(channel) === 'phone')
const emailChannels = channels.filter((channel) => addressOf(channel) === 'email')

const order = <T extends string>(names: readonly T[]) =>
  z.array(z.enum(names)).min(1).refine(isOnce, 'a channel is named twice').meta(once)

const StepOverride = z.strictObject({
  timeoutMs: z
    .int()
    .min(1_000)
    .max(600_000)
    .optional()
    .describe('From the first call until the next channel’s turn.'),
  success: z.enum(successRules).optional().describe('What a message must reach.'),
  successBy: z
    .record(accountName, z.enum(successRules))
    .optional()
    .describe('The same by provider account, for routes whose receipts tell less or more.'),
  onDoubt: z
    .enum(doubtPolicies)
    .optional()
    .describe('After a call without an answer: send again elsewhere, or go on.'),
})

const choice = 'must be a list of accounts; weights from 0 to 1000 by account; "cheapest" or "best"'
const ProviderChoice = z
  .union(
    [
      z.enum(providerOrders),
      z.array(accountName).min(1).refine(isOnce, 'an account is named twice').meta(once),
      z
        .record(accountName, z.number().min(0).max(1_000))
        .refine(
          (weights) => Object.values(weights).some((weight) => weight > 0),
          'no weight is above 0',
        )
        .meta({ minProperties: 1 }),
    ],
    { error: choice },
  )
  .describe(
    'The accounts in order, their weights, "cheapest" or "best"; "*" stands for all others.',
  )

const steps = z.partialRecord(z.enum(channels), StepOverride)
const providers = z.partialRecord(z.enum(channels), ProviderChoice)

const prefix = z
  .string()
  .regex(/^\+[1-9]\d{0,14}$/, 'must be the beginning of a number, as in +23324')
const Rule = z
  .strictObject({
    name: z.string().min(1).max(60).describe('Shown where the rule decided.'),
    when: z
      .strictObject({
        countries: z
          .array(
            z.union([country, groupName], {
              error: 'is neither a country’s two letters, as in GH, nor the name of a group',
            }),
          )
          .min(1)
          .optional()
          .describe('Two letters each, or names of countryGroups.'),
        prefixes: z.array(prefix).min(1).optional().describe('What the number begins with.'),
        risk: z.array(z.enum(risks)).min(1).optional(),
        apps: z.array(z.string().min(1)).min(1).optional().describe('Ids of apps.'),
      })
      .optional()
      .describe('All conditions that are given must hold; absent: every request.'),
    channels: order(channels).optional().describe('The order of channels.'),
    providers: providers.optional(),
    steps: steps.optional(),
  })
  .refine(
    ({ channels, providers, steps }) => channels ?? providers ?? steps,
    'says nothing: give channels, providers or steps',
  )
  .meta({ anyOf: ['channels', 'providers', 'steps'].map((name) => ({ required: [name] })) })

const RiskOrder = z
  .union([z.enum(['policy', 'cheapest']), order(phoneChannels)], {
    error: 'must be "policy", "cheapest", or a list of channels, each once',
  })
  .describe('"policy": as the rules say; "cheapest": by price; a list: these go first.')

const Price = z.strictObject({
  provider: accountName.optional().describe('An account; absent: an estimate for any.'),
  channel: z.enum(channels),
  to: z
    .union([prefix, country], {
      error: 'must be a country’s two letters or a prefix, as in +23324',
    })
    .optional()
    .describe('A country or a prefix; absent: everywhere.'),
  amount: z
    .string()
    .regex(/^\d{1,6}(\.\d{1,6})?$/, 'must be a decimal number in quotes, as in "0.021"'),
})

const days = (part: Retained) =>
  z.int().min(shortestRetention[part]).max(3_650).default(usualRetention[part])

const Alerts = z.strictObject({
  environments: z
    .array(z.enum(environments))
    .optional()
    .describe('Of which people are told; production when absent. Alerts of all are listed.'),
  mailAccount: accountName
    .optional()
    .describe('The account that e-mail goes out by; absent: the first that can.'),
  sla: z
    .strictObject({
      uptime: z.number().min(0.5).max(1).optional().describe('The share of good health pings.'),
      acceptMs: z
        .int()
        .min(1)
        .max(60_000)
        .optional()
        .describe('From a call to its acceptance, for 95 of 100.'),
    })
    .optional()
    .describe('What provider accounts must do.'),
  receivers: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(60),
        when: z
          .strictObject({
            apps: z.array(z.string().min(1)).min(1).optional().describe('Ids of apps.'),
            rules: z.array(z.enum(alertRuleNames)).min(1).optional(),
            severity: z.enum(severities).optional(),
          })
          .optional()
          .describe('All conditions that are given must hold; absent: every alert.'),
        slack: z
          .array(z.string().min(1))
          .optional()
          .describe('Names of webhooks in OTPILOT_ALERT_SLACK.'),
        email: z.array(z.email()).optional().describe('Addresses.'),
      }),
    )
    .optional()
    .describe('Who is told of what; absent: all that OTPILOT_ALERT_SLACK and _EMAIL name.'),
})

/** The sections of the policy file; `docs/routing.md` says what each means. */
export const sections = {
  $schema: z.string().optional(),
  version: z
    .literal(1, { error: 'this version of otpilot reads version 1' })
    .default(1)
    .describe('Of the file’s form.'),
  accounts: z.array(AccountConfig).min(1).describe('Provider accounts.'),
  channels: z
    .strictObject({ phone: order(phoneChannels), email: order(emailChannels) })
    .describe('The order of channels by kind of recipient.'),
  steps: steps.prefault({}).describe('What differs from a channel’s usual step.'),
  providers: providers.prefault({}).describe('Accounts by channel; absent: in the file’s order.'),
  countryGroups: z
    .record(groupName, z.array(country).min(1))
    .prefault({})
    .describe('Names for countries.'),
  rules: z
    .array(Rule)
    .prefault([])
    .describe('Of those that say something about a thing, the first that is for a request counts.'),
  risk: z
    .partialRecord(z.enum(risks), RiskOrder)
    .prefault({})
    .describe('What a risk does to the order of channels.'),
  costs: z
    .strictObject({
      currency: z.string().regex(/^[A-Z]{3}$/, 'must be three letters, as in USD'),
      prices: z.array(Price),
    })
    .optional()
    .describe('Prices of one message or call, all in one currency.'),
  protection: Protection.prefault({}).describe('Limits, fraud rules, allowed numbers, money.'),
  alerts: Alerts.prefault({}).describe('Who is told of what, and what accounts must do.'),
  retention: z
    .strictObject({
      recipients: days('recipients'),
      contexts: days('contexts'),
      messages: days('messages'),
      events: days('events'),
      requests: days('requests'),
      audit: days('audit'),
    })
    .prefault({})
    .describe('In days; what is not given is as usual.'),
}

/** The whole file. */
export const PolicyFile = z.strictObject(sections)
export type Policy = Omit<z.infer<typeof PolicyFile>, '$schema'>

/** The same for editors, as JSON Schema. */
export const policyJsonSchema = (): object =>
  z.toJSONSchema(PolicyFile, { io: 'input', target: 'draft-7' })
