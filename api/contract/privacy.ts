import { z } from 'zod'
import { appId } from './admin'
import { oneRecipient, recipient } from './common'
import { named } from './registry'
import { withRules } from './rules'

export const ErasureBody = named(
  'ErasureBody',
  withRules(
    z.strictObject({
      ...recipient,
      app_id: appId
        .optional()
        .describe(
          'The app that is to forget; an operator who names none means every app that this process serves.',
        ),
    }),
    oneRecipient,
  ),
)
export type ErasureBody = z.infer<typeof ErasureBody>

export const ErasureAnswer = named(
  'ErasureAnswer',
  z.object({
    erased: z.object({
      recipients: z.int().describe('In how many apps the recipient was known.'),
      requests: z.int().describe('How many of their requests were emptied.'),
    }),
  }),
)

export const WithdrawalAnswer = named(
  'WithdrawalAnswer',
  z.object({
    status: z.literal('withdrawn'),
    requests_cancelled: z.int().describe('Live requests that it ended.'),
  }),
)
