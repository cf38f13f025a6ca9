import { scopeDigest } from '../../codes/scope-digest'
import { modeFor, protectionOf } from '../../core/abuse/protection'
import type { Guarded } from '../../db/abuse/guard'
import type { SendProtection } from '../../db/requests/new-request'
import type { SendBody } from '../contract/send'
import type { ApiDeps } from '../deps'
import { Problem } from '../problem'
import type { AppKey, KeyCall } from '../route'
import { endUserOf, isAtHome } from './end-user'

/** How a send is protected: what the policy says for its app and country, and who its end user is. */
export async function protectSend(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { country }: { country: string | null },
): Promise<SendProtection> {
  const { app, environment } = call.key
  const settings = protectionOf(deps.routing.policy, { app: app.id, country })
  const user = endUserOf(call)
  return {
    mode: modeFor(settings, environment),
    rules: settings.rules,
    isTrusted: isAtHome(deps, call),
    isSolved: call.key.publishable,
    ...(user && { ip: scopeDigest(deps.keyring, 'ip', user.network) }),
  }
}

/** The answer to a send that the fraud rules refuse. Which rule it was is for the app, not for strangers. */
export function refusedBy({ verdict, findings }: Guarded, key: AppKey): Problem {
  if (verdict === 'challenge')
    return new Problem('CHALLENGE_REQUIRED', { action: 'solve_challenge' })
  const rules = [...new Set(findings.map(({ rule, scope }) => `${rule} (${scope})`))].join(', ')
  return new Problem(
    'BLOCKED',
    key.publishable ? {} : { detail: `Refused by the fraud rules: ${rules}.` },
  )
}
