import { scopeDigest } from '../../codes/scope-digest'
import {
  protectionOf,
  type ProtectionSettings,
  type RateLimit,
  usualDomainCap,
  usualMessageCap,
} from '../../core/protection/protection'
import { ipv6SiteShare } from '../../core/limits'
import type { Limited, SendLimitKind, SendLimits } from '../../db/protection/limits'
import { type Client, siteOf } from '../client-address'
import type { SendBody } from '../contract/send'
import type { ApiDeps } from '../deps'
import { Problem } from '../problem'
import type { AppKey, KeyCall } from '../route'
import { endUserOf, isAtHome } from './end-user'

/** The keyed digests of what the caller gave in `rate_limit_keys`, by name. */
export const limitKeysOf = (
  { keyring }: Pick<ApiDeps, 'keyring'>,
  { body }: KeyCall<SendBody>,
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(body.rate_limit_keys ?? {}).map(([name, value]) => [
      name,
      scopeDigest(keyring, `key/${name}`, value),
    ]),
  )

/** The limits that a send has to meet. Whoever tries the service on their own machine meets none of their address. */
export function limitsOf(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  { limits }: ProtectionSettings,
): SendLimits {
  const user = isAtHome(deps, call) ? undefined : endUserOf(call)
  return {
    recipient: limits.recipient,
    messages: deps.routing.policy.protection?.messageCap ?? usualMessageCap,
    domain: deps.routing.policy.protection?.domainCap ?? usualDomainCap,
    ip: user && networksOf(deps, user, limits.ip),
    keys: Object.entries(limitKeysOf(deps, call)).map(([name, digest]) => ({
      name,
      digest,
      limits: limits.keys[name] ?? [],
    })),
    isPaced: call.key.publishable,
  }
}

/** The end user's line, and the /48 that an IPv6 one is in, which may have more. */
function networksOf(
  { keyring }: Pick<ApiDeps, 'keyring'>,
  user: Client,
  limits: readonly RateLimit[],
): SendLimits['ip'] {
  const site = siteOf(user)
  const wider = limits.map(({ max, seconds }) => ({ max: max * ipv6SiteShare, seconds }))
  return [
    { digest: scopeDigest(keyring, 'ip', user.network), limits },
    ...(site === undefined ? [] : [{ digest: scopeDigest(keyring, 'ip', site), limits: wider }]),
  ]
}

/**
 * What a back end owes a send, by the policy of its app.
 * @throws {Problem} INVALID_REQUEST for a name that the policy has no limit for, and for an end user it does not tell.
 */
export function checkDuties(
  { limits, ipAddress }: ProtectionSettings,
  { key, body }: KeyCall<SendBody>,
): void {
  const known = Object.keys(limits.keys)
  for (const name of Object.keys(body.rate_limit_keys ?? {})) {
    if (known.includes(name)) continue
    const names = known.length > 0 ? `it has ${known.join(', ')}` : 'it has none'
    throw refusalOf(
      `rate_limit_keys.${name}`,
      `the policy has no limit of this name for this app; ${names}`,
    )
  }
  if (ipAddress === 'required' && !key.publishable && body.ip_address === undefined)
    throw refusalOf('ip_address', 'is required for this app: the end user’s address')
}

const refusalOf = (field: string, message: string) =>
  new Problem('INVALID_REQUEST', {
    detail: `${field}: ${message}.`,
    errors: [{ field, message }],
  })

/** What a caller should know of a send that was taken all the same. Nobody is warned on their own machine. */
export function warningsOf(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  country: string | null,
): { code: 'IP_ADDRESS_MISSING'; message: string }[] {
  const { ipAddress } = protectionOf(deps.routing.policy, { app: call.key.app.id, country })
  if (ipAddress !== 'warn' || endUserOf(call) || isAtHome(deps, call)) return []
  return [
    {
      code: 'IP_ADDRESS_MISSING',
      message:
        'ip_address is missing: without the end user’s address neither its limits nor the fraud rules can tell one user from another.',
    },
  ]
}

const sentences: Record<Exclude<SendLimitKind, 'key'>, string> = {
  recipient: 'Too many sends to this recipient.',
  messages: 'Too many messages to this recipient.',
  domain:
    'Too many sends to addresses of this e-mail domain, from which no code has come back within 30 days.',
  ip: 'Too many sends for this ip_address. A solved challenge lets the next one pass.',
  pacing: 'Too soon after the last send to this recipient.',
}

/** The answer to a send that a limit has no room for. Which one it was is for the app, not for strangers. */
export function limitedBy(
  { limit, key: name = '', retryAfterSeconds }: Limited,
  key: AppKey,
  requestId?: string,
): Problem {
  const detail = limit === 'key' ? `Too many sends for this value of ${name}.` : sentences[limit]
  return new Problem('RATE_LIMITED', {
    retryAfterSeconds,
    ...(requestId !== undefined && { requestId }),
    ...(!key.publishable && { detail }),
    ...(limit === 'ip' && { action: 'solve_challenge' }),
  })
}
