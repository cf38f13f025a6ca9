import { z } from 'zod'
import { rejections } from '../../core/error-code'
import { readTypedCode } from '../../core/input/typed-code'
import { Assurance, ofTestNumber, purpose, recipient, requestId, requestIdInput } from './common'
import { solvedChallenge } from './challenge'
import { named } from './registry'
import { exactlyOneOf, withRules } from './rules'

export const VerifyBody = named(
  'VerifyBody',
  withRules(
    z.strictObject({
      ...recipient,
      request_id: requestIdInput.optional(),
      code: z
        .string()
        .min(4)
        .max(100)
        .transform(readTypedCode)
        .pipe(z.string().regex(/^[0-9A-Za-z]{4,12}$/, 'must be 4 to 12 letters or digits'))
        .describe(
          'As typed or pasted: digits of any script, blanks, hyphens, invisible marks and the punctuation around it are understood, small letters count as capital ones.',
        )
        .meta({ examples: ['482910'] }),
      purpose: purpose.optional(),
      challenge: solvedChallenge
        .optional()
        .describe(
          'For a recipient with too many wrong checks: GET /otp/challenge, solved. It is spent only if it is needed.',
        ),
    }),
    exactlyOneOf('phone_number', 'email', 'request_id'),
  ),
)
export type VerifyBody = z.infer<typeof VerifyBody>

export const VerifyAnswer = named(
  'VerifyAnswer',
  z.discriminatedUnion('status', [
    z.object({
      status: z.literal('verified'),
      request_id: requestId,
      assurance: Assurance,
      test: ofTestNumber,
      proof: z
        .string()
        .optional()
        .describe(
          'To publishable keys: hand it to your back end, which compares it with the one that it reads.',
        ),
    }),
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
