import type { ChallengeOffer } from './challenges/challenge'
import { type Action, type ErrorCode, errorCodes } from '../core/error-code'

/** A field of the body or the query that is not as the contract says. */
export interface FieldFault {
  field: string
  message: string
}

export interface ProblemOptions {
  /** One sentence about this very case; never holds what the caller sent. */
  detail?: string
  requestId?: string
  retryAfterSeconds?: number
  errors?: FieldFault[]
  /** What the caller should do next. */
  action?: Action
  /** What may be solved, with what a page needs for it. */
  challenge?: ChallengeOffer
  headers?: Record<string, string>
  cause?: unknown
}

/** A refusal with one of the closed error codes; everything else that is thrown is a bug. */
export class Problem extends Error {
  override name = 'Problem'
  readonly status: number
  constructor(
    readonly code: ErrorCode,
    readonly options: ProblemOptions = {},
  ) {
    super(options.detail ?? errorCodes[code][1], { cause: options.cause })
    this.status = errorCodes[code][0]
  }

  get headers(): Record<string, string> {
    const { retryAfterSeconds, headers } = this.options
    return {
      ...headers,
      ...(retryAfterSeconds !== undefined && { 'Retry-After': String(retryAfterSeconds) }),
    }
  }

  /** The answer's body: the members of RFC 9457 and, beside them, those of the integration guide. */
  toBody(traceId: string) {
    const { detail, requestId, errors, action, challenge } = this.options
    const sentence = errorCodes[this.code][1]
    return {
      type: problemType(this.code),
      title: sentence,
      status: this.status,
      detail: detail ?? sentence,
      instance: `urn:otpilot:trace:${traceId}`,
      error_code: this.code,
      message: detail ?? sentence,
      request_id: requestId ?? null,
      trace_id: traceId,
      ...(action && { action }),
      ...(challenge && { challenge }),
      ...(errors && { errors }),
    }
  }
}

/** The stable `type` of a problem. */
const problemType = (code: ErrorCode): string =>
  `urn:otpilot:problem:${code.toLowerCase().replaceAll('_', '-')}`
