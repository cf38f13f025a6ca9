import { randomId } from '../../codes/random-id'
import { resendAfterSeconds } from '../../core/limits'
import { shareOf } from '../../core/routing/share'
import type { Channel } from '../../core/channel'
import { canonicalLocale, localeOfCountry } from '../../core/message/locale'
import { findPreference } from '../../db/recipients/preferences'
import type { SendInput } from '../../db/requests/new-request'
import { openRequest, type SendDecision } from '../../db/requests/sends'
import { dialStringsOf } from '../../providers/dial-strings'
import type { Challenges } from '../challenge'
import {
  publishablePurpose,
  publishableSendFields,
  QueuedAnswer,
  SendAnswer,
  SendBody,
} from '../contract/send'
import { type ApiDeps, wakeRuns } from '../deps'
import { startRun } from '../start-run'
import { type RouteWish, namedStep, planFor } from '../plan-for'
import { Problem } from '../problem'
import { protectSend, refusedBy } from '../protection'
import { readProviderAnswer } from '../provider-answer'
import { readAddress } from '../recipient-address'
import { type KeyCall, type Reply, route } from '../route'
import { checkTemplate, consentOf, lifetimeOf, readIdempotencyKey, readWait } from '../send-wish'
import type { Guessing } from '../guessing'
import { type HealthView, healthOf } from '../health-view'

type Opened = Extract<SendDecision, { requestId: string }>

const longestWaitSeconds = 10
const errors = [
  'INVALID_NUMBER',
  'INVALID_EMAIL',
  'INVALID_MESSAGE',
  'INVALID_EXPIRY',
  'CHANNEL_UNAVAILABLE',
  'CONSENT_REQUIRED',
  'BLOCKED',
  'IDEMPOTENCY_CONFLICT',
  'IDEMPOTENCY_MISMATCH',
  'RATE_LIMITED',
  'CHALLENGE_REQUIRED',
  'INVALID_CHALLENGE',
] as const
const optedOut =
  'This recipient withdrew their consent. Sends are possible again with a consent whose given_at is later than that.'

/** What a send asks beside the database. */
export interface SendParts {
  health: HealthView
  challenges: Challenges
  guessing: Guessing
}

export const sendRoute = (deps: ApiDeps, parts: SendParts) =>
  route({
    method: 'post',
    path: '/otp/send',
    operationId: 'sendOtp',
    tag: 'OTP',
    summary: 'Send a code',
    description:
      'Starts an OTP request, or repeats the code of the live one for this recipient and purpose. "sent" means that the request is stored and its workflow has started. Retry with the same Idempotency-Key. Publishable keys give phone_number, channel, locale and a solved challenge, nothing else.',
    scope: 'send',
    publishable: true,
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
    errors,
    async handle(call) {
      if (call.key.publishable) requirePublishable(call.body)
      else refusePurposeOfPages(call.body)
      const opened = await open(deps, parts, call)
      const status = await startRun(deps, opened, call.key.app)
      wakeRuns(deps, opened.wakes)
      return answer(deps, call, opened, status)
    },
  })

/** @throws {Problem} for what only a secret key may say, and without a challenge. */
function requirePublishable(body: SendBody): void {
  const errors = Object.keys(body)
    .filter((field) => !publishableSendFields.includes(field))
    .map((field) => ({ field, message: 'not with a publishable key' }))
  const [first] = errors
  if (first)
    throw new Problem('INVALID_REQUEST', { detail: `${first.field}: ${first.message}.`, errors })
  if (body.challenge === undefined)
    throw new Problem('CHALLENGE_REQUIRED', { action: 'solve_challenge' })
}

/** @throws {Problem} where a back end would share its request with whoever calls with a publishable key. */
function refusePurposeOfPages({ purpose: field }: SendBody): void {
  if (field !== publishablePurpose) return
  const message = 'is that of publishable keys: choose another'
  throw new Problem('INVALID_REQUEST', {
    detail: `purpose: ${message}.`,
    errors: [{ field: 'purpose', message }],
  })
}

