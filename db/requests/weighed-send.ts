import { reachesNobody } from '../../core/protection/number'
import type { GuardedSend } from '../protection/guard'
import type { LimitedSend } from '../protection/limits'
import type { SendInput } from './new-request'

/** The send as the rules see it, for the request that it makes or repeats. */
export const guardedSend = (
  { protection, recipient, ...input }: SendInput,
  { recipientId, isKnown, requestId }: { recipientId: string; isKnown: boolean; requestId: string },
): GuardedSend => ({
  ...protection,
  app: input.appId,
  environment: input.environment,
  country: input.country,
  number: recipient.kind === 'phone' ? recipient.value : undefined,
  requestId,
  recipientId,
  lifetimeSeconds: input.lifetimeSeconds,
  reachesNobody: reachesNobody(input.plan),
  // A stranger must not learn from a block who is known.
  isKnown: isKnown && !protection.isPublic,
})

/** The send as the limits see it: a solved challenge stands for the end user's address. */
export const limitedSend = (
  { protection, recipient, appId, environment, plan }: SendInput,
  recipientId: string,
): LimitedSend => ({
  app: appId,
  environment,
  recipientId,
  number: recipient.kind === 'phone' && !reachesNobody(plan) ? recipient.value : undefined,
  email: recipient.kind === 'email' ? recipient.value : undefined,
  limits: { ...protection.limits, ...(protection.isSolved && { ip: undefined }) },
})
