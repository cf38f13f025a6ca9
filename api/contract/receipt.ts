import { z } from 'zod'
import { receiptStatuses } from '../../core/delivery/receipt'
import { phoneNumber, requestIdInput, time } from './common'
import { named } from './registry'

export const ReceiptBody = named(
  'ReceiptBody',
  // A gateway's own members are none of our business: only what is named here is read.
  z.object({
    request_id: requestIdInput,
    status: z
      .preprocess(
        (status) => (typeof status === 'string' ? status.toLowerCase() : status),
        z.enum([...receiptStatuses, 'failed']),
      )
      .describe(
        'In small or capital letters. failed alone counts as failed.retryable; expired means the message.',
      ),
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
