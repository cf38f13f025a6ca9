import { z } from 'zod'
import { receiptStatuses } from '../../core/receipt'
import { phoneNumber, requestIdInput, time } from './common'
import { named } from './registry'

export const ReceiptBody = named(
  'ReceiptBody',
  z.strictObject({
    request_id: requestIdInput,
    status: z
      .enum(receiptStatuses)
      .or(z.literal('failed'))
      .describe('failed alone counts as failed.retryable; expired means the message.'),
    phone_number: phoneNumber,
    timestamp: time.describe('When it happened: RFC 3339.'),
    attempt_id: z
      .string()
      .regex(/^[A-Za-z0-9_]{1,64}$/, 'is no attempt id')
      .optional()
      .describe('Required when more than one attempt is open.'),
  }),
)
export type ReceiptBody = z.infer<typeof ReceiptBody>

export const ReceivedAnswer = named('ReceivedAnswer', z.object({ received: z.literal(true) }))
