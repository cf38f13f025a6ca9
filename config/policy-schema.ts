import { getCountries, isSupportedCountry } from 'libphonenumber-js/min'
import { z } from 'zod'
import { addressOf, channels } from '../core/channel'
import { doubtPolicies } from '../core/plan'
import { successRules } from '../core/receipt'
import { type Retained, shortestRetention, usualRetention } from '../core/retention'
import { risks } from '../core/risk'
import { addressDuties, lineTypes, protectionModes } from '../core/abuse/protection'
import { ruleNames } from '../core/abuse/rules'
import { providerOrders } from '../core/routing/policy'
import { AccountConfig } from '../providers/index'

const phoneChannels = channels.filter((channel) => addressOf(channel) === 'phone')
const emailChannels = channels.filter((channel) => addressOf(channel) === 'email')

const isOnce = (list: readonly string[]) => new Set(list).size === list.length
/** What refinements say, for editors: JSON Schema cannot be made from code. */
const once = { uniqueItems: true }
const order = <T extends string>(names: readonly T[]) =>
  z.array(z.enum(names)).min(1).refine(isOnce, 'a channel is named twice').meta(once)

const accountName = z.string().min(1)
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
/** Two capitals are a country, small letters a group of the file's own. */
const country = z
  .string()
  .refine((text) => isSupportedCountry(text), 'is not a country’s two letters, as in GH')
  .meta({ id: 'country', enum: getCountries() })
const groupName = z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, 'lower-case letters, digits and -')

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

const limits = z
  .array(
    z.strictObject({ max: z.int().min(1).max(1_000_000), seconds: z.int().min(1).max(86_400) }),
  )
  .min(1)
  .max(4)
  .describe('At most `max` within any `seconds`; all of the list hold.')
const amount = z
  .string()
  .regex(/^\d{1,9}(\.\d{1,6})?$/, 'must be a decimal number in quotes, as in "25.00"')
const countryOrGroup = z.union([country, groupName], {
  error: 'is neither a country’s two letters, as in GH, nor the name of a group',
})
const countryList = z.array(countryOrGroup).min(1)

/** What can be said in general and by overrides. */
const protectionChanges = {
  mode: z
    .strictObject({
      live: z.enum(protectionModes).optional().describe('For production keys.'),
      test: z.enum(protectionModes).optional().describe('For staging and development keys.'),
    })
    .optional()
    .describe('What a finding of the fraud rules does.'),
  limits: z
    .strictObject({
      recipient: limits.optional().describe('Sends to one recipient, resends included.'),
      ip: limits.optional().describe('Sends for one end user’s address.'),
      keys: z
        .record(
          z.string().regex(/^[a-z][a-z0-9_]{0,39}$/, 'lower-case letters, digits and _'),
          limits,
        )
        .optional()
        .describe('Sends by what callers give in rate_limit_keys, by name.'),
    })
    .optional(),
  ipAddress: z
    .enum(addressDuties)
    .optional()
    .describe('Whether secret keys must give ip_address: a warning in the answer, or 400.'),
  countries: countryList
    .optional()
    .describe('Countries that are sent to; absent: all in development, none in production.'),
  lineTypes: z
    .array(z.enum(lineTypes))
    .min(1)
    .optional()
    .describe('Kinds of numbers that are sent to.'),
  lookup: z
    .strictObject({ provider: accountName })
    .optional()
    .describe('The account that is asked what carriers know of a number.'),
  rules: z
    .partialRecord(z.enum(ruleNames), z.enum(['off', 'observe']))
    .optional()
    .describe('Fraud rules that are not looked at, or only written down.'),
  budget: z
    .strictObject({ hour: amount.optional(), day: amount.optional() })
    .optional()
    .describe('The most that is spent, in the currency of costs.'),
}

const Protection = z.strictObject({
  ...protectionChanges,
  messageCap: limits.optional().describe('Messages to one number over all apps.'),
  overrides: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(60),
        when: z
          .strictObject({
            apps: z.array(z.string().min(1)).min(1).optional().describe('Ids of apps.'),
            countries: countryList.optional(),
          })
          .optional()
          .describe('All conditions that are given must hold; absent: every send.'),
        ...protectionChanges,
      }),
    )
    .optional()
    .describe('Of those that say something about a setting, the first that is for a send counts.'),
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
