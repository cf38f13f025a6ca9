/** Every error code of the API with its HTTP status and its sentence; a new code without them does not compile. */
export const errorCodes = {
  INVALID_REQUEST: [400, 'The request is not valid.'],
  INVALID_NUMBER: [400, 'This is not a valid phone number.'],
  INVALID_EMAIL: [400, 'This is not a valid e-mail address.'],
  INVALID_MESSAGE: [400, 'This text cannot be used as a message.'],
  INVALID_EXPIRY: [400, 'The lifetime asked for is outside what this app allows.'],
  CHANNEL_UNAVAILABLE: [400, 'No provider account is configured for this channel and key.'],
  CONSENT_REQUIRED: [400, 'This app sends only with a consent record: give consent.'],
  INVALID_ENDPOINT: [400, 'Events cannot be sent to this address.'],
  UNAUTHENTICATED: [401, 'A valid API key is required as a Bearer token.'],
  INVALID_SIGNATURE: [401, 'The signature of this callback is missing, wrong or too old.'],
  FORBIDDEN: [403, 'This API key lacks the scope for this call.'],
  BLOCKED: [403, 'This recipient is blocked.'],
  HTTPS_REQUIRED: [403, 'This service is reached by https only.'],
  WRONG_REGION: [403, 'This app is served in another region.'],
  CHALLENGE_REQUIRED: [403, 'A solved challenge is required: GET /otp/challenge gives one.'],
  INVALID_CHALLENGE: [403, 'The challenge is not solved, was used before, or is too old.'],
  NOT_FOUND: [404, 'There is nothing here that this call may see.'],
  METHOD_NOT_ALLOWED: [405, 'This path does not answer that method.'],
  REQUEST_TIMEOUT: [408, 'The request took too long to arrive.'],
  REQUEST_ENDED: [409, 'The request has ended.'],
  NO_NEXT_CHANNEL: [409, 'The plan has no further channel.'],
  IDEMPOTENCY_CONFLICT: [409, 'The first request with this Idempotency-Key is still in progress.'],
  AMBIGUOUS_ATTEMPT: [409, 'More than one attempt is open: attempt_id is required.'],
  ALREADY_EXISTS: [409, 'There is one of this name already.'],
  TOO_MANY_KEYS: [409, 'Two keys of this line are live: revoke one first.'],
  KEY_ENDED: [409, 'This API key has expired or was revoked: make a new one.'],
  PAYLOAD_TOO_LARGE: [413, 'The body is larger than 16 KB.'],
  UNSUPPORTED_MEDIA_TYPE: [415, 'The body must be application/json.'],
  IDEMPOTENCY_MISMATCH: [422, 'This Idempotency-Key was used with another body.'],
  RECIPIENT_MISMATCH: [422, 'The phone number is not the one this attempt was sent to.'],
  RATE_LIMITED: [429, 'Too many sends for now.'],
  LOCKED: [429, 'Too many wrong codes: this request is locked.'],
  TOO_MANY_CHECKS: [
    429,
    'Too many wrong codes for this recipient: wait, or solve a challenge first.',
  ],
  QUOTA_EXCEEDED: [429, 'This API key has made all the calls that it may make in a minute.'],
  BUDGET_EXCEEDED: [429, 'This app has spent what it may spend for now.'],
  OVERLOADED: [429, 'The service is at its limit. Try again shortly.'],
  HEADERS_TOO_LARGE: [431, 'The headers of this request are too large.'],
  SERVICE_UNAVAILABLE: [
    503,
    'A part that this call needs is down. Nothing was sent. Try again shortly.',
  ],
  INTERNAL: [500, 'Something failed on our side. The trace id leads to it in the logs.'],
} as const satisfies Record<string, readonly [status: number, message: string]>
export type ErrorCode = keyof typeof errorCodes

/** Why a check was refused inside a 200. */
export const rejections = ['INVALID_CODE', 'EXPIRED', 'ALREADY_USED', 'NO_ACTIVE_REQUEST'] as const
export type Rejection = (typeof rejections)[number]

/** What a caller is advised to do next. */
export const actions = ['send_again', 'solve_challenge', 'contact_support'] as const
export type Action = (typeof actions)[number]
