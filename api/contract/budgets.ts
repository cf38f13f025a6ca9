import { z } from 'zod'
import { appInQuestion } from './admin'
import { Channel, time } from './common'
import { named } from './registry'

export const BudgetsQuery = z.strictObject({
  app_id: appInQuestion,
})

const amount = z.string().describe('A decimal number, exact.')

const Budget = z.object({
  live: z.boolean().describe('Spent with production keys; else with staging and development keys.'),
  window: z.enum(['hour', 'day']).describe('By UTC.'),
  currency: z.string(),
  limit: amount.nullable().describe('null: none.'),
  spent: amount,
  reserved: amount.describe('For calls under way.'),
  remaining: amount.nullable(),
  resets_at: time,
})

const Part = z
  .object({
    live: z.boolean(),
    channel: Channel,
    provider: z.string(),
    country: z.string().nullable(),
    calls: z.int().describe('Not those that were refused.'),
    unpriced: z.int().describe('Calls of which neither provider nor policy says the price.'),
    amount,
    estimated: amount.describe('The part of it that is by the policy’s prices.'),
    currency: z.string().nullable(),
  })
  .describe('Of the day under way.')

export const BudgetsAnswer = named(
  'BudgetsAnswer',
  z.object({
    app_id: z.string(),
    budgets: z.array(Budget),
    spending: z.array(Part).describe('The 100 largest of each kind of key.'),
  }),
)
export type BudgetsAnswer = z.infer<typeof BudgetsAnswer>
