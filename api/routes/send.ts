import { resendAfterSeconds } from '../../core/limits'
import type { Channel } from '../../core/channel'
import { findPreference } from '../../db/preferences'
import { openRequest, type SendDecision, type SendInput } from '../../db/sends'
import { QueuedAnswer, SendAnswer, SendBody } from '../contract/send'
import { type ApiDeps, wakeRuns } from '../deps'
import { startRun } from '../start-run'
import { type Reach, namedStep, planFor } from '../plan-for'
import { Problem } from '../problem'
import { readProviderAnswer } from '../provider-answer'
import { readAddress } from '../recipient-address'
import { type KeyCall, type Reply, route } from '../route'
import { checkTemplate, lifetimeOf, readIdempotencyKey, readWait } from '../send-wish'
import type { HealthView } from '../health-view'

type Opened = Extract<SendDecision, { requestId: string }>

const longestWaitSeconds = 10

export const sendRoute = (deps: ApiDeps, health: HealthView) =>
  route({
    method: 'post',
    path: '/otp/send',
    operationId: 'sendOtp',
    tag: 'OTP',
    summary: 'Send a code',
    description:
      'Starts an OTP request, or repeats the code of the live one for this recipient and purpose. "sent" means that the request is stored and its workflow has started. Retry with the same Idempotency-Key.',
    scope: 'send',
    admission: 'send',
    body: SendBody,
    example: {
      phone_number: '+233241234567',
      channel: 'sms',
      expiry_seconds: 300,
      message: 'Your verification code is {{code}}. It expires in 5 minutes.',
    },
    requestHeaders: {
      'Idempotency-Key':
        'Makes a retry safe for 24 hours: the same key and body get the same request.',
      Prefer: `wait=1 to wait=${longestWaitSeconds}: wait up to that many seconds for a provider’s first answer.`,
    },
    replies: {
      200: {
        description: 'Sent.',
        content: SendAnswer,
        headers: {
          'Idempotent-Replayed': 'true when this key was used before.',
          'Preference-Applied': 'The wait that was applied.',
        },
      },
      202: {
        description:
          'Temporal is down and the app chose to queue: sent as soon as it is back, within the lifetime.',
        content: QueuedAnswer,
      },
    },
    errors: [
      'INVALID_NUMBER',
      'INVALID_EMAIL',
      'INVALID_MESSAGE',
      'INVALID_EXPIRY',
      'CHANNEL_UNAVAILABLE',
      'BLOCKED',
      'IDEMPOTENCY_CONFLICT',
      'IDEMPOTENCY_MISMATCH',
      'RATE_LIMITED',
    ],
    async handle(call) {
      const opened = await open(deps, health, call)
      const status = await startRun(deps, opened, call.key.app)
      wakeRuns(deps, opened.wakes)
      return answer(deps, call, opened, status)
    },
  })

async function open(deps: ApiDeps, health: HealthView, call: KeyCall<SendBody>): Promise<Opened> {
  if (await health.isBacklogged()) {
    throw new Problem('OVERLOADED', {
      retryAfterSeconds: 5,
      detail: 'The workers are behind: a code sent now would come too late. Try again shortly.',
    })
  }
  const decision = await openRequest(deps.db, deps.keyring, await readSend(deps, health, call))
  if (decision.outcome === 'idempotency_mismatch') throw new Problem('IDEMPOTENCY_MISMATCH')
  if (decision.outcome === 'rate_limited') {
    throw new Problem('RATE_LIMITED', { retryAfterSeconds: decision.retryAfterSeconds })
  }
  return decision
}

/** Everything that can be refused without a look at the live request is refused here. */
async function readSend(
  { db, keyring, routing }: ApiDeps,
  health: HealthView,
  { key, body, raw, headers }: KeyCall<SendBody>,
): Promise<SendInput> {
  const { app, environment } = key
  const { country, ...recipient } = readAddress(body, app.defaultCountry)
  if (body.message !== undefined) checkTemplate(body.message)
  const lifetimeSeconds = lifetimeOf(body, app)
  const idempotencyKey = readIdempotencyKey(headers['idempotency-key'])
  const { channel, channels } = body
  const preference: Channel | undefined =
    channel || channels
      ? undefined
      : await findPreference(db, keyring, { appId: app.id, ...recipient })
  const reach: Reach = { environment, unhealthy: await health.unhealthy() }
  const wish = { channels, channel, preference }
  return {
    appId: app.id,
    keyId: key.id,
    environment,
    recipient,
    country,
    purpose: body.purpose ?? 'default',
    locale: body.locale ?? 'en',
    brand: body.brand ?? app.brand,
    risk: body.risk ?? 'normal',
    lifetimeSeconds,
    codeLength: app.codeLength,
    message: body.message,
    metadata: body.metadata,
    ip: body.ip_address,
    consent: body.consent,
    plan: planFor(routing, { kind: recipient.kind, wish, ...reach }),
    explicitStep: channel && !channels ? namedStep(routing, channel, reach) : undefined,
    idempotency: idempotencyKey === undefined ? undefined : { key: idempotencyKey, body: raw },
  }
}

async function answer(
  deps: ApiDeps,
  { headers, signal }: KeyCall<SendBody>,
  opened: Opened,
  status: 'sent' | 'queued',
): Promise<Reply> {
  const replayed: Record<string, string> =
    opened.outcome === 'replayed' ? { 'Idempotent-Replayed': 'true' } : {}
  const body = {
    request_id: opened.requestId,
    channel: opened.channel,
    expires_at: opened.expiresAt.toISOString(),
    resend_after: resendAfterSeconds(opened.sends),
  }
  if (status === 'queued') return { status: 202, body: { status, ...body }, headers: replayed }
  const wait = readWait(headers.prefer, longestWaitSeconds)
  const providerAnswer =
    wait &&
    (await readProviderAnswer(deps, opened.requestId, {
      seconds: wait,
      signal: AbortSignal.any([signal, deps.draining]),
    }))
  return {
    body: {
      status,
      ...body,
      ...(opened.resend && { resend: opened.resend }),
      ...(providerAnswer && { provider_answer: providerAnswer }),
    },
    headers: wait ? { ...replayed, 'Preference-Applied': `wait=${wait}` } : replayed,
  }
}
