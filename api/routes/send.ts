import { randomId } from '../../codes/random-id'
import { resendAfterSeconds } from '../../core/limits'
import { publishablePurpose } from '../../core/requests/page-request'
import { shareOf } from '../../core/routing/share'
import type { Channel } from '../../core/channel'
import { findPreference } from '../../db/recipients/preferences'
import type { SendInput } from '../../db/requests/new-request'
import { openRequest, type SendDecision } from '../../db/requests/sends'
import { dialStringsOf } from '../../providers/dial-strings'
import type { Challenges } from '../challenges'
import { publishableSendFields, QueuedAnswer, SendAnswer, SendBody } from '../contract/send'
import { type ApiDeps, wakeRuns } from '../deps'
import type { RouteWish } from '../plan-for'
import { shapeOf } from '../send-shape'
import { startRun } from '../start-run'
import { readingFor } from '../number-reading'
import { Problem } from '../problem'
import { protectSend, refusedBy } from '../protection'
import { challengeRequired, challengeUseOf } from '../protection/challenge'
import type { HookChanges, Hooks } from '../protection/hook'
import { limitedBy, warningsOf } from '../protection/limits'
import { moneyFor, overBudget } from '../protection/money'
import { checkNumber } from '../protection/number'
import { readProviderAnswer } from '../provider-answer'
import { readAddress, type RecipientAddress } from '../recipient-address'
import { type KeyCall, type Reply, route } from '../route'
import { checkTemplate, consentOf, readIdempotencyKey, readWait } from '../send-wish'
import { routingOfTests } from '../test-routing'
import type { Guessing } from '../guessing'
import { type HealthView, healthOf } from '../health-view'

type Opened = Extract<SendDecision, { requestId: string }>

const longestWaitSeconds = 10
/** A send is answered in less than 2 s (docs/decisions/010): what Postgres took of it the start of the run cannot have. */
const startWithinMs = (takenMs: number): number => Math.min(Math.max(1_700 - takenMs, 300), 1_500)
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
  'BUDGET_EXCEEDED',
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
  hooks: Hooks
}

export const sendRoute = (deps: ApiDeps, parts: SendParts) =>
  route({
    method: 'post',
    path: '/otp/send',
    operationId: 'sendOtp',
    tag: 'OTP',
    summary: 'Send a code',
    description:
      'Starts an OTP request, or repeats the code of the live one for this recipient and purpose. "sent" means that the request is stored and its workflow has started. Retry with the same Idempotency-Key. Publishable keys give phone_number, channel, locale and a solved challenge, nothing else; other keys need one only after CHALLENGE_REQUIRED.',
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
      if (call.key.publishable) await requirePublishable(deps, parts, call)
      const input = await prepare(deps, parts, call)
      call.begun?.()
      const begunAt = performance.now()
      const opened = await open(deps, parts, call, input)
      const withinMs = startWithinMs(performance.now() - begunAt)
      const status = await startRun(deps, opened, call.key.app, withinMs)
      wakeRuns(deps, opened.wakes)
      call.settled?.()
      return answer(deps, call, opened, status)
    },
  })

/** @throws {Problem} for what only a secret key may say, and without a challenge. */
async function requirePublishable(
  deps: ApiDeps,
  { challenges }: SendParts,
  { key, body }: KeyCall<SendBody>,
): Promise<void> {
  const errors = Object.keys(body)
    .filter((field) => !publishableSendFields.includes(field))
    .map((field) => ({ field, message: 'not with a publishable key' }))
  const { pageChannels } = key.app
  // A stranger chooses: without this setting the dearest one.
  if (body.channel && pageChannels && !pageChannels.includes(body.channel))
    errors.push({ field: 'channel', message: 'is not one that pages of this app may name' })
  const [first] = errors
  if (first)
    throw new Problem('INVALID_REQUEST', { detail: `${first.field}: ${first.message}.`, errors })
  if (body.challenge !== undefined) return
  const use = challengeUseOf(deps, { app: key.app.id, action: 'send' })
  throw await challengeRequired(challenges, use)
}

async function prepare(
  deps: ApiDeps,
  parts: SendParts,
  call: KeyCall<SendBody>,
): Promise<SendInput> {
  const { app, environment } = call.key
  if (await parts.health.isBacklogged({ appId: app.id, environment })) {
    throw new Problem('OVERLOADED', {
      retryAfterSeconds: 5,
      detail: 'The workers are behind: a code sent now would come too late. Try again shortly.',
    })
  }
  return readSend(deps, parts, call)
}

async function open(
  deps: ApiDeps,
  { challenges }: SendParts,
  { key }: KeyCall<SendBody>,
  input: SendInput,
): Promise<Opened> {
  const decision = await openRequest(deps.db, deps.keyring, input)
  if (decision.outcome === 'idempotency_mismatch') throw new Problem('IDEMPOTENCY_MISMATCH')
  if (decision.outcome === 'opted_out') {
    // That there was a consent to withdraw is not for strangers.
    throw new Problem('BLOCKED', key.publishable ? {} : { detail: optedOut })
  }
  if (decision.outcome === 'rate_limited') throw limitedBy(decision, key)
  if (decision.outcome === 'protected') {
    const { country, recipient } = input
    const asked = { app: key.app.id, action: 'send' as const, country, recipient: recipient.value }
    throw await refusedBy(decision, key, { challenges, use: challengeUseOf(deps, asked) })
  }
  if (decision.outcome === 'over_budget') throw overBudget(decision, key)
  return decision
}

