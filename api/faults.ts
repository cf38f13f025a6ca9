import { UnknownKey } from '../codes/keyring'
import { Problem } from './problem'

/** Postgres: shutting down, starting up, too many connections, out of disk, out of memory, read only. */
const outages = /^(57P0[0-5]|53[0-4]00|08\d\d\d|25006)$/
const lockTimeout = '55P03'
/** Postgres: a value that its type cannot hold, such as a date that there is not. */
const badValue = /^22[0-9A-Z]{3}$/
const socketFaults = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
])
/** The pg driver tells these apart by their sentences only. */
const brokenConnection = /Connection terminated|Query read timeout|not queryable|timeout expired/
const noFreeConnection = 'timeout exceeded when trying to connect'

/**
 * Translates what a handler threw. A dependency that is down is a 503, one that is merely busy a 429, a value that
 * passed the checks of its route but not those of Postgres a 400; anything else stays unknown, for the caller to log and to answer as INTERNAL.
 */
export function problemOf(error: unknown, poolIsFull: () => boolean): Problem | undefined {
  if (error instanceof Problem) return error
  if (error instanceof UnknownKey) return unavailable(error)
  if (!(error instanceof Error)) return undefined
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (
    code === lockTimeout &&
    'where' in error &&
    String(error.where).includes('idempotency_keys')
  ) {
    return new Problem('IDEMPOTENCY_CONFLICT', { retryAfterSeconds: 1, cause: error })
  }
  const isBusy =
    code === lockTimeout ||
    code === '40001' ||
    code === '40P01' ||
    code === '57014' ||
    (error.message === noFreeConnection && poolIsFull())
  if (badValue.test(code)) {
    return new Problem('INVALID_REQUEST', {
      detail: 'A value of this call is out of range.',
      cause: error,
    })
  }
  if (isBusy) return new Problem('OVERLOADED', { retryAfterSeconds: 1, cause: error })
  const isDown =
    outages.test(code) ||
    socketFaults.has(code) ||
    brokenConnection.test(error.message) ||
    error.message === noFreeConnection
  if (isDown) return unavailable(error)
  return error.cause === undefined ? undefined : problemOf(error.cause, poolIsFull)
}

const unavailable = (cause: Error) =>
  new Problem('SERVICE_UNAVAILABLE', { retryAfterSeconds: 1, cause })