async function open(deps: ApiDeps, parts: SendParts, call: KeyCall<SendBody>): Promise<Opened> {
  const { health, challenges } = parts
  if (await health.isBacklogged()) {
    throw new Problem('OVERLOADED', {
      retryAfterSeconds: 5,
      detail: 'The workers are behind: a code sent now would come too late. Try again shortly.',
    })
  }
  const input = await readSend(deps, parts, call)
  const { key, body } = call
  // Last of all that can refuse: a mistyped number must not cost its owner another challenge.
  if (key.publishable && !(await challenges.spend(key.app.id, body.challenge ?? '')))
    throw new Problem('INVALID_CHALLENGE', { action: 'solve_challenge' })
  const decision = await openRequest(deps.db, deps.keyring, input)
  if (decision.outcome === 'idempotency_mismatch') throw new Problem('IDEMPOTENCY_MISMATCH')
  if (decision.outcome === 'opted_out') {
    // That there was a consent to withdraw is not for strangers.
    throw new Problem('BLOCKED', key.publishable ? {} : { detail: optedOut })
  }
  if (decision.outcome === 'rate_limited') {
    throw new Problem('RATE_LIMITED', { retryAfterSeconds: decision.retryAfterSeconds })
  }
  if (decision.outcome === 'protected') throw refusedBy(decision, key)
  return decision
}

/** Everything that can be refused without a look at the live request is refused here. */
async function readSend(
  deps: ApiDeps,
  { health, guessing }: SendParts,
  call: KeyCall<SendBody>,
): Promise<SendInput> {
  const { key, body, raw, headers } = call
  const { db, keyring, routing } = deps
  const { app, environment } = key
  const { country, ...recipient } = readAddress(body, app.defaultCountry)
  if (body.message !== undefined) checkTemplate(body.message)
  const lifetimeSeconds = lifetimeOf(body, app)
  // Names chosen by strangers must not meet those of the app's back end; a challenge is single use anyway.
  const idempotencyKey = key.publishable
    ? undefined
    : readIdempotencyKey(headers['idempotency-key'])
  const { channel, channels } = body
  const preference: Channel | undefined =
    // The channel is in the answer: a stored one would tell strangers that this number is known.
    channel || channels || key.publishable
      ? undefined
      : await findPreference(db, keyring, { appId: app.id, ...recipient })
  const requestId = randomId('otp')
  const wish: RouteWish = {
    kind: recipient.kind,
    wish: { channels, channel, preference },
    country,
    ...(recipient.kind === 'phone' && { number: recipient.value }),
    risk: body.risk ?? 'normal',
    app: app.id,
    environment,
    region: app.region,
    ...(await healthOf(health)),
    share: shareOf(requestId),
    isPublic: key.publishable,
  }
  return {
    requestId,
    appId: app.id,
    keyId: key.id,
    environment,
    recipient,
    country,
    purpose: key.publishable ? publishablePurpose : (body.purpose ?? 'default'),
    locale: body.locale
      ? canonicalLocale(body.locale)
      : localeOfCountry(country ?? app.defaultCountry),
    brand: body.brand ?? app.brand,
    risk: wish.risk,
    lifetimeSeconds,
    codeLength: await guessing.codeLength(app, environment),
    codeAlphabet: app.codeAlphabet,
    message: body.message,
    metadata: body.metadata,
    ip: body.ip_address,
    consent: consentOf(body, app),
    plan: planFor(routing, wish),
    explicitStep: channel && !channels ? namedStep(routing, channel, wish) : undefined,
    dialStrings: dialStringsOf(routing.accounts),
    protection: await protectSend(deps, call, { country }),
    idempotency: idempotencyKey === undefined ? undefined : { key: idempotencyKey, body: raw },
  }
}

async function answer(
  deps: ApiDeps,
  { key, headers, signal }: KeyCall<SendBody>,
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
    ...(opened.instruction !== null && { instruction: opened.instruction }),
  }
  if (status === 'queued') return { status: 202, body: { status, ...body }, headers: replayed }
  // No word on whether a request was live, nor on what a provider knows of the number: that is not for strangers. What
  // the fields above show all the same, the channel in progress too, is of requests of publishable keys alone.
  if (key.publishable) return { body: { status, ...body } }
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
