import { scopeDigest } from '../../codes/scope-digest'
import type { RequestMoney } from '../../core/spending/money'
import { reachesNobody } from '../../core/protection/number'
import { modeFor, protectionOf } from '../../core/protection/protection'
import type { Plan } from '../../core/requests/plan'
import type { Guarded } from '../../db/protection/guard'
import { isOverLimits } from '../../db/protection/limits'
import { shortageOf } from '../../db/spending/spending'
import type { Challenges } from '../challenges'
import type { ChallengeUse } from '../challenges/challenge'
import { findRecipient } from '../../db/recipients/recipients'
import type { Refusal, SendProtection } from '../../db/requests/new-request'
import type { SendBody } from '../contract/send'
import type { ApiDeps } from '../deps'
import { Problem } from '../problem'
import type { RecipientAddress } from '../recipient-address'
import type { AppKey, KeyCall } from '../route'
import type { Met } from './carrier'
import { challengeRequired, challengeUseOf, spendGiven } from './challenge'
import { endUserOf, isAtHome } from './end-user'
import type { HookChanges, HookedSend, Hooks } from './hook'
import { checkDuties, limitKeysOf, limitsOf } from './limits'
import { type CheckedNumber, checkLine, rulesFor } from './number'

/** How a send is protected: what the policy says for its app and country, and who its end user is. */
export async function protectSend(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  {
    address,
    checked,
    challenges,
    hooks,
    hooked,
    money,
    plan,
  }: {
    address: RecipientAddress
    checked: CheckedNumber
    challenges: Challenges
    hooks: Hooks
    hooked: Omit<HookedSend, 'mode'>
    money: RequestMoney | undefined
    plan: Plan
  },
): Promise<SendProtection & { changes: HookChanges | undefined }> {
  const { app, environment } = call.key
  const { country, value: recipient } = address
  const { requestId } = hooked
  const settings = protectionOf(deps.routing.policy, { app: app.id, country })
  checkDuties(settings, call)
  const user = endUserOf(call)
  const use = challengeUseOf(deps, { app: app.id, action: 'send', country, recipient })
  // Before anybody outside is asked: a made-up one must cost neither a look-up nor a call of the app's hook.
  const isSolved = await spendGiven(deps, challenges, call, use)
  const mode = modeFor(settings, environment)
  const met = {
    mode,
    rules: rulesFor(settings, call.body.risk),
    isTrusted: checked.isTrusted || isAtHome(deps, call),
    isSolved,
    isPublic: call.key.publishable,
    ...(user && { ip: scopeDigest(deps.keyring, 'ip', user.network) }),
    keys: limitKeysOf(deps, call),
    limits: limitsOf(deps, call, settings),
  }
  const ahead = lookAhead(deps, call, { ...address, met, money, plan })
  const asking = { met, money, foreseen: ahead.ask }
  const signals = await checkLine(deps, call, { ...address, requestId, checked, ...asking })
  const { changes, needsChallenge } = await hooks.ask(call, { ...hooked, mode }, ahead.ask)
  if (needsChallenge && !isSolved) throw await challengeRequired(challenges, use)
  return {
    ...met,
    refused: ahead.found(),
    changes,
    rules: rulesFor(settings, changes?.risk ?? call.body.risk),
    signals,
  }
}

/**
 * Asks once, if at all, whether a budget or a limit has no room for the send, before anybody outside is asked about it.
 * What was found then stands, see `SendProtection.refused`: else who is lucky would be asked about by nobody.
 */
function lookAhead(
  { db, keyring }: ApiDeps,
  { key: { app, environment } }: KeyCall<SendBody>,
  {
    kind,
    value,
    met: { isSolved, limits },
    money,
    plan,
  }: Pick<RecipientAddress, 'kind' | 'value'> & {
    met: Met
    money: RequestMoney | undefined
    plan: Plan
  },
) {
  let asked: Promise<Refusal | undefined> | undefined
  let found: Refusal | undefined
  const owner = { appId: app.id, environment }
  async function ask(): Promise<Refusal | undefined> {
    const shortage = await shortageOf(db, { owner, money, plan })
    if (shortage) return { outcome: 'over_budget', ...shortage }
    const known = await findRecipient(db, keyring, { appId: app.id, kind, value })
    const isFull = await isOverLimits(db, keyring, {
      ...{ app: app.id, environment, recipientId: known?.id ?? '' },
      ...(kind === 'email' ? { email: value } : !reachesNobody(plan) && { number: value }),
      limits: { ...limits, ...(isSolved && { ip: undefined }) },
    })
    return isFull
      ? { outcome: 'rate_limited', limit: 'recipient', retryAfterSeconds: 1 }
      : undefined
  }
  return {
    ask: async () => (found = await (asked ??= ask())),
    found: () => found,
  }
}

/** The answer to a send that the fraud rules refuse. Which rule it was is for the app, not for strangers. */
export async function refusedBy(
  { verdict, findings }: Guarded,
  key: AppKey,
  { challenges, use }: { challenges: Challenges; use: ChallengeUse },
): Promise<Problem> {
  if (verdict === 'challenge') return challengeRequired(challenges, use)
  return new Problem('BLOCKED', key.publishable ? {} : { detail: sentenceOf(findings) })
}

const sentenceOf = (findings: Guarded['findings']): string => {
  const rules = [...new Set(findings.map(({ rule, scope }) => `${rule} (${scope})`))].join(', ')
  return `Refused by the fraud rules: ${rules}.`
}

/** The answer to a resend that they refuse, which only a secret key hears: it takes no challenge, but a send does. */
export const resendRefusedBy = ({ verdict, findings }: Guarded, requestId: string): Problem =>
  verdict === 'challenge'
    ? new Problem('CHALLENGE_REQUIRED', {
        requestId,
        action: 'solve_challenge',
        detail:
          'Neither a resend nor the next channel takes a challenge: POST /otp/send with a solved one repeats the same code.',
      })
    : new Problem('BLOCKED', { requestId, detail: sentenceOf(findings) })
