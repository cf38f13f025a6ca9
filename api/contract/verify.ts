import { z } from 'zod'
import { rejections } from '../../core/error-code'
import { readTypedCode } from '../../core/input/typed-code'
import { Assurance, ofTestNumber, purpose, recipient, requestId, requestIdInput } from './common'
import { solvedChallenge } from './challenge'
import { named } from './registry'
import { exactlyOneOf, implies, withRules } from './rules'

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

/**
 * One object with a status, and no union of two: of a union the clients of openapi-generator 7.14 for typescript-fetch read
 * nothing, since they look for members by the names that these have in TypeScript.
 */
export const VerifyAnswer = named(
  'VerifyAnswer',
  withRules(
    z.object({
      status: z.enum(['verified', 'rejected']),
      request_id: requestId.nullable().describe('Null: there is no request that it could be for.'),
      assurance: Assurance.optional(),
      test: ofTestNumber,
      proof: z
        .string()
        .optional()
        .describe(
          'To publishable keys: hand it to your back end, which compares it with the one that it reads.',
        ),
      error_code: z.enum(rejections).optional().describe('With rejected: why.'),
      message: z.string().optional().describe('With rejected: why, in a sentence.'),
      attempts_remaining: z.int().optional().describe('With rejected: checks that are left.'),
    }),
    {
      must: implies({ properties: { status: { const: 'verified' } } }, { required: ['assurance'] }),
      message: 'verified without assurance',
    },
    {
      must: implies(
        { properties: { status: { const: 'rejected' } } },
        { required: ['error_code', 'message', 'attempts_remaining'] },
      ),
      message: 'rejected without error_code, message and attempts_remaining',
    },
  ),
)
export type VerifyAnswer = z.infer<typeof VerifyAnswer>
