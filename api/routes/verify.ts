import { setTimeout as sleep } from 'node:timers/promises'
import { proofOf } from '../../codes/proof'
import { assuranceOf } from '../../core/channel'
import type { Rejection } from '../../core/error-code'
import { type CheckInput, type CheckOutcome, checkCode } from '../../db/verify/checks'
import type { Channel } from '../../core/channel'
import { creditSends } from '../../db/protection/decisions'
import { vouchForDomain } from '../../db/protection/email-domains'
import { openRecipient } from '../../db/recipients/recipients'
import type { Challenges } from '../challenges'
import type { Refusal } from '../challenges/challenge'
import { VerifyAnswer, VerifyBody } from '../contract/verify'
import { type ApiDeps, wakeRuns } from '../deps'
import type { Guessing } from '../guessing'
import { readingFor } from '../number-reading'
import { Problem } from '../problem'
import { anotherRequired, challengeUseOf, invalidChallenge } from '../protection/challenge'
import { readAddress } from '../recipient-address'
import { type KeyCall, route } from '../route'
import { actorOf, ownerOf } from '../send-wish'

const sentenceOf: Record<Rejection, string> = {
  INVALID_CODE: 'This code is not right.',
  EXPIRED: 'This code has expired: send a new one.',
  ALREADY_USED: 'This code was used before: send a new one.',
  NO_ACTIVE_REQUEST: 'No code is waiting to be checked: send one first.',
}

/** All that a publishable key hears of a check that did not succeed, whatever the cause. */
const refusal: VerifyAnswer = {
  status: 'rejected',
  error_code: 'INVALID_CODE',
  message: sentenceOf.INVALID_CODE,
  request_id: null,
  attempts_remaining: 0,
}

export interface VerifyParts {
  challenges: Challenges
  guessing: Guessing
}

export const verifyRoute = (deps: ApiDeps, { challenges, guessing }: VerifyParts) =>
  route({
    method: 'post',
    path: '/otp/verify',
    operationId: 'verifyOtp',
    tag: 'OTP',
    summary: 'Check a code',
    description:
      'Exactly one of phone_number, email and request_id; a publishable key gives request_id, and every refusal looks the same to it. Needs Postgres only: it works while Temporal, the workers or the providers are down.',
    scope: 'verify',
    publishable: true,
    admission: 'verify',
    body: VerifyBody,
    example: { phone_number: '+233241234567', code: '482910' },
    replies: { 200: { description: 'Verified or rejected.', content: VerifyAnswer } },
    errors: [
      'INVALID_NUMBER',
      'INVALID_EMAIL',
      'INVALID_CHALLENGE',
      'CHALLENGE_REQUIRED',
      'LOCKED',
      'TOO_MANY_CHECKS',
      'RATE_LIMITED',
    ],
    async handle(call) {
      const checked = await onTheGrid(() => check(deps, challenges, call))
      // The answer first: what else there is to do would make the time of a check tell what came of it.
      setImmediate(() => {
        if ('wake' in checked) wakeRuns(deps, [checked.wake])
        if (checked.outcome === 'rejected') guessing.noticeWrong()
        if (checked.outcome === 'verified') credit(deps, checked)
      })
      if (checked.outcome === 'busy' || checked.outcome === 'unanswered') throw notChecked(checked)
      if (call.key.publishable) return { body: plainAnswer(deps, checked) }
      if ('challengeFault' in checked) throw await challengeProblem(deps, challenges, call, checked)
      return { body: fullAnswer(checked) }
    },
  })

/** The fraud rules hear that a code came back. Nobody waits for it; what is lost here is made up for within minutes. */
function credit(
  { checksDb, keyring, logger }: ApiDeps,
  { sharedId: requestId, channel }: { sharedId: string; channel: Channel },
): void {
  void creditSends(checksDb, [requestId]).catch((error: unknown) =>
    logger.warn({ err: error, requestId }, 'a code that came back was not counted: it will be'),
  )
  if (channel === 'email')
    void vouchForDomain(checksDb, keyring, requestId).catch((error: unknown) =>
      logger.warn({ err: error, requestId }, 'a domain that a code came back from was not noted'),
    )
}

/**
 * Answers leave at multiples of this after their call came, in milliseconds: a right code takes a fraction of a
 * millisecond longer than a wrong one, which changes more, and that must not be measurable (security reference A13).
 * Most checks fit into the first cell; nobody who types a code notices.
 */
const gridMs = 25

/** Also of what is thrown: no outcome may be told by its time. */
async function onTheGrid<T>(work: () => Promise<T>): Promise<T> {
  const since = performance.now()
  try {
    return await work()
  } finally {
    const taken = performance.now() - since
    await sleep(Math.ceil(taken / gridMs) * gridMs - taken)
  }
}

/** What the providers that made a code have together to say whether it is right, in milliseconds. */
const delegatedPatienceMs = 3_000

/** Hands a code that is not ours to the providers that made one for this request. */
const forwardTo =
  ({ checksDb, keyring, routing, logger }: ApiDeps, code: string): CheckInput['forward'] =>
  async ({ recipientId, codes }) => {
    const to = await openRecipient(checksDb, keyring, recipientId)
    if (to === undefined) return false
    const signal = AbortSignal.timeout(delegatedPatienceMs)
    const answers = await Promise.all(
      codes.map(async ({ provider, channel }) => {
        const check = routing.accounts.get(provider)?.delegated
        const right = await check
          ?.checkCode({ to, code, channel }, signal)
          .catch((error: unknown) => {
            logger.warn({ provider, err: error }, 'a provider did not check the code that it made')
            return undefined
          })
        return { provider, right }
      }),
    )
    if (answers.some(({ right }) => right)) return true
    const silent = answers.filter(({ right }) => right === undefined)
    return silent.length > 0 && { silent: silent.map(({ provider }) => provider) }
  }

