import type { ReceiptStatus } from '../../core/delivery/receipt'
import { openRecipient } from '../../db/recipients/recipients'
import {
  findAttemptsForReceipt,
  type NewReceipt,
  recordReceipt,
  type ReportedAttempt,
} from '../../db/delivery/receipts'
import { versionOf } from '../../db/requests/status'
import { checkSignature, webhooksOf } from '../../providers/standard-webhook'
import { ForgedCallback, type InboundCallback } from '../../providers/provider'
import { ReceiptBody, ReceivedAnswer } from '../contract/receipt'
import { type ApiDeps, logBreaker, wakeRuns } from '../deps'
import { parseJson } from '../json-body'
import { isOfAPlan, readNetworkNumber } from '../network-number'
import { Problem } from '../problem'
import { type Call, route } from '../route'
import { readFields } from '../validation'

const received = { 200: { description: 'Recorded.', content: ReceivedAnswer } }

/** @throws {Problem} INVALID_SIGNATURE for what the provider did not send. */
export function authentic<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof ForgedCallback) throw new Problem('INVALID_SIGNATURE', { cause: error })
    throw error
  }
}

export const genericReceiptRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/webhooks/otp-status',
    operationId: 'genericReceipt',
    tag: 'Callbacks',
    summary: 'A delivery receipt of your own gateway',
    description:
      'Signed as Standard Webhooks define it, with the receipt secret of the account that owns the attempt (OTPILOT_RECEIPT_SECRET). Without attempt_id it counts only if exactly one attempt is open.',
    scope: null,
    rawBody: true,
    rawSchema: ReceiptBody,
    example: {
      request_id: 'otp_k3v7x2m4q6t5z7a2b4c6d3e5f7',
      status: 'delivered',
      phone_number: '+233241234567',
      timestamp: '2026-11-23T05:00:00Z',
    },
    requestHeaders: {
      'webhook-id': 'Unique per receipt: a second one alike is a duplicate.',
      'webhook-timestamp': 'Seconds since 1970; at most five minutes off.',
      'webhook-signature': 'v1, and the base64 HMAC-SHA-256 of id.timestamp.body.',
    },
    replies: received,
    errors: [
      'INVALID_REQUEST',
      'UNSUPPORTED_MEDIA_TYPE',
      'INVALID_NUMBER',
      'INVALID_SIGNATURE',
      'NOT_FOUND',
      'AMBIGUOUS_ATTEMPT',
      'RECIPIENT_MISMATCH',
    ],
    async handle(call) {
      const raw = (await call.readBody?.()) ?? call.raw
      const body = readFields(ReceiptBody, parseJson(raw, contentTypeOf(call), false), 'body')
      const attempt = await attemptOf(deps, { ...call, raw }, body)
      if (!attempt) return { body: { received: true } }
      const { requestId } = attempt
      const recipient = await openRecipient(deps.db, deps.keyring, attempt.recipientId)
      const spellings: readonly string[] = readNetworkNumber(body.phone_number) ?? []
      if (recipient === undefined || !spellings.includes(recipient)) {
        // What is a number of no plan is told apart from another one.
        const isNumber = spellings.some((spelling) => isOfAPlan(spelling))
        throw new Problem(isNumber ? 'RECIPIENT_MISMATCH' : 'INVALID_NUMBER', { requestId })
      }
      await record(deps, attempt, receiptOf(body, call))
      return { body: { received: true } }
    },
  })

/**
 * The one attempt that a generic receipt is about, once its sender has proven to own it; undefined when a
 * genuine receipt has nothing left to change. Only who holds a secret is told that a request is not known.
 */
async function attemptOf(
  { db, publicUrl, routing: { accounts } }: ApiDeps,
  { headers, raw }: Call,
  { request_id: requestId, attempt_id: attemptId }: ReceiptBody,
): Promise<ReportedAttempt | undefined> {
  const callback = { headers, body: raw, url: `${publicUrl}/webhooks/otp-status` }
  const senders = [...accounts.values()]
    .filter(({ receiptSecret }) => isSignedBy(receiptSecret, callback))
    .map(({ name }) => name)
  // Before any query: whoever holds no secret costs a digest.
  if (senders.length === 0) throw new Problem('INVALID_SIGNATURE')
  const found = await findAttemptsForReceipt(db, { requestId, attemptId })
  const owned = found.filter(({ provider }) => senders.includes(provider))
  if (found.length > 0 && owned.length === 0) throw new Problem('INVALID_SIGNATURE')
  const isKnown = found.length > 0 || (attemptId === undefined && (await versionOf(db, requestId)))
  if (!isKnown) throw new Problem('NOT_FOUND')
  const open = owned.filter((attempt) => attempt.open)
  // A late receipt for the only message there was needs no name either.
  const meant = attemptId !== undefined || open.length === 0 ? owned : open
  if (meant.length > 1) throw new Problem('AMBIGUOUS_ATTEMPT', { requestId })
  return meant[0]
}

function isSignedBy(secret: string | undefined, callback: InboundCallback): boolean {
  if (secret === undefined) return false
  try {
    checkSignature(webhooksOf(secret), callback)
    return true
  } catch (error) {
    if (error instanceof ForgedCallback) return false
    throw error
  }
}

function receiptOf({ status, timestamp }: ReceiptBody, { headers }: Call): NewReceipt {
  const at = new Date(timestamp)
  if (Number.isNaN(at.getTime())) {
    throw new Problem('INVALID_REQUEST', { detail: 'timestamp: must be a time as in RFC 3339.' })
  }
  const eventId = String(headers['webhook-id'])
  if (eventId.length > 200) {
    throw new Problem('INVALID_REQUEST', { detail: 'webhook-id: at most 200 characters.' })
  }
  const known: ReceiptStatus = status === 'failed' ? 'failed.retryable' : status
  return { status: known, rawStatus: status, eventKey: `generic:${eventId}`, at }
}

const contentTypeOf = ({ headers }: Call): string | undefined => {
  const value = headers['content-type']
  return typeof value === 'string' ? value : undefined
}

/** Records a receipt, then tells the run without waiting for Temporal. */
export async function record(
  deps: ApiDeps,
  attempt: ReportedAttempt,
  receipt: NewReceipt,
): Promise<void> {
  const actor = `provider:${attempt.provider}`
  const recorded = await recordReceipt(deps.db, { attempt, receipt, actor })
  logBreaker(deps, recorded, attempt.provider)
  wakeRuns(deps, [recorded.wake])
}
