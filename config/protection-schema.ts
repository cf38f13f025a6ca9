import { z } from 'zod'
import {
  addressDuties,
  challengeKinds,
  lineTypes,
  protectionModes,
} from '../core/protection/protection'
import { ruleNames } from '../core/protection/rules'
import { accountName, country, groupName, isOnce, once } from './policy-words'

const limits = z
  .array(
    // The time of each send that counts is kept: that is what makes a sliding window exact.
    z.strictObject({ max: z.int().min(1).max(1_000), seconds: z.int().min(1).max(86_400) }),
  )
  .min(1)
  .max(4)
  .describe('At most `max` within any `seconds`; all of the list hold.')
const amount = z
  .string()
  .regex(/^\d{1,9}(\.\d{1,6})?$/, 'must be a decimal number in quotes, as in "25.00"')
const questionPrice = amount
  .optional()
  .describe('What one question costs, in the currency of costs: it counts against the budget.')
const countryOrGroup = z.union([country, groupName], {
  error: 'is neither a country’s two letters, as in GH, nor the name of a group',
})
const countryList = z.array(countryOrGroup).min(1)

/** What can be said in general and by overrides. */
const Challenges = z.strictObject({
  kinds: z
    .array(z.enum(challengeKinds))
    .min(1)
    .refine(isOnce, 'a kind is named twice')
    .meta(once)
    .describe('Kinds of challenges that are taken; altcha when absent.'),
  hosts: z
    .array(z.string().regex(/^[a-z0-9.-]{1,253}$/, 'a host name in lower case'))
    .min(1)
    .optional()
    .describe(
      'Hosts whose pages may have had one solved by a vendor; absent: all the vendor allows.',
    ),
})

/** A mode of older versions, which files may still name. */
export const formerMode = 'quiet'

const mode = z
  .enum([...protectionModes, formerMode])
  .transform((name) => (name === formerMode ? 'block' : name))

const protectionChanges = {
  mode: z
    .strictObject({
      live: mode.optional().describe('For production keys. `quiet` is read as `block`.'),
      test: mode
        .optional()
        .describe('For staging and development keys. `quiet` is read as `block`.'),
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
  sendsPerMinute: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe('Sends that an app may ask for in a minute, with all of its keys.'),
  countries: countryList
    .optional()
    .describe('Countries that are sent to; absent: all in development, none in production.'),
  lineTypes: z
    .array(z.enum(lineTypes))
    .min(1)
    .optional()
    .describe('Kinds of numbers that are sent to.'),
  lookup: z
    .strictObject({
      provider: accountName,
      risk: z.boolean().optional().describe('How likely it is pumped too, at a price.'),
      price: questionPrice,
    })
    .optional()
    .describe('The account that is asked what carriers know of a number.'),
  simSwap: z
    .strictObject({
      provider: accountName,
      maxAgeHours: z.int().min(1).max(2_400),
      price: questionPrice,
    })
    .optional()
    .describe('The account that is asked whether a SIM card changed of late.'),
  challenges: Challenges.optional().describe('Which solved challenges are taken.'),
  rules: z
    .partialRecord(z.enum(ruleNames), z.enum(['off', 'observe']))
    .optional()
    .describe('Fraud rules that are not looked at, or only written down.'),
  budget: z
    .strictObject({ hour: amount.optional(), day: amount.optional() })
    .optional()
    .describe('The most that is spent, in the currency of costs.'),
}

/** The section `protection`; docs/abuse.md says what each setting means. */
export const Protection = z.strictObject({
  ...protectionChanges,
  messageCap: limits
    .optional()
    .describe('Messages to one number, or to one mailbox, over all apps.'),
  domainCap: limits
    .optional()
    .describe(
      'Mails over all apps to one e-mail domain that no code has come back from within 30 days.',
    ),
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
