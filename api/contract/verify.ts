import { z } from 'zod'
import { rejections } from '../../core/error-code'
import { email, phoneNumber, purpose, requestId, requestIdInput } from './common'
import { named } from './registry'

export const VerifyBody = named(
  'VerifyBody',
  z.strictObject({
    phone_number: phoneNumber.optional(),
    email: email.optional(),
    request_id: requestIdInput.optional(),
    code: z
      .string()
      .max(40)
      .transform((typed) => typed.replace(/[\s-]/g, ''))
      .pipe(z.string().regex(/^[0-9A-Za-z]{4,12}$/, 'must be 4 to 12 letters or digits'))
      .describe('As typed; blanks and hyphens are dropped.')
      .meta({ examples: ['482910'] }),
    purpose: purpose.optional(),
  }),
)
export type VerifyBody = z.infer<typeof VerifyBody>

export const VerifyAnswer = named(
  'VerifyAnswer',
  z.discriminatedUnion('status', [
    z.object({ status: z.literal('verified'), request_id: requestId }),
    z.object({
      status: z.literal('rejected'),
      error_code: z.enum(rejections),
      message: z.string(),
      request_id: requestId.nullable(),
      attempts_remaining: z.int(),
    }),
  ]),
)
export type VerifyAnswer = z.infer<typeof VerifyAnswer>