/** A challenge was needed, and the one that came is none; `unavailable`: its vendor does not say. */
interface BadChallenge {
  outcome: 'bad_challenge'
  requestId: string
  challengeFault: Refusal | 'unavailable'
}
type Checked = CheckOutcome | BadChallenge

/** A challenge is spent only where the recipient's budget asks for one: a caller may give one with every check. */
async function check(
  deps: ApiDeps,
  challenges: Challenges,
  call: KeyCall<VerifyBody>,
): Promise<Checked> {
  const { checksDb, keyring } = deps
  const { key, body } = call
  const { challenge, code } = body
  const input: CheckInput = {
    ...ownerOf(key),
    by: whichCode(deps, call),
    code,
    actor: actorOf(key),
    forward: forwardTo(deps, code),
  }
  const checked = await checkCode(checksDb, keyring, input)
  if (checked.outcome !== 'held_back' || checked.forGood) return checked
  if (!checked.challengeHelps || challenge === undefined) return checked
  const { requestId } = checked
  const use = challengeUseOf(deps, { app: key.app.id, action: 'verify' })
  const { address } = call.client
  const spent = await challenges.spend(challenge, { ...use, ...(key.publishable && { address }) })
  if (spent.outcome !== 'solved') {
    const challengeFault = spent.outcome === 'refused' ? spent.why : spent.outcome
    return { outcome: 'bad_challenge', requestId, challengeFault }
  }
  return checkCode(checksDb, keyring, { ...input, solvedChallenge: true })
}

function whichCode(deps: ApiDeps, { key, body }: KeyCall<VerifyBody>): CheckInput['by'] {
  const { request_id: requestId, phone_number, email, purpose } = body
  if (key.publishable && (requestId === undefined || purpose !== undefined))
    throw new Problem('INVALID_REQUEST', {
      detail: 'A publishable key gives request_id and code, and challenge where it has one.',
    })
  if (key.publishable && requestId !== undefined) return { requestId, isPage: true }
  if (requestId === undefined) {
    const { kind, value } = readAddress({ phone_number, email }, readingFor(deps, key.app))
    return { kind, value, purpose: purpose ?? 'default' }
  }
  return { requestId, purpose }
}

const verifiedAnswer = ({
  requestId,
  channel,
  isTest,
}: Extract<CheckOutcome, { outcome: 'verified' }>) => ({
  status: 'verified' as const,
  request_id: requestId,
  assurance: assuranceOf({ channel, isTest }),
  ...(isTest && { test: true as const }),
})

function plainAnswer({ keyring }: ApiDeps, checked: Exclude<Checked, NotChecked>): VerifyAnswer {
  if (checked.outcome !== 'verified') return refusal
  return { ...verifiedAnswer(checked), proof: proofOf(keyring, checked.requestId) }
}

function challengeProblem(
  deps: ApiDeps,
  challenges: Challenges,
  { key }: KeyCall<VerifyBody>,
  { requestId, challengeFault: why }: BadChallenge,
): Promise<Problem> {
  const use = challengeUseOf(deps, { app: key.app.id, action: 'verify' })
  return why === 'unavailable'
    ? anotherRequired(challenges, use, { requestId })
    : invalidChallenge(challenges, use, { key, why, requestId })
}

type NotChecked = Extract<Checked, { outcome: 'busy' | 'unanswered' }>

function notChecked({ outcome, requestId }: NotChecked): Problem {
  if (outcome === 'busy')
    return new Problem('OVERLOADED', {
      requestId,
      retryAfterSeconds: 1,
      detail: 'Another code for this request is being checked right now. Try again.',
    })
  return new Problem('SERVICE_UNAVAILABLE', {
    requestId,
    retryAfterSeconds: 2,
    detail:
      'The provider that made this code does not answer, and has as many checks of it left: try again.',
  })
}

/** @throws {Problem} when this code, or the recipient's budget, takes no more checks. */
function fullAnswer(checked: Exclude<Checked, NotChecked | BadChallenge>): VerifyAnswer {
  if (checked.outcome === 'verified') return verifiedAnswer(checked)
  if (checked.outcome !== 'rejected') throw problemOf(checked)
  return {
    status: 'rejected',
    error_code: checked.errorCode,
    message: sentenceOf[checked.errorCode],
    request_id: checked.requestId ?? null,
    attempts_remaining: checked.attemptsRemaining,
  }
}

function problemOf(checked: Extract<Checked, { outcome: 'locked' | 'held_back' }>): Problem {
  const { requestId } = checked
  if (checked.outcome === 'locked')
    return new Problem('LOCKED', { requestId, action: 'send_again' })
  const action = 'solve_challenge'
  const { forGood, challengeHelps, retryAfterSeconds } = checked
  if (!forGood && challengeHelps)
    return new Problem('TOO_MANY_CHECKS', { requestId, action, retryAfterSeconds })
  if (!forGood)
    return new Problem('TOO_MANY_CHECKS', {
      requestId,
      retryAfterSeconds,
      detail: 'Too many wrong codes for this recipient in a day: no challenge helps, wait.',
    })
  return new Problem('LOCKED', {
    requestId,
    action: 'contact_support',
    detail: 'Too many wrong codes for this recipient: an operator has to unlock it.',
  })
}
