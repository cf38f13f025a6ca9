import { z } from 'zod'
import { type CodeTable, codeTable, faultOfRefusal, meanings } from './error-codes'
import { type Answer, isNoAnswer } from './http'

const { badNumber, optedOut, credentials, setup, money, throttled } = meanings

/** `error_code` of our own wire contracts, those of the sandbox and of gateways (docs/operations.md). */
export const ownCodes: CodeTable = codeTable(
  [badNumber, 'INVALID_NUMBER'],
  [optedOut, 'BLOCKED'],
  [credentials, 'UNAUTHENTICATED', 'INVALID_SIGNATURE', 'FORBIDDEN'],
  [setup, 'NOT_FOUND'],
  [money, 'PAYMENT_REQUIRED'],
  [throttled, 'THROTTLED', 'RATE_LIMITED'],
)

const Refusal = z
  .object({
    error_code: z
      .string()
      .regex(/^[A-Z][A-Z_]{1,48}$/)
      .optional()
      .catch(undefined),
  })
  .catch({})

/** @returns the body of a 2xx answer; @throws {ProviderFault} for any other. */
export function acceptedBody(answer: Answer): unknown {
  const { status, body } = answer
  if (status >= 200 && status < 300) return body
  const { error_code: code } = Refusal.parse(body)
  throw faultOfRefusal(ownCodes, answer, { code, words: `The provider answered ${status}.` })
}

/** @throws {ProviderFault} when the answer to a ping shows that the account does not work. */
export function checkPing(answer: Answer): void {
  if (!isNoAnswer(answer)) acceptedBody(answer)
}

/** How our own wire contracts answer an accepted message; whatever is not as it should be is left out. */
export const Accepted = z
  .object({
    id: z.string().optional().catch(undefined),
    cost: z.object({ amount: z.string(), currency: z.string() }).optional().catch(undefined),
  })
  .catch({})
