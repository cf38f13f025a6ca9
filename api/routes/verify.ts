import type { Rejection } from '../../core/error-code'
import { checkCode } from '../../db/checks'
import { VerifyAnswer, VerifyBody } from '../contract/verify'
import { type ApiDeps, wakeRuns } from '../deps'
import { Problem } from '../problem'
import { readAddress } from '../recipient-address'
import { type KeyCall, route } from '../route'
import { actorOf, ownerOf } from '../send-wish'

const sentenceOf: Record<Rejection, string> = {
  INVALID_CODE: 'This code is not right.',
  EXPIRED: 'This code has expired: send a new one.',
  ALREADY_USED: 'This code was used before: send a new one.',
  NO_ACTIVE_REQUEST: 'No code is waiting to be checked: send one first.',
}

export const verifyRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/otp/verify',
    operationId: 'verifyOtp',
    tag: 'OTP',
    summary: 'Check a code',
    description:
      'Exactly one of phone_number, email and request_id. Needs Postgres only: it works while Temporal, the workers or the providers are down.',
    scope: 'verify',
    admission: 'verify',
    body: VerifyBody,
    example: { phone_number: '+233241234567', code: '482910' },
    replies: { 200: { description: 'Verified or rejected.', content: VerifyAnswer } },
    errors: ['INVALID_NUMBER', 'INVALID_EMAIL', 'LOCKED'],
    async handle(call) {
      const { key, body } = call
      const check = { ...ownerOf(key), by: whichCode(call), code: body.code, actor: actorOf(key) }
      const checked = await checkCode(deps.checksDb, deps.keyring, check)
      if (checked.outcome === 'locked') {
        throw new Problem('LOCKED', { requestId: checked.requestId, action: 'send_again' })
      }
      wakeRuns(deps, [checked.wake])
      return { body: answerOf(checked) }
    },
  })

function whichCode({ key, body }: KeyCall<VerifyBody>) {
  const { request_id: requestId, phone_number, email, purpose } = body
  if (requestId === undefined) {
    const { kind, value } = readAddress({ phone_number, email }, key.app.defaultCountry)
    return { kind, value, purpose: purpose ?? 'default' }
  }
  if (phone_number === undefined && email === undefined) return { requestId, purpose }
  throw new Problem('INVALID_REQUEST', {
    detail: 'Give exactly one of phone_number, email and request_id.',
  })
}

type Checked = Exclude<Awaited<ReturnType<typeof checkCode>>, { outcome: 'locked' }>

function answerOf(checked: Checked): VerifyAnswer {
  if (checked.outcome === 'verified') return { status: 'verified', request_id: checked.requestId }
  return {
    status: 'rejected',
    error_code: checked.errorCode,
    message: sentenceOf[checked.errorCode],
    request_id: checked.requestId ?? null,
    attempts_remaining: checked.attemptsRemaining,
  }
}