/** Everything that can be refused without a look at the live request is refused here. */
async function readSend(
  deps: ApiDeps,
  { health, challenges, guessing, hooks }: SendParts,
  call: KeyCall<SendBody>,
): Promise<SendInput> {
  const { key, body, raw, headers } = call
  const { routing } = deps
  const { app, environment } = key
  const address = readAddress(body, readingFor(deps, app))
  const { country, kind, value } = address
  const recipient = { kind, value }
  if (body.message !== undefined) checkTemplate(body.message)
  // Names chosen by strangers must not meet those of the app's back end; a challenge is single use anyway.
  const idempotencyKey = key.publishable
    ? undefined
    : readIdempotencyKey(headers['idempotency-key'])
  const requestId = randomId('otp')
  const purpose = key.publishable ? publishablePurpose : (body.purpose ?? 'default')
  const wish = await wishOf(deps, call, { requestId, address, ...(await healthOf(health)) })
  const checked = await checkNumber(deps, call, { requestId, ...address })
  const { fixedCode } = checked
  const routes = fixedCode === undefined ? routing : routingOfTests(routing, key)
  const shape = (changes?: HookChanges) => shapeOf(routes, { body, app, country, wish }, changes)
  // Before anybody is asked about it: it may be nothing that can be sent.
  const planned = shape()
  const money = moneyFor(routes, { app: app.id, country, ...recipient })
  const { changes, ...protection } = await protectSend({ ...deps, routing: routes }, call, {
    address,
    checked,
    challenges,
    hooks,
    hooked: { requestId, recipient, country, purpose, shape, idempotencyKey },
    money,
    plan: planned.plan,
  })
  return {
    ...(changes ? shape(changes) : planned),
    requestId,
    ...(key.publishable && { pageId: randomId('otp') }),
    appId: app.id,
    keyId: key.id,
    environment,
    recipient,
    country,
    purpose,
    brand: body.brand ?? app.brand,
    codes:
      fixedCode === undefined
        ? { kind: 'derived', length: await guessing.codeLength(app, environment) }
        : { kind: 'fixed', code: fixedCode },
    codeAlphabet: app.codeAlphabet,
    message: body.message,
    metadata: body.metadata,
    ip: body.ip_address,
    consent: consentOf(body, app),
    dialStrings: dialStringsOf(routes.accounts),
    protection,
    money,
    idempotency: idempotencyKey === undefined ? undefined : { key: idempotencyKey, body: raw },
  }
}

/** What the call says about its route, but for the risk. */
async function wishOf(
  { db, keyring }: ApiDeps,
  { key, body: { channel, channels } }: KeyCall<SendBody>,
  {
    requestId,
    address: { kind, value, country },
    ...health
  }: { requestId: string; address: RecipientAddress } & Awaited<ReturnType<typeof healthOf>>,
): Promise<Omit<RouteWish, 'risk'>> {
  const { app, environment } = key
  const preference: Channel | undefined =
    // The channel is in the answer: a stored one would tell strangers that this number is known.
    channel || channels || key.publishable
      ? undefined
      : await findPreference(db, keyring, { appId: app.id, environment, kind, value })
  return {
    kind,
    wish: { channels, channel, preference },
    country,
    ...(kind === 'phone' && { number: value }),
    app: app.id,
    environment,
    region: app.region,
    ...health,
    share: shareOf(requestId),
    isPublic: key.publishable,
  }
}

async function answer(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  opened: Opened,
  status: 'sent' | 'queued',
): Promise<Reply> {
  const { key, headers, signal } = call
  const replayed: Record<string, string> =
    opened.outcome === 'replayed' ? { 'Idempotent-Replayed': 'true' } : {}
  const body = {
    request_id: opened.pageId ?? opened.requestId,
    channel: opened.channel,
    expires_at: opened.expiresAt.toISOString(),
    resend_after: opened.pauseSeconds ?? resendAfterSeconds(opened.sends),
    ...(opened.instruction !== null && { instruction: opened.instruction }),
  }
  if (status === 'queued') return { status: 202, body: { status, ...body }, headers: replayed }
  // No word on whether a request was live, nor on what a provider knows of the number: that is not for strangers. What
  // the fields above show all the same, the channel in progress too, is of requests of publishable keys alone.
  if (key.publishable)
    return { body: { status, ...body, ...(opened.isJoined && { resend: opened.resend }) } }
  const warnings = warningsOf(deps, call, opened.country)
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
      ...(warnings.length > 0 && { warnings }),
    },
    headers: wait ? { ...replayed, 'Preference-Applied': `wait=${wait}` } : replayed,
  }
}
